//! Qwen 2 and 2.5: heads stay as they are, and queries, keys and values always have biases. Qwen 3 has norms of its own
//! for queries and keys instead.
//! Specification: `Qwen2Model`, `Qwen3Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::rule::{Need, Rule, rule};

pub const QWEN2: Arch =
    Arch { classes: &["Qwen2ForCausalLM"], gguf: "qwen2", base: Some(&DECODER), rules: BIASED, ..NONE };

/// The model alone.
pub const QWEN2_MODEL: Arch = Arch {
    classes: &["Qwen2Model"],
    gguf: "qwen2",
    base: Some(&QWEN2),
    prefixes: &[""],
    without: HEAD,
    ..NONE
};

pub const QWEN3: Arch =
    Arch { classes: &["Qwen3ForCausalLM"], gguf: "qwen3", base: Some(&DECODER), rules: NORMED, ..NONE };

/// The model alone.
pub const QWEN3_MODEL: Arch = Arch {
    classes: &["Qwen3Model"],
    gguf: "qwen3",
    base: Some(&QWEN3),
    prefixes: &[""],
    without: HEAD,
    ..NONE
};

const HEAD: &[&str] = &["output.weight"];

const BIASED: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n").bias(Need::Must),
];

const NORMED: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "d"),
    rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "d"),
];
