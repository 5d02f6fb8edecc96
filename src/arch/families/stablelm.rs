//! StableLM: norms with biases, heads of which a quarter rotates, feed-forward beside attention in some; StableLM 2 12B
//! has a norm for each head of queries and keys, over which the converter stumbles.
//! Specification: `StableLMModel` of llama.cpp's converter; `llm_build_stablelm`.

use super::decoder::NAMES;
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, flag, make, positive, size};
use crate::arch::params::Params;
use crate::arch::rope::Rope;
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Result, Value};

pub const STABLELM: Arch = Arch {
    classes: &["StableLmForCausalLM", "StableLMEpochForCausalLM", "LlavaStableLMEpochForCausalLM"],
    gguf: "stablelm",
    base: Some(&NAMES),
    keys: KEYS,
    rules: RULES,
    ..NONE
};

const KEYS: &[Key] = &[
    count("context_length", &["max_position_embeddings"]).must(),
    size("embedding_length", "n"),
    size("block_count", "l"),
    size("feed_forward_length", "ff"),
    make("rope.dimension_count", rotating),
    size("attention.head_count", "h"),
    size("attention.head_count_kv", "g"),
    flag("use_parallel_residual", &["use_parallel_residual"]).or(Fixed::Flag(true)),
    positive("attention.layer_norm_epsilon", &["layer_norm_eps", "norm_eps"]).must(),
];

/// The elements of a head that rotate.
fn rotating(params: &Params<'_>) -> Result<Option<Value>> {
    match Rope::read(params.config)?.partial()? {
        Some((share, _, _)) => Ok(Some(Value::U32((share * params.size("d", 0)? as f64) as u32))),
        None => Err(params.config.missing("partial_rotary_factor", "the share of a head that rotates")),
    }
}

const QKV: Need = Need::If("use_qkv_bias");
const SERIAL: Need = Need::Unless("use_parallel_residual");

const RULES: &[Rule] = &[
    rule(&["norm.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n").bias(QKV),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n").bias(QKV),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n").bias(QKV),
    rule(&["layers.{l}.self_attn.q_layernorm.norms.{h}.weight"], &["blk.{l}.attn_q_norm.weight"], "d -> h d")
        .need(Need::If("qk_layernorm")),
    rule(&["layers.{l}.self_attn.k_layernorm.norms.{g}.weight"], &["blk.{l}.attn_k_norm.weight"], "d -> g d")
        .need(Need::If("qk_layernorm")),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n")
        .need(SERIAL)
        .bias(SERIAL),
];
