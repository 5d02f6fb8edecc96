//! MiniMax M2: Mixtral's experts, chosen by corrected scores; norms of queries and keys that span all heads.
//! Specification: `MiniMaxM2Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE, experts};
use crate::arch::keys::{Key, count};
use crate::arch::rule::{Rule, rule};

pub const MINIMAX_M2: Arch = Arch {
    classes: &["MiniMaxM2ForCausalLM"],
    gguf: "minimax-m2",
    base: Some(&DECODER),
    keys: KEYS,
    rules: RULES,
    shares: &[experts::MIXTRAL],
    without: experts::NO_DENSE,
    ..NONE
};

const KEYS: &[Key] = &[
    count("expert_feed_forward_length", &["intermediate_size"]).must(),
    count("rope.dimension_count", &["rotary_dim"]).must(),
];

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "(h d)"),
    rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "(g d)"),
    rule(
        &[
            "layers.{l}.block_sparse_moe.e_score_correction_bias",
            "layers.{l}.mlp.e_score_correction_bias",
            "layers.{l}.mlp.gate.e_score_correction_bias",
        ],
        &["blk.{l}.exp_probs_b.bias"],
        "e",
    )
    .may(),
];
