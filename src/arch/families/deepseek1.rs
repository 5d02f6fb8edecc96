//! DeepSeek MoE, before latent attention: llama's heads, leading dense layers, then experts of which some serve all tokens.
//! Specification: `DeepseekModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::experts::{self, DENSE, SPARSE};
use super::{Arch, NONE, llama};
use crate::arch::keys::{Fixed, Key, count, is, size};
use crate::arch::rule::Need;

pub const DEEPSEEK: Arch = Arch {
    classes: &["DeepseekForCausalLM"],
    gguf: "deepseek",
    base: Some(&DECODER),
    keys: KEYS,
    axes: llama::AXES,
    rules: llama::RULES,
    shares: &[
        &experts::dense(DENSE),
        &experts::routed(SPARSE),
        &experts::shared(SPARSE, Need::IfSet("n_shared_experts")),
    ],
    ..NONE
};

const KEYS: &[Key] = &[
    size("rope.dimension_count", "d"),
    is("rope.scaling.type", Fixed::Text("none")),
    count("leading_dense_block_count", &["first_k_dense_replace"]).must(),
    size("vocab_size", "vocab"),
    size("expert_feed_forward_length", "eff"),
    is("expert_weights_scale", Fixed::Number(1.0)),
    count("expert_count", &["n_routed_experts"]).must(),
    count("expert_shared_count", &["n_shared_experts"]).must(),
];
