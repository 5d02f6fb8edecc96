//! OLMo 2 and 3: norms after attention and feed-forward, none before; those of queries and keys span all heads. OLMo 3
//! attends within a window in three of four layers.
//! Specification: `Olmo2Model` of llama.cpp's converter; `Olmo3Config` of transformers.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::keys::{Key, count, make};
use crate::arch::params::Params;
use crate::arch::rule::{Rule, rule};
use ggraft_formats::{Array, Result, Value};

pub const OLMO2: Arch = Arch {
    classes: &["Olmo2ForCausalLM", "Olmo3ForCausalLM"],
    gguf: "olmo2",
    base: Some(&DECODER),
    keys: KEYS,
    rules: RULES,
    without: &["blk.{l}.attn_norm.weight", "blk.{l}.ffn_norm.weight"],
    ..NONE
};

const KEYS: &[Key] = &[
    count("attention.sliding_window", &["sliding_window"]),
    make("attention.sliding_window_pattern", windowed),
    make("rope.freq_base_swa", local_theta),
];

/// The base for layers with a window, which is not that of the others, nor what older configs call the local one: their class
/// reads neither.
fn local_theta(params: &Params<'_>) -> Result<Option<Value>> {
    let Some(rope) = params.config.section("rope_parameters")? else { return Ok(None) };
    let theta =
        rope.section("sliding_attention")?.map(|part| part.optional_number("rope_theta")).transpose()?;
    Ok(theta.flatten().map(|theta| Value::F32(theta as f32)))
}

/// Which layers attend within a window.
fn windowed(params: &Params<'_>) -> Result<Option<Value>> {
    if params.config.get("sliding_window").is_none() {
        return Ok(None);
    }
    let pattern = match params.config.texts("layer_types")? {
        Some(types) => types.iter().map(|t| *t == "sliding_attention").collect(),
        None => (0..params.count("l", 0)?).map(|layer| !(layer + 1).is_multiple_of(4)).collect(),
    };
    Ok(Some(Value::Array(Array::Bool(pattern))))
}

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "(h d)"),
    rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "(g d)"),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n"),
    rule(&["layers.{l}.post_feedforward_layernorm.weight"], &["blk.{l}.post_ffw_norm.weight"], "n"),
];
