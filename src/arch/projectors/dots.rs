//! dots.ocr: gated feed-forward parts and norms without bias; squares are normed and projected by two layers.
//! Specification: `DotsOCRVisionModel` of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::VISION;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, positive};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};

pub const DOTS_OCR: Arch = Arch {
    classes: &["DotsOCRForCausalLM"],
    gguf: "clip",
    base: Some(&VISION),
    prefixes: &["vision_tower."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: TEXT,
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("dots_ocr")),
    count("vision.image_min_pixels", &["preprocessor_config.min_pixels"]).must(),
    count("vision.image_max_pixels", &["preprocessor_config.max_pixels"]).must(),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.rms_norm_eps"]).must(),
    count("vision.projector.scale_factor", &["vision_config.spatial_merge_size"]).must(),
    is("use_silu", Fixed::Flag(true)),
];

const AXES: &[Axis] = &[
    // Images may have any size.
    axis("image", Size::Is(0)),
    axis("merge", Size::Of(&["vision_config.spatial_merge_size"])),
    axis("squared", Size::Mul("merge", "merge")),
    axis("square", Size::Mul("squared", "n")),
    axis("hidden", Size::Same("square")),
];

const RULES: &[Rule] = &[
    rule(&["patch_embed.patchifier.proj.weight"], &["v.patch_embd.weight"], "n channels row column"),
    rule(&["patch_embed.patchifier.proj.bias"], &["v.patch_embd.bias"], "n"),
    rule(&["patch_embed.patchifier.norm.weight"], &["v.pre_ln.weight"], "n"),
    rule(&["blocks.{l}.norm1.weight"], &["v.blk.{l}.ln1.weight"], "n"),
    rule(&["blocks.{l}.norm2.weight"], &["v.blk.{l}.ln2.weight"], "n"),
    rule(&["blocks.{l}.attn.qkv.weight"], &["v.blk.{l}.attn_qkv.weight"], "[(h d)|(h d)|(h d)] n")
        .bias(Need::May),
    rule(&["blocks.{l}.attn.proj.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)").bias(Need::May),
    rule(&["blocks.{l}.mlp.fc1.weight"], &["v.blk.{l}.ffn_gate.weight"], "ff n").bias(Need::May),
    rule(&["blocks.{l}.mlp.fc3.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n").bias(Need::May),
    rule(&["blocks.{l}.mlp.fc2.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff").bias(Need::May),
    rule(&["post_trunk_norm.weight"], &["mm.post_norm.weight"], "n").may(),
    rule(&["merger.ln_q.weight"], &["mm.input_norm.weight"], "n").bias(Need::May),
    rule(&["merger.mlp.0.weight"], &["mm.0.weight"], "hidden square").bias(Need::Must),
    rule(&["merger.mlp.2.weight"], &["mm.2.weight"], "text square").bias(Need::Must),
];
