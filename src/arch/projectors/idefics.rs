//! Idefics 3 and SmolVLM: SigLIP, whose patches are gathered in squares and projected by one matrix.
//! Specification: `SmolVLMModel` of llama.cpp's converter.

use super::siglip::SIGLIP;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make, positive};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Rule, rule};
use ggraft_formats::{DType, Result, Value};

pub const IDEFICS3: Arch = Arch {
    classes: &["Idefics3ForConditionalGeneration", "SmolVLMForConditionalGeneration"],
    gguf: "clip",
    base: Some(&SIGLIP),
    prefixes: &["model.vision_model.", "vision_model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("idefics3")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-5)),
    count("vision.projector.scale_factor", &["scale_factor"]).or(Fixed::Count(2)),
    is("use_gelu", Fixed::Flag(true)),
    make("vision.preproc_image_size", longest),
];

/// The longest edge that an image may have.
fn longest(params: &Params<'_>) -> Result<Option<Value>> {
    let told = params.config.optional_count("preprocessor_config.size.longest_edge")?;
    told.map_or_else(|| params.count("image", 0), Ok).map(|n| Some(Value::U32(n)))
}

const AXES: &[Axis] =
    &[axis("scale", Size::Or(&["scale_factor"], &Size::Is(2))), axis("square", Size::Mul("scale", "scale"))];

const RULES: &[Rule] = &[
    rule(&["embeddings.patch_embedding.weight"], &["v.patch_embd.weight"], "n channels row column")
        .stored(DType::F32),
    rule(&["^model.connector.modality_projection.proj.weight"], &["mm.model.fc.weight"], "text (square n)"),
];
