//! Snowflake Arctic: llama's heads, a small feed-forward for all tokens, and Mixtral's experts beside it.
//! Specification: `ArcticModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE, experts, llama};
use crate::arch::keys::{Key, size};
use crate::arch::rule::{Rule, rule};

pub const ARCTIC: Arch = Arch {
    classes: &["ArcticForCausalLM"],
    gguf: "arctic",
    base: Some(&HEADS),
    keys: KEYS,
    rules: RULES,
    shares: &[experts::MIXTRAL],
    ..NONE
};

const HEADS: Arch = Arch { base: Some(&DECODER), axes: llama::AXES, rules: llama::RULES, ..NONE };

const KEYS: &[Key] = &[size("vocab_size", "vocab"), size("rope.dimension_count", "d")];

const RULES: &[Rule] = &[
    rule(&["layers.{l}.residual_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm_exps.weight"], "n"),
    rule(&["layers.{l}.residual_mlp.w1.weight"], &["blk.{l}.ffn_gate.weight"], "m n"),
    rule(&["layers.{l}.residual_mlp.w3.weight"], &["blk.{l}.ffn_up.weight"], "m n"),
    rule(&["layers.{l}.residual_mlp.w2.weight"], &["blk.{l}.ffn_down.weight"], "n m"),
];
