//! Jais 2: norms and matrices with biases, a feed-forward without a gate.
//! Specification: `Jais2Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::keys::size;
use crate::arch::rule::{Need, Rule, rule};

pub const JAIS2: Arch = Arch {
    classes: &["Jais2ForCausalLM"],
    gguf: "jais2",
    base: Some(&DECODER),
    keys: &[size("rope.dimension_count", "d")],
    rules: RULES,
    without: &["blk.{l}.ffn_gate.weight"],
    ..NONE
};

const RULES: &[Rule] = &[
    rule(&["norm.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n").bias(Need::Must),
];
