//! MiniCPM-V 4.6: SigLIP, between whose layers neighbours attend to each other and are gathered in squares; they are gathered
//! again and projected by two layers.
//! Specification: `MiniCPMV4_6VisionModel` of llama.cpp's converter.

use super::siglip::SIGLIP;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, make, positive};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Array, Result, Value};

pub const MINICPM_V: Arch = Arch {
    classes: &["MiniCPMV4_6ForConditionalGeneration"],
    gguf: "clip",
    base: Some(&SIGLIP),
    prefixes: &["model.vision_tower."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("minicpmv4_6")),
    make("vision.projector.scale_factor", scale),
    make("vision.wa_layer_indexes", merging),
    is("use_gelu", Fixed::Flag(true)),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-6)),
];

/// By how much the sides of an image shrink.
fn scale(params: &Params<'_>) -> Result<Option<Value>> {
    const KEY: &str = "preprocessor_config.downsample_mode";
    match params.config.text(KEY)? {
        None | Some("16x") => Ok(Some(Value::U32(4))),
        Some("4x") => Err(params
            .config
            .unsupported(KEY)
            .expected("16x")
            .found("4x")
            .hint("set it to 16x: the file then serves both modes")),
        Some(other) => Err(params.config.unsupported(KEY).expected("16x").found(other)),
    }
}

/// The layer after which neighbours are gathered.
fn merging(params: &Params<'_>) -> Result<Option<Value>> {
    let keys = ["insert_layer_id", "vision_config.insert_layer_id"];
    let told = params.config.first(&keys).map(|key| params.config.whole_at(key, 0)).transpose()?.flatten();
    Ok(Some(Value::Array(Array::I32(vec![told.unwrap_or(6) as i32]))))
}

const AXES: &[Axis] = &[
    axis("image", Size::Or(&["preprocessor_config.scale_resolution"], &Size::Same("bucket"))),
    axis("bucket", Size::Of(&["vision_config.image_size"])),
    axis("grid", Size::Make(|params, _| Ok(params.size("bucket", 0)? / params.size("patch", 0)?.max(1)))),
    axis("four", Size::Is(4)),
    axis("square", Size::Mul("four", "n")),
    axis("hidden", Size::Same("square")),
    axis("wide", Size::Mul("four", "ff")),
];

const RULES: &[Rule] = &[
    rule(&["vit_merger.layer_norm1.weight"], &["v.vit_merger.ln1.weight"], "n").bias(Need::Must),
    rule(&["vit_merger.self_attn.q_proj.weight"], &["v.vit_merger.attn_q.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["vit_merger.self_attn.k_proj.weight"], &["v.vit_merger.attn_k.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["vit_merger.self_attn.v_proj.weight"], &["v.vit_merger.attn_v.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["vit_merger.self_attn.out_proj.weight"], &["v.vit_merger.attn_out.weight"], "n (h d)")
        .bias(Need::Must),
    rule(&["vit_merger.pre_norm.weight"], &["v.vit_merger.ds_ln.weight"], "square").bias(Need::Must),
    rule(&["vit_merger.linear_1.weight"], &["v.vit_merger.ds_ffn_up.weight"], "wide square").bias(Need::Must),
    rule(&["vit_merger.linear_2.weight"], &["v.vit_merger.ds_ffn_down.weight"], "n wide").bias(Need::Must),
    rule(&["^model.merger.mlp.0.pre_norm.weight"], &["mm.input_norm.weight"], "square").bias(Need::Must),
    rule(&["^model.merger.mlp.0.linear_1.weight"], &["mm.up.weight"], "hidden square").bias(Need::Must),
    rule(&["^model.merger.mlp.0.linear_2.weight"], &["mm.down.weight"], "text hidden").bias(Need::Must),
];
