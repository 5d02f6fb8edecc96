//! Youtu-VL: SigLIP 2 without learned places, some of whose layers attend within windows; squares are normed and projected by
//! two layers.
//! Specification: `YoutuVLVisionModel` of llama.cpp's converter.

use super::siglip::SIGLIP;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make, positive};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Array, Result, Value};

pub const YOUTU_VL: Arch = Arch {
    classes: &["YoutuVLForConditionalGeneration"],
    gguf: "clip",
    base: Some(&SIGLIP),
    prefixes: &["siglip2.vision_model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    without: &["v.position_embd.weight"],
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("youtuvl")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-6)),
    make("use_gelu", |params| Ok(is_gelu(params)?.then_some(Value::Bool(true)))),
    make("use_silu", |params| Ok((!is_gelu(params)?).then_some(Value::Bool(true)))),
    count("vision.spatial_merge_size", &["vision_config.spatial_merge_size"]).or(Fixed::Count(2)),
    count("vision.window_size", &["vision_config.window_size"]),
    make("vision.wa_layer_indexes", whole),
];

fn is_gelu(params: &Params<'_>) -> Result<bool> {
    const KEY: &str = "vision_config.hidden_act";
    match params.config.text(KEY)? {
        None | Some("gelu" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_new" | "gelu_accurate") => Ok(true),
        Some("silu") => Ok(false),
        Some(other) => Err(params.config.unsupported(KEY).expected("gelu or silu").found(other)),
    }
}

/// The layers that attend to the whole image.
fn whole(params: &Params<'_>) -> Result<Option<Value>> {
    const KEY: &str = "vision_config.fullatt_block_indexes";
    let told = params.config.get(KEY).and_then(|v| v.as_array());
    let all = told.ok_or_else(|| params.config.missing(KEY, "the layers that attend to everything"))?;
    let all = all.iter().filter_map(|n| n.as_i64().and_then(|n| i32::try_from(n).ok())).collect();
    Ok(Some(Value::Array(Array::I32(all))))
}

const AXES: &[Axis] = &[
    axis("image", Size::Or(&["vision_config.image_size"], &Size::Is(560))),
    axis("merge", Size::Or(&["vision_config.spatial_merge_size"], &Size::Is(2))),
    axis("squared", Size::Mul("merge", "merge")),
    axis("square", Size::Mul("squared", "n")),
    axis("hidden", Size::Same("square")),
];

const RULES: &[Rule] = &[
    rule(&["embeddings.patch_embedding.weight"], &["v.patch_embd.weight"], "n (channels row column)"),
    rule(&["^merger.ln_q.weight"], &["mm.input_norm.weight"], "n").bias(Need::May),
    rule(&["^merger.mlp.0.weight"], &["mm.0.weight"], "hidden square").bias(Need::Must),
    rule(&["^merger.mlp.2.weight"], &["mm.2.weight"], "text square").bias(Need::Must),
];
