//! Falcon 7B, 11B, 40B and 180B: the queries of a group, its key and its value lie together in one tensor; in GGUF all
//! queries come first, then all keys, then all values.
//! Specification: `FalconModel` of llama.cpp's converter.

use super::decoder::NAMES;
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::Result;

pub const FALCON: Arch = Arch {
    classes: &["FalconForCausalLM", "RWForCausalLM"],
    gguf: "falcon",
    base: Some(&NAMES),
    prefixes: &["transformer."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    without: &[
        "blk.{l}.attn_q.weight",
        "blk.{l}.attn_k.weight",
        "blk.{l}.attn_v.weight",
        "blk.{l}.ffn_gate.weight",
        "blk.{l}.ffn_norm.weight",
    ],
    ..NONE
};

const KEYS: &[Key] = &[
    is("context_length", Fixed::Count(2048)),
    is("tensor_data_layout", Fixed::Text("jploski")),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("block_count", "l"),
    size("attention.head_count", "h"),
    size("attention.head_count_kv", "g"),
    positive("attention.layer_norm_epsilon", &["layer_norm_epsilon"]).must(),
];

const AXES: &[Axis] = &[
    axis("four", Size::Is(4)),
    axis("ff", Size::Mul("four", "n")),
    axis("d", Size::Div("n", "h")).or("n", "a multiple of {h} heads"),
    axis("g", Size::Make(groups)),
];

/// Groups of queries that share a key and a value. With `multi_query`, unless the decoder is a new one, there is one,
/// whatever `num_kv_heads` says (convert_hf_to_gguf believes it, and fails).
fn groups(params: &Params<'_>, _layer: u32) -> Result<u64> {
    let config = params.config;
    if config.optional_flag("multi_query")?.unwrap_or(true) && !config.flag("new_decoder_architecture")? {
        return Ok(1);
    }
    let told = config.first(&["num_kv_heads", "n_head_kv"]).map(|key| config.count(key)).transpose()?;
    Ok(told.map_or(1, u64::from))
}

const TWO_NORMS: Layers = Layers::When(|params, _| {
    let config = params.config;
    Ok(config.flag("new_decoder_architecture")?
        && config.optional_count("num_ln_in_parallel_attn")? != Some(1))
});
const ONE_NORM: Layers = Layers::When(|params, layer| Ok(!TWO_NORMS.hold(params, layer)?));

const RULES: &[Rule] = &[
    rule(&["word_embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["ln_f.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["h.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n")
        .bias(Need::Must)
        .layers(ONE_NORM),
    rule(&["h.{l}.ln_mlp.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must).layers(TWO_NORMS),
    rule(&["h.{l}.ln_attn.weight"], &["blk.{l}.attn_norm_2.weight"], "n").bias(Need::Must).layers(TWO_NORMS),
    rule(
        &["h.{l}.self_attention.query_key_value.weight"],
        &["blk.{l}.attn_qkv.weight"],
        "(g [q|1|1] d) n -> [(g q d)|(g d)|(g d)] n",
    ),
    rule(&["h.{l}.self_attention.dense.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["h.{l}.mlp.dense_h_to_4h.weight"], &["blk.{l}.ffn_up.weight"], "ff n"),
    rule(&["h.{l}.mlp.dense_4h_to_h.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
];
