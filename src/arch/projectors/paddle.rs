//! PaddleOCR-VL: SigLIP for images of any size; squares are projected by two layers.
//! Specification: `PaddleOCRVisionModel` of llama.cpp's converter.

use super::siglip::SIGLIP;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, positive};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::Result;

pub const PADDLE_OCR: Arch = Arch {
    classes: &["PaddleOCRVisionModel"],
    gguf: "clip",
    base: Some(&SIGLIP),
    prefixes: &["visual.vision_model.", "model.visual.vision_model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: &["*packing_position_embedding*", "*vision_model.head.*"],
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("paddleocr")),
    count("vision.image_max_pixels", &["preprocessor_config.max_pixels"]).must(),
    count("vision.image_min_pixels", &["preprocessor_config.min_pixels"]).must(),
    is("use_gelu", Fixed::Flag(true)),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.rms_norm_eps"]).or(Fixed::Number(1e-6)),
];

const AXES: &[Axis] = &[
    axis("image", Size::Make(largest)),
    axis("bucket", Size::Of(&["vision_config.image_size"])),
    axis("grid", Size::Make(|params, _| Ok(params.size("bucket", 0)? / params.size("patch", 0)?.max(1)))),
    axis("merge", Size::Or(&["vision_config.spatial_merge_size"], &Size::Is(2))),
    axis("squared", Size::Mul("merge", "merge")),
    axis("square", Size::Mul("squared", "n")),
    axis("hidden", Size::Same("square")),
];

/// The side of the largest square image.
fn largest(params: &Params<'_>, _: u32) -> Result<u64> {
    Ok(u64::from(params.config.count("preprocessor_config.max_pixels")?).isqrt())
}

const RULES: &[Rule] = &[
    rule(&["^mlp_AR.pre_norm.weight", "^model.projector.pre_norm.weight"], &["mm.input_norm.weight"], "n")
        .bias(Need::Must),
    rule(&["^mlp_AR.linear_1.weight", "^model.projector.linear_1.weight"], &["mm.1.weight"], "hidden square")
        .bias(Need::Must),
    rule(&["^mlp_AR.linear_2.weight", "^model.projector.linear_2.weight"], &["mm.2.weight"], "text square")
        .bias(Need::Must),
];
