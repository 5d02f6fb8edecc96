//! Gemma 3: SigLIP, whose pooled patches are normed and projected by one matrix.
//! Specification: `Gemma3VisionModel` of llama.cpp's converter.

use super::siglip::SIGLIP;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, make, positive};
use crate::arch::params::Params;
use crate::arch::rule::{Rule, rule};
use crate::arch::values::Value as Change;
use ggraft_formats::{DType, Result, Value};

pub const GEMMA3: Arch = Arch {
    classes: &["Gemma3ForConditionalGeneration"],
    gguf: "clip",
    base: Some(&SIGLIP),
    prefixes: &["vision_tower.vision_model.", "model.vision_tower.vision_model.", "vision_model."],
    keys: KEYS,
    rules: RULES,
    ignored: &["*vision_model.head.*"],
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("gemma3")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-6)),
    is("use_gelu", Fixed::Flag(true)),
    make("vision.projector.scale_factor", scale),
];

/// How many patches a token sees in either direction, if they are not the published four.
fn scale(params: &Params<'_>) -> Result<Option<Value>> {
    let tokens = params.config.optional_number("preprocessor_config.image_seq_length")?.unwrap_or(256.0);
    let side = (tokens.max(0.0).sqrt() as u64).max(1);
    let scale = params.size("grid", 0)? / side;
    Ok((scale > 0 && scale != 4).then_some(Value::U32(scale as u32)))
}

const RULES: &[Rule] = &[
    rule(&["embeddings.patch_embedding.weight"], &["v.patch_embd.weight"], "n channels row column")
        .stored(DType::F32),
    rule(
        &[
            "^multi_modal_projector.mm_input_projection_weight",
            "^model.multi_modal_projector.mm_input_projection_weight",
            "^multimodal_projector.mm_input_projection_weight",
        ],
        &["mm.input_projection.weight"],
        "n text",
    )
    .stored(DType::F16),
    rule(
        &[
            "^multi_modal_projector.mm_soft_emb_norm.weight",
            "^model.multi_modal_projector.mm_soft_emb_norm.weight",
            "^multimodal_projector.mm_soft_emb_norm.weight",
        ],
        &["mm.soft_emb_norm.weight"],
        "n",
    )
    .value(Change::Plus(1.0)),
];
