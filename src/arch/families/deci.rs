//! DeciLM and Nemotron 51B, 253B: a llama each of whose layers has heads and a width of its own, a matrix instead of
//! attention, or nothing at all.
//! Specification: `DeciModel` of llama.cpp's converter.

use super::decoder::{DECODER, ROPE_FREQS};
use super::told::{Keys, Told, some};
use super::{Arch, NONE, llama};
use crate::arch::config::Config;
use crate::arch::keys::{Absent, From, Key, count, make, positive, size};
use crate::arch::params::{Params, Size, axis};
use crate::arch::rope::Rope;
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Array, Model, Result, Value};
use serde_json::{Value as Json, json};

/// Whose layers are described one by one.
pub const DECI: Arch = Arch {
    classes: &["DeciLMForCausalLM"],
    gguf: "deci",
    regains: blocks,
    applies: Some(|config| Ok(config.get(BLOCKS).is_some())),
    base: Some(&HEADS),
    keys: KEYS,
    axes: &[axis("g", Size::Make(groups)), axis("ff", Size::Make(width))],
    rules: RULES,
    ..NONE
};

/// DeciLM 7B, whose layers differ in their heads of keys and values only.
pub const DECI7: Arch = Arch {
    classes: &["DeciLMForCausalLM"],
    gguf: "deci",
    base: Some(&PLAIN),
    keys: KEYS7,
    axes: &[axis("g", Size::Of(&["num_key_value_heads_per_layer", "num_key_value_heads"]))],
    ..NONE
};

const PLAIN: Arch =
    Arch { base: Some(&DECODER), axes: llama::AXES, rules: llama::RULES, made: &[ROPE_FREQS], ..NONE };
const HEADS: Arch = Arch { base: Some(&PLAIN), without: TOLD, ..NONE };

/// What is told in an order of its own.
const TOLD: &[&str] = &[
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.causal",
    "rope",
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
    "expert_count",
    "expert_used_count",
    "expert_group_count",
    "expert_group_used_count",
    "expert_gating_func",
    "attention.key_length",
    "attention.value_length",
];

const BLOCKS: &str = "block_configs";

/// A value of one layer's `attention` or `ffn`.
fn block<'a>(config: &'a Config, layer: u32, part: &str, key: &str) -> Option<&'a Json> {
    config.get(BLOCKS)?.get(layer as usize)?.get(part)?.get(key).filter(|v| !v.is_null())
}

/// The blocks of a GGUF's layers; none of one whose layers differ in their heads of keys and values only.
fn blocks(model: &Model, layers: u32) -> Keys {
    let told = Told::of(model, layers);
    let is_listed = told.is_list("feed_forward_length");
    let heads = (0..layers).filter_map(|layer| told.at("attention.head_count", layer)).max();
    let width = told.number("embedding_length").unwrap_or(0);
    let block = |layer: u32| {
        let groups = told.at("attention.head_count_kv", layer).filter(|n| *n > 0);
        let shared = heads.zip(groups).map(|(heads, groups)| heads / groups);
        let stands_in = shared.is_none() && told.has("attn_output.weight", layer);
        let wide = told.at("feed_forward_length", layer).filter(|n| *n > 0);
        json!({
            "attention": {"n_heads_in_group": shared, "no_op": shared.is_none() && !stands_in,
                "replace_with_linear": stands_in},
            "ffn": {"ffn_mult": wide.map(|wide| multiple(wide, width)), "no_op": wide.is_none(),
                "replace_with_linear": false},
        })
    };
    some([
        (BLOCKS, is_listed.then(|| (0..layers).map(block).collect())),
        ("num_attention_heads", heads.map(|n| json!(n))),
    ])
}

/// Of what multiple of the model's width two thirds are a width: of several the one that is least.
fn multiple(wide: u64, width: u64) -> f64 {
    3.0 * wide as f64 / (2.0 * width.max(1) as f64)
}

/// How many heads of queries share one of keys and values; none in a layer that does not attend.
fn shared(config: &Config, layer: u32) -> Option<u64> {
    block(config, layer, "attention", "n_heads_in_group").and_then(Json::as_u64).filter(|n| *n > 0)
}

/// Whether a matrix stands for attention.
fn is_linear(config: &Config, layer: u32) -> bool {
    let told = block(config, layer, "attention", "replace_with_linear").and_then(Json::as_bool);
    shared(config, layer).is_none() && told == Some(true)
}

fn groups(params: &Params<'_>, layer: u32) -> Result<u64> {
    let heads = params.size("h", layer)?;
    Ok(shared(params.config, layer).map_or(0, |n| heads / n))
}

/// Two thirds of a multiple of the model's width, rounded up; nothing in a layer without a feed-forward.
fn width(params: &Params<'_>, layer: u32) -> Result<u64> {
    const UNIT: u64 = 256;
    let by = block(params.config, layer, "ffn", "ffn_mult").and_then(Json::as_f64).unwrap_or(0.0);
    Ok(((2.0 * by * params.size("n", layer)? as f64 / 3.0) as u64).next_multiple_of(UNIT))
}

fn by_layer(params: &Params<'_>, of: impl Fn(u32) -> Result<u64>) -> Result<Option<Value>> {
    let all = (0..params.count("l", 0)?).map(|layer| of(layer).map(|n| n as i32));
    Ok(Some(Value::Array(Array::I32(all.collect::<Result<_>>()?))))
}

const KEYS: &[Key] = &[
    make("rope.freq_base", |params| {
        Ok(Rope::read(params.config)?.theta()?.map(|theta| Value::F32(theta as f32)))
    }),
    make("attention.head_count_kv", |params| by_layer(params, |layer| groups(params, layer))),
    make("attention.head_count", |params| {
        let has = |layer| shared(params.config, layer).is_some() || is_linear(params.config, layer);
        by_layer(params, |layer| if has(layer) { params.size("h", layer) } else { Ok(0) })
    }),
    make("feed_forward_length", |params| by_layer(params, |layer| width(params, layer))),
    size("block_count", "l"),
    count("context_length", &["max_position_embeddings"]).must(),
    size("embedding_length", "n"),
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]).must(),
    size("attention.key_length", "d"),
    size("attention.value_length", "d"),
    size("vocab_size", "vocab"),
    size("rope.dimension_count", "d"),
];

const KEYS7: &[Key] = &[
    Key {
        gguf: "attention.head_count_kv",
        from: From::Count(&["num_key_value_heads_per_layer", "num_key_value_heads"]),
        absent: Absent::Omit,
    },
    size("vocab_size", "vocab"),
    size("rope.dimension_count", "d"),
];

const ATTENDS: Layers = Layers::When(|params, layer| Ok(shared(params.config, layer).is_some()));
const LINEAR: Layers = Layers::When(|params, layer| Ok(is_linear(params.config, layer)));
const EITHER: Layers = Layers::When(|params, layer| {
    Ok(shared(params.config, layer).is_some() || is_linear(params.config, layer))
});
const WIDE: Layers = Layers::When(|params, layer| Ok(width(params, layer)? > 0));
const BIASED: Need = Need::If("attention_bias");

const RULES: &[Rule] = &[
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").layers(EITHER),
    rule(
        &["layers.{l}.self_attn.q_proj.weight"],
        &["blk.{l}.attn_q.weight"],
        "(h two pair) n -> (h pair two) n",
    )
    .bias(BIASED)
    .layers(ATTENDS),
    rule(
        &["layers.{l}.self_attn.k_proj.weight"],
        &["blk.{l}.attn_k.weight"],
        "(g two pair) n -> (g pair two) n",
    )
    .bias(BIASED)
    .layers(ATTENDS),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n")
        .bias(BIASED)
        .layers(ATTENDS),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)")
        .bias(BIASED)
        .layers(ATTENDS),
    rule(&["layers.{l}.self_attn.linear_attn.weight"], &["blk.{l}.attn_output.weight"], "n m").layers(LINEAR),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n").layers(WIDE),
    rule(&["layers.{l}.mlp.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n").layers(WIDE),
    rule(&["layers.{l}.mlp.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n").layers(WIDE),
    rule(&["layers.{l}.mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff").layers(WIDE),
];
