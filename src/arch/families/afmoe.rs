//! Arcee Trinity: a gate after attention, norms before and after both halves of a layer, leading dense layers, experts.
//! Specification: `AfmoeModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::experts::{self, DENSE, SPARSE};
use super::qwen::NORMED;
use super::{Arch, NONE, llama};
use crate::arch::keys::{Key, count, flag, make, number, size};
use crate::arch::rule::{Need, Rule, rule};

pub const AFMOE: Arch = Arch {
    classes: &["AfmoeForCausalLM"],
    gguf: "afmoe",
    base: Some(&DECODER),
    keys: KEYS,
    rules: RULES,
    shares: &[
        NORMED,
        &experts::dense(DENSE),
        &experts::routed(SPARSE),
        &experts::shared(SPARSE, Need::IfSet("num_shared_experts")),
    ],
    ..NONE
};

const KEYS: &[Key] = &[
    size("vocab_size", "vocab"),
    make("rope.dimension_count", llama::whole_heads),
    count("expert_shared_count", &["num_shared_experts"]),
    count("expert_feed_forward_length", &["moe_intermediate_size"]),
    count("leading_dense_block_count", &["num_dense_layers"]),
    flag("expert_weights_norm", &["route_norm"]),
    number("expert_weights_scale", &["route_scale"]),
    count("attention.sliding_window", &["sliding_window"]),
];

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.gate_proj.weight"], &["blk.{l}.attn_gate.weight"], "(h d) n"),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n"),
    rule(&["layers.{l}.pre_mlp_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.post_mlp_layernorm.weight"], &["blk.{l}.post_ffw_norm.weight"], "n"),
    rule(
        &["layers.{l}.mlp.router.gate.weight", "layers.{l}.mlp.gate.weight"],
        &["blk.{l}.ffn_gate_inp.weight"],
        "e n",
    )
    .layers(SPARSE),
    rule(&["layers.{l}.mlp.expert_bias"], &["blk.{l}.exp_probs_b.bias"], "e").may().layers(SPARSE),
];
