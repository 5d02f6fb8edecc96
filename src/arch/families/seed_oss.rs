//! Seed-OSS: the norm after attention is the one before the feed-forward; queries, keys and values may have biases, the
//! output of attention a bias of its own.
//! Specification: `SeedOssModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::rule::{Need, Rule, rule};

pub const SEED_OSS: Arch = Arch {
    classes: &["SeedOssForCausalLM"],
    gguf: "seed_oss",
    base: Some(&DECODER),
    rules: RULES,
    without: &["blk.{l}.ffn_norm.weight"],
    ..NONE
};

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)")
        .bias(Need::If("attention_out_bias")),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n"),
];
