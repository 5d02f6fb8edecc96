//! OLMo 1, whose norms have no weights; OLMoE, whose norms of queries and keys are as wide as all heads, with experts.
//! Specification: `OlmoModel`, `OlmoeModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE, experts, llama};
use crate::arch::keys::{Fixed, is, number};
use crate::arch::rule::{Layers, Rule, rule};

pub const OLMO: Arch = Arch {
    classes: &["OlmoForCausalLM", "OLMoForCausalLM"],
    gguf: "olmo",
    base: Some(&DECODER),
    keys: &[
        is("attention.layer_norm_epsilon", Fixed::Number(1e-5)),
        number("attention.clamp_kqv", &["clip_qkv"]),
    ],
    axes: llama::AXES,
    rules: llama::RULES,
    without: &["output_norm.weight", "blk.{l}.attn_norm.weight", "blk.{l}.ffn_norm.weight"],
    ..NONE
};

pub const OLMOE: Arch = Arch {
    classes: &["OlmoeForCausalLM"],
    gguf: "olmoe",
    base: Some(&DECODER),
    keys: &[is("attention.layer_norm_rms_epsilon", Fixed::Number(1e-5))],
    rules: NORMS,
    shares: &[&experts::routed(Layers::All)],
    without: experts::NO_DENSE,
    ..NONE
};

const NORMS: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "(h d)"),
    rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "(g d)"),
];
