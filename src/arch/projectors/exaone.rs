//! EXAONE 4.5: Qwen 2.5-VL's tower, whose heads share keys and values, with queries, keys and values as one tensor.
//! Specification: `Exaone4_5VisionModel` of llama.cpp's converter.

use super::qwen::{GATED, QWEN2, pattern};
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make, positive};
use crate::arch::params::{Size, axis};
use crate::arch::rule::{Need, rule};

pub const EXAONE4_5: Arch = Arch {
    classes: &["Exaone4_5_ForConditionalGeneration"],
    gguf: "clip",
    base: Some(&QWEN2),
    prefixes: &["model.visual.", "visual."],
    keys: KEYS,
    axes: &[axis("g", Size::Or(&["vision_config.num_key_value_heads"], &Size::Same("h")))],
    rules: &[rule(&["blocks.{l}.attn.qkv.weight"], &["v.blk.{l}.attn_qkv.weight"], "[(h d)|(g d)|(g d)] n")
        .bias(Need::Must)],
    shares: &[GATED],
    without: &["v.blk.{l}.attn_q.weight"],
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("exaone4_5")),
    is("use_silu", Fixed::Flag(true)),
    count("vision.image_min_pixels", &["preprocessor_config.min_pixels"]).must(),
    count("vision.image_max_pixels", &["preprocessor_config.max_pixels"]).must(),
    count("vision.attention.head_count_kv", &["vision_config.num_key_value_heads"]),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.rms_norm_eps", "rms_norm_eps"])
        .or(Fixed::Number(1e-6)),
    count("vision.window_size", &["vision_config.window_size"]),
    make("vision.n_wa_pattern", |params| match params.config.get("vision_config.fullatt_block_indexes") {
        Some(all) if all.as_array().is_some_and(|all| !all.is_empty()) => pattern(params),
        _ => Ok(None),
    }),
];
