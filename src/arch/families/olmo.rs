//! OLMo 1, whose norms have no weights; OLMoE, whose norms of queries and keys are as wide as all heads, with experts.
//! Specification: `OlmoModel`, `OlmoeModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE, llama};
use crate::arch::keys::{Fixed, is, number};
use crate::arch::rule::{Rule, rule};

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
    rules: EXPERTS,
    without: &["blk.{l}.ffn_gate.weight", "blk.{l}.ffn_up.weight", "blk.{l}.ffn_down.weight"],
    ..NONE
};

const EXPERTS: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "(h d)"),
    rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "(g d)"),
    rule(&["layers.{l}.mlp.gate.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n"),
    rule(
        &["layers.{l}.mlp.experts.{e}.gate_proj.weight"],
        &["blk.{l}.ffn_gate_exps.weight"],
        "ff n -> e ff n",
    ),
    rule(&["layers.{l}.mlp.experts.{e}.up_proj.weight"], &["blk.{l}.ffn_up_exps.weight"], "ff n -> e ff n"),
    rule(
        &["layers.{l}.mlp.experts.{e}.down_proj.weight"],
        &["blk.{l}.ffn_down_exps.weight"],
        "n ff -> e n ff",
    ),
    rule(
        &["layers.{l}.mlp.experts.gate_up_proj"],
        &["blk.{l}.ffn_{gate|up}_exps.weight"],
        "e [ff|ff] n -> e ff n ; e ff n",
    ),
    rule(&["layers.{l}.mlp.experts.down_proj"], &["blk.{l}.ffn_down_exps.weight"], "e n ff"),
];
