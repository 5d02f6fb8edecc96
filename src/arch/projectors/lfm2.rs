//! LFM2-VL: SigLIP 2, which takes patches as rows; they are gathered in squares and projected by two layers.
//! Specification: `LFM2VLModel` of llama.cpp's converter.

use super::siglip::SIGLIP;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make, positive};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Result, Value};

pub const LFM2_VL: Arch = Arch {
    classes: &["Lfm2VlForConditionalGeneration"],
    gguf: "clip",
    base: Some(&SIGLIP),
    prefixes: &[
        "model.vision_tower.vision_model.",
        "vision_tower.vision_model.",
        "model.vision_tower.",
        "vision_tower.",
    ],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: &["*vision_tower.vision_model.head.*", "*vision_tower.head.*"],
    ..NONE
};

const KEYS: &[Key] = &[
    make("vision.block_count", seen),
    is("projector_type", Fixed::Text("lfm2")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"]).must(),
    count("vision.projector.scale_factor", &["downsample_factor"]).or(Fixed::Count(2)),
    is("use_gelu", Fixed::Flag(true)),
];

/// The layers up to the one that is looked at, which is counted from the end.
fn seen(params: &Params<'_>) -> Result<Option<Value>> {
    let layer = params.config.optional_number("vision_feature_layer")?.unwrap_or(-1.0);
    let left = (-(layer + 1.0)).max(0.0) as u64;
    Ok(Some(Value::U32(params.size("l", 0)?.saturating_sub(left) as u32)))
}

const AXES: &[Axis] = &[
    axis("image", Size::Is(256)),
    axis("row", Size::Is(16)),
    axis("places", Size::Of(&["vision_config.num_patches"])),
    axis("scale", Size::Or(&["downsample_factor"], &Size::Is(2))),
    axis("square", Size::Mul("scale", "scale")),
    axis("gathered", Size::Mul("square", "n")),
    axis("hidden", Size::Of(&["projector_hidden_size"])),
    axis("column", Size::Same("row")),
];

const BIASED: Need = Need::If("projector_bias");

const RULES: &[Rule] = &[
    rule(
        &["embeddings.patch_embedding.weight"],
        &["v.patch_embd.weight"],
        "n (row column channels) -> n channels row column",
    ),
    rule(
        &["^model.multi_modal_projector.layer_norm.weight", "^multi_modal_projector.layer_norm.weight"],
        &["mm.input_norm.weight"],
        "gathered",
    )
    .may()
    .bias(Need::May),
    rule(
        &["^model.multi_modal_projector.linear_1.weight", "^multi_modal_projector.linear_1.weight"],
        &["mm.1.weight"],
        "hidden gathered",
    )
    .bias(BIASED),
    rule(
        &["^model.multi_modal_projector.linear_2.weight", "^multi_modal_projector.linear_2.weight"],
        &["mm.2.weight"],
        "text hidden",
    )
    .bias(BIASED),
];
