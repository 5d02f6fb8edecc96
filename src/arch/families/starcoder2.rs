//! StarCoder 2: norms with biases, a feed-forward without a gate.
//! Specification: `StarCoder2Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::rule::{Need, Rule, rule};

pub const STARCODER2: Arch = Arch {
    classes: &["Starcoder2ForCausalLM"],
    gguf: "starcoder2",
    base: Some(&DECODER),
    rules: RULES,
    without: &["blk.{l}.ffn_gate.weight"],
    ..NONE
};

const BIASED: Need = Need::If("use_bias");

const RULES: &[Rule] = &[
    rule(&["norm.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n").bias(BIASED),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n").bias(BIASED),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n").bias(BIASED),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)").bias(BIASED),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.mlp.c_fc.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(BIASED),
    rule(&["layers.{l}.mlp.c_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(BIASED),
];
