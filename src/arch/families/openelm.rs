//! OpenELM: every layer has its own number of heads and its own width of the feed-forward.
//! Specification: `OpenELMModel` of llama.cpp's converter; `OpenELMConfig` of the published models.

use super::{Arch, NONE};
use crate::arch::json;
use crate::arch::keys::{Fixed, Key, count, is, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Array, Model, Result, Value};
use serde_json::Value as Json;

pub const OPENELM: Arch = Arch {
    classes: &["OpenELMForCausalLM"],
    regains: multipliers,
    gguf: "openelm",
    prefixes: &["transformer."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ..NONE
};

const KEYS: &[Key] = &[
    size("block_count", "l"),
    count("context_length", &["max_context_length"]).must(),
    size("embedding_length", "n"),
    make("feed_forward_length", |params| by_layer(params, "ff")),
    make("attention.head_count", |params| by_layer(params, "h")),
    make("attention.head_count_kv", |params| by_layer(params, "g")),
    positive("rope.freq_base", &["rope_freq_constant"]).must(),
    is("attention.layer_norm_rms_epsilon", Fixed::Number(1e-6)),
    size("rope.dimension_count", "d"),
    size("attention.key_length", "d"),
    size("attention.value_length", "d"),
];

/// The size of an axis in every layer.
fn by_layer(params: &Params<'_>, axis: &str) -> Result<Option<Value>> {
    let all = (0..params.count("l", 0)?).map(|layer| params.count(axis, layer).map(|n| n as i32));
    Ok(Some(Value::Array(Array::I32(all.collect::<Result<_>>()?))))
}

const AXES: &[Axis] = &[
    axis("l", Size::Of(&["num_transformer_layers"])),
    axis("n", Size::Of(&["model_dim"])),
    axis("d", Size::Of(&["head_dim"])),
    axis("h", Size::Of(&["num_query_heads"])),
    axis("g", Size::Of(&["num_kv_heads"])),
    axis("ff", Size::Make(width)),
    axis("vocab", Size::Of(&["vocab_size"])),
];

/// A multiple of the width of the model, rounded to the nearest of a divisor, but by no more than a tenth down.
fn width(params: &Params<'_>, layer: u32) -> Result<u64> {
    let (key, expected) = ("ffn_multipliers", "a number a layer");
    let told = params.config.get(key).and_then(|v| v.as_array()?.get(layer as usize)?.as_f64());
    let by = told.ok_or_else(|| params.config.missing(key, expected))?;
    let unit = u64::from(params.config.count("ffn_dim_divisor")?);
    let wanted = by * params.size("n", layer)? as f64;
    let near = ((wanted + unit as f64 / 2.0) as u64 / unit * unit).max(unit);
    Ok(if (near as f64) < 0.9 * wanted { near.saturating_add(unit) } else { near })
}

/// The multipliers that give the widths which a GGUF tells, to the nearest whole number.
fn multipliers(model: &Model, layers: u32) -> Vec<(&'static str, Json)> {
    let by = |key: &str| model.metadata.get(&format!("openelm.{key}"));
    let width = by("embedding_length").and_then(Value::as_u64).unwrap_or(1).max(1) as f64;
    let all = by("feed_forward_length").map(json).unwrap_or_default();
    let at = |layer: u32| all.get(layer as usize).and_then(Json::as_u64).unwrap_or(0) as f64 / width;
    vec![("ffn_multipliers", (0..layers).map(at).collect()), ("ffn_dim_divisor", 1.into())]
}

const RULES: &[Rule] = &[
    rule(&["token_embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["norm.weight"], &["output_norm.weight"], "n"),
    rule(&["layers.{l}.attn_norm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(
        &["layers.{l}.attn.qkv_proj.weight"],
        &["blk.{l}.attn_qkv.weight"],
        "[(h d)|(g d)|(g d)] n -> [(h d)|(g d)|(g d)] n",
    ),
    rule(&["layers.{l}.attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "d").need(NORMED),
    rule(&["layers.{l}.attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "d").need(NORMED),
    rule(&["layers.{l}.attn.out_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["layers.{l}.ffn_norm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.ffn.proj_1.weight"], &["blk.{l}.ffn_{gate|up}.weight"], "[ff|ff] n -> ff n ; ff n"),
    rule(&["layers.{l}.ffn.proj_2.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
];

const NORMED: Need = Need::If("normalize_qk_projections");
