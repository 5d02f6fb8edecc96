//! Phi-4 that sees (`Phi4ForCausalLMV`): SigLIP 2 without its last layer, whose output is not looked at; two layers project.
//! Specification: `Phi4VisionMmprojModel` of llama.cpp's converter.

use super::siglip::SIGLIP;
use super::vision::rows;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, make, positive};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Result, Value};

pub const PHI4: Arch = Arch {
    classes: &["Phi4ForCausalLMV"],
    gguf: "clip",
    base: Some(&SIGLIP),
    prefixes: &["model.vision_tower.vision_tower.vision_model.", "vision_tower.vision_model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    without: &["v.post_ln.weight"],
    ignored: &[
        "*vision_model.head.*",
        "*vision_model.post_layernorm.*",
        "model.vision_tower.vision_tower.vision_model.encoder.layers.{l..}.*",
        "vision_tower.vision_model.encoder.layers.{l..}.*",
    ],
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("phi4")),
    make("vision.image_min_pixels", |params| pixels(params, "min_num_patches")),
    make("vision.image_max_pixels", |params| pixels(params, "max_num_patches")),
    is("use_gelu", Fixed::Flag(true)),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-6)),
];

/// So many patches in pixels.
fn pixels(params: &Params<'_>, key: &str) -> Result<Option<Value>> {
    let keys = [format!("preprocessor_config.{key}"), key.to_string()];
    let told = keys.iter().find(|key| params.config.get(key).is_some()).unwrap_or(&keys[0]);
    let patch = params.count("patch", 0)?;
    Ok(Some(Value::U32(params.config.count(told)?.saturating_mul(patch).saturating_mul(patch))))
}

const AXES: &[Axis] = &[
    axis("all", Size::Of(&["vision_config.num_hidden_layers", "vision_config.depth"])),
    axis("one", Size::Is(1)),
    axis("l", Size::Sub("all", "one")),
    axis("patch", Size::Of(&["preprocessor_config.patch_size"])),
    axis("places", Size::Make(|params, _| rows(params, "vision_model.embeddings.position_embedding.weight"))),
    axis("image", Size::Make(image)),
    axis("hidden", Size::Same("text")),
];

/// The side of the square image that the positions cover.
fn image(params: &Params<'_>, _: u32) -> Result<u64> {
    Ok(params.size("places", 0)?.isqrt() * params.size("patch", 0)?)
}

const RULES: &[Rule] = &[
    rule(
        &["embeddings.patch_embedding.weight"],
        &["v.patch_embd.weight"],
        "n (row column channels) -> n channels row column",
    ),
    rule(&["^model.mm_projector.0.weight", "^mm_projector.0.weight"], &["mm.0.weight"], "hidden n")
        .bias(Need::Must),
    rule(&["^model.mm_projector.2.weight", "^mm_projector.2.weight"], &["mm.2.weight"], "text hidden")
        .bias(Need::Must),
];
