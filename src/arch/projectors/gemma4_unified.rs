//! Gemma 4 without towers: patches are normed, projected and told their places; sounds and patches are each projected by
//! one matrix.
//! Specification: `Gemma4UnifiedVisionAudioModel` of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::VISION;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, positive, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};

pub const GEMMA4_UNIFIED: Arch = Arch {
    classes: &["Gemma4UnifiedForConditionalGeneration"],
    gguf: "clip",
    base: Some(&VISION),
    prefixes: &["model.vision_embedder."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: TEXT,
    ..NONE
};

const KEYS: &[Key] = &[
    is("has_audio_encoder", Fixed::Flag(true)),
    size("audio.projection_dim", "text"),
    size("audio.embedding_length", "heard"),
    is("audio.feed_forward_length", Fixed::Count(0)),
    is("audio.block_count", Fixed::Count(0)),
    is("audio.attention.head_count", Fixed::Count(0)),
    is("vision.projector_type", Fixed::Text("gemma4uv")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-6)),
    is("audio.projector_type", Fixed::Text("gemma4ua")),
    count("audio.num_mel_bins", &["audio_config.input_feat_size"]).or(Fixed::Count(128)),
    positive("audio.attention.layer_norm_epsilon", &["audio_config.layer_norm_eps"]).or(Fixed::Number(1e-6)),
];

const AXES: &[Axis] = &[
    axis("l", Size::Is(0)),
    axis("ff", Size::Is(0)),
    axis("h", Size::Is(0)),
    axis("d", Size::Is(0)),
    axis("image", Size::Is(224)),
    axis("n", Size::Of(&["vision_config.mm_embed_dim"])),
    axis("pooled", Size::Of(&["vision_config.pooling_kernel_size"])),
    axis("row", Size::Or(&["vision_config.model_patch_size"], &Size::Mul("patch", "pooled"))),
    axis("column", Size::Same("row")),
    axis("channels", Size::Is(3)),
    axis("places", Size::Of(&["vision_config.mm_posemb_size"])),
    axis("heard", Size::Of(&["audio_config.audio_embed_dim"])),
    axis("m", Size::Or(&["vision_config.output_proj_dims"], &Size::Same("n"))),
];

const RULES: &[Rule] = &[
    rule(
        &["patch_dense.weight"],
        &["v.patch_embd.weight"],
        "n (row column channels) -> n (channels row column)",
    ),
    rule(&["patch_dense.bias"], &["v.patch_embd.bias"], "n"),
    rule(&["patch_ln1.weight"], &["v.patch_norm.1.weight"], "(row column channels) -> (channels row column)")
        .bias(Need::Must),
    rule(&["patch_ln2.weight"], &["v.patch_norm.2.weight"], "n").bias(Need::Must),
    rule(&["pos_norm.weight"], &["v.patch_norm.3.weight"], "n").bias(Need::Must),
    rule(&["pos_embedding"], &["v.position_embd.weight"], "places two n -> two places n"),
    rule(&["^model.embed_vision.embedding_projection.weight"], &["mm.input_projection.weight"], "text m"),
    rule(
        &["^model.embed_audio.embedding_projection.weight"],
        &["mm.a.input_projection.weight"],
        "text heard",
    ),
];
