//! dots.llm1: Qwen 3's attention, leading dense layers, experts and shared ones.
//! Specification: `Dots1Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::experts::{self, DENSE, SPARSE};
use super::qwen::NORMED;
use super::{Arch, NONE};
use crate::arch::keys::{Key, count, flag, number, size};
use crate::arch::rule::Need;

pub const DOTS1: Arch = Arch {
    classes: &["Dots1ForCausalLM"],
    gguf: "dots1",
    base: Some(&DECODER),
    keys: KEYS,
    shares: &[
        NORMED,
        &experts::dense(DENSE),
        &experts::routed(SPARSE),
        &experts::shared(SPARSE, Need::IfSet("n_shared_experts")),
        &experts::correction(SPARSE),
    ],
    ..NONE
};

const KEYS: &[Key] = &[
    count("expert_feed_forward_length", &["moe_intermediate_size"]),
    size("leading_dense_block_count", "dense"),
    size("expert_shared_count", "shared"),
    number("expert_weights_scale", &["routed_scaling_factor"]).must(),
    flag("expert_weights_norm", &["norm_topk_prob"]).must(),
];
