//! GLM-4-0414 and GLM-Z1: a norm before and one after attention and feed-forward, gate and up in one tensor; half of each
//! head rotates.
//! Specification: `Glm4Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE, partial};
use crate::arch::keys::make;
use crate::arch::rule::{Rule, rule};

pub const GLM4: Arch = Arch {
    classes: &["Glm4ForCausalLM"],
    gguf: "glm4",
    base: Some(&DECODER),
    keys: &[make("rope.dimension_count", partial::of_half_head)],
    rules: RULES,
    without: &["blk.{l}.ffn_gate.weight"],
    ..NONE
};

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["layers.{l}.post_self_attn_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n"),
    rule(&["layers.{l}.post_mlp_layernorm.weight"], &["blk.{l}.post_ffw_norm.weight"], "n"),
    rule(&["layers.{l}.mlp.gate_up_proj.weight"], &["blk.{l}.ffn_up.weight"], "(two ff) n"),
];
