//! Maple: a Qwen 3 with experts of which three of four layers attend within a window; those that attend to all do not rotate.
//! The reference clamps what comes out of gate and up at 7.
//! Specification: `MapleModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::qwen::NORMED;
use super::{Arch, NONE, experts, partial, windows};
use crate::arch::keys::{Key, count, make, size};
use crate::arch::rule::Layers;
use ggraft_formats::{Array, Value};

pub const MAPLE: Arch = Arch {
    classes: &["MapleForCausalLM"],
    gguf: "maple",
    base: Some(&DECODER),
    keys: KEYS,
    shares: &[NORMED, &experts::routed(Layers::All)],
    without: experts::NO_DENSE,
    ..NONE
};

/// Where the reference cuts.
const CLAMP: f32 = 7.0;

const KEYS: &[Key] = &[
    size("vocab_size", "vocab"),
    make("rope.dimension_count", partial::of_head),
    count("attention.sliding_window", &["sliding_window"]).must(),
    make("attention.sliding_window_pattern", windows::listed),
    size("expert_feed_forward_length", "eff"),
    make("swiglu_clamp_exp", |params| {
        Ok(Some(Value::Array(Array::F32(vec![CLAMP; params.count("l", 0)? as usize]))))
    }),
];
