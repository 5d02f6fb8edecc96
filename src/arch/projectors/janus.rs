//! Janus Pro: SigLIP with names of its own, and an aligner of two layers.
//! Specification: `JanusProVisionModel` of llama.cpp's converter.

use super::llava::activation_if;
use super::siglip::SIGLIP;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, make, positive};
use crate::arch::params::{Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::Result;

pub const JANUS: Arch = Arch {
    classes: &["JanusForConditionalGeneration"],
    gguf: "clip",
    base: Some(&SIGLIP),
    prefixes: &["model.vision_model.", "vision_model."],
    keys: KEYS,
    axes: &[
        axis("ff", Size::Or(&["vision_config.intermediate_size"], &Size::Make(widened))),
        axis("hidden", Size::Same("text")),
    ],
    rules: RULES,
    ignored: &["model.vqmodel.*", "vqmodel.*", "model.generation_*", "generation_*"],
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("janus_pro")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-6)),
    make("use_gelu", |params| activation_if(params, "gelu")),
    make("use_silu", |params| activation_if(params, "silu")),
];

/// The width of the feed-forward part.
fn widened(params: &Params<'_>, _: u32) -> Result<u64> {
    let ratio = params.config.number("vision_config.mlp_ratio")?;
    Ok((params.size("n", 0)? as f64 * ratio).round() as u64)
}

const RULES: &[Rule] = &[
    rule(
        &["encoder.layers.{l}.self_attn.projection_layer.weight"],
        &["v.blk.{l}.attn_out.weight"],
        "n (h d)",
    )
    .bias(Need::Must),
    rule(&["^model.aligner.fc1.weight", "^aligner.fc1.weight"], &["mm.0.weight"], "text n").bias(Need::Must),
    rule(
        &["^model.aligner.hidden_layers.0.weight", "^aligner.hidden_layers.0.weight"],
        &["mm.1.weight"],
        "text hidden",
    )
    .bias(Need::Must),
];
