//! Spark X2.5: queries, keys and values in one, a gate of each head on what it attends to, a window in most layers, which
//! rotate otherwise.
//! Specification: `Spark2_5Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::told::{Keys, Told, share, some};
use super::{Arch, NONE, partial, windows};
use crate::arch::keys::{Key, count, make, size};
use crate::arch::rule::{Rule, rule};
use ggraft_formats::Model;
use serde_json::{Value as Json, json};

pub const SPARK2_5: Arch = Arch {
    classes: &["Spark2_5ForCausalLM"],
    gguf: "spark2_5",
    regains,
    base: Some(&DECODER),
    keys: KEYS,
    rules: RULES,
    without: &["blk.{l}.attn_q.weight", "blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"],
    ..NONE
};

const KEYS: &[Key] = &[
    size("vocab_size", "vocab"),
    count("attention.sliding_window", &["sliding_window"]).must(),
    make("attention.sliding_window_pattern", windows::listed),
    make("rope.dimension_count", partial::of_full),
    make("rope.dimension_count_swa", partial::of_sliding),
];

/// The two rotations of a GGUF.
fn regains(model: &Model, layers: u32) -> Keys {
    let told = Told::of(model, layers);
    let head = told.number("attention.key_length").unwrap_or(0);
    let rotation = |base: &str, rotates: &str| -> Json {
        let share = told.number(rotates).map_or(1.0, |n| share(n, head));
        json!({"rope_type": "default", "rope_theta": told.json(base), "partial_rotary_factor": share})
    };
    let both = json!({
        "full_attention": rotation("rope.freq_base", "rope.dimension_count"),
        "sliding_attention": rotation("rope.freq_base_swa", "rope.dimension_count_swa"),
    });
    some([("layer_types", Some(told.windows())), ("rope_parameters", Some(both))])
}

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_k_v_proj.weight"], &["blk.{l}.attn_qkv.weight"], "[(h d)|(g d)|(g d)] n"),
    rule(&["layers.{l}.self_attn.g_proj.weight"], &["blk.{l}.attn_gate.weight"], "h n"),
];
