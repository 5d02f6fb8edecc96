//! GPT-NeoX, Pythia; BLOOM: queries, keys and values of each head lie together in one tensor; in GGUF all queries come
//! first, then all keys, then all values.
//! Specification: `GPTNeoXModel`, `BloomModel` of llama.cpp's converter.

use super::decoder::NAMES;
use super::{Arch, NONE, decoder, partial};
use crate::arch::keys::{Fixed, Key, count, flag, make, positive, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};

pub const GPT_NEOX: Arch = Arch {
    classes: &["GPTNeoXForCausalLM"],
    gguf: "gptneox",
    base: Some(&NAMES),
    prefixes: &["gpt_neox."],
    keys: NEOX_KEYS,
    rules: NEOX,
    without: SPLIT,
    ignored: &["*.attention.rotary_emb.inv_freq"],
    ..NONE
};

pub const BLOOM: Arch = Arch {
    classes: &["BloomForCausalLM"],
    gguf: "bloom",
    base: Some(&NAMES),
    prefixes: &["transformer.", ""],
    keys: BLOOM_KEYS,
    axes: BLOOM_AXES,
    rules: BLOOM_RULES,
    without: SPLIT,
    ..NONE
};

/// The model alone.
pub const BLOOM_MODEL: Arch =
    Arch { classes: &["BloomModel"], gguf: "bloom", base: Some(&BLOOM), rules: decoder::ANY_HEAD, ..NONE };

const SPLIT: &[&str] =
    &["blk.{l}.attn_q.weight", "blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight", "blk.{l}.ffn_gate.weight"];

const NEOX_KEYS: &[Key] = &[
    count("context_length", &["max_position_embeddings"]).must(),
    size("embedding_length", "n"),
    size("block_count", "l"),
    size("feed_forward_length", "ff"),
    make("rope.dimension_count", partial::of_plain_head),
    size("attention.head_count", "h"),
    flag("use_parallel_residual", &["use_parallel_residual"]).or(Fixed::Flag(true)),
    positive("attention.layer_norm_epsilon", &["layer_norm_eps"]).must(),
];

const BIASED: Need = Need::If("attention_bias");

const NEOX: &[Rule] = &[
    rule(&["embed_in.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["final_layer_norm.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["^embed_out.weight"], &["output.weight"], "vocab n").need(Need::Unless("tie_word_embeddings")),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must),
    rule(
        &["layers.{l}.attention.query_key_value.weight"],
        &["blk.{l}.attn_qkv.weight"],
        "(h three d) n -> (three h d) n",
    )
    .bias(BIASED),
    rule(&["layers.{l}.attention.dense.weight"], &["blk.{l}.attn_output.weight"], "n (h d)").bias(BIASED),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.mlp.dense_h_to_4h.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["layers.{l}.mlp.dense_4h_to_h.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
];

const BLOOM_KEYS: &[Key] = &[
    make("context_length", |params| {
        let told = params.config.optional_count("seq_length")?;
        told.map_or_else(|| params.count("n", 0), Ok).map(|n| Some(n.into()))
    }),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("block_count", "l"),
    size("attention.head_count", "h"),
    size("attention.head_count_kv", "h"),
    positive("attention.layer_norm_epsilon", &["layer_norm_epsilon"]).must(),
];

const BLOOM_AXES: &[Axis] = &[
    axis("n", Size::Of(&["hidden_size", "n_embed"])),
    axis("four", Size::Is(4)),
    axis("ff", Size::Mul("four", "n")),
];

const BLOOM_RULES: &[Rule] = &[
    rule(&["word_embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["word_embeddings_layernorm.weight"], &["token_embd_norm.weight"], "n").bias(Need::Must),
    rule(&["ln_f.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n").need(Need::Unless("tie_word_embeddings")),
    rule(&["h.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must),
    rule(
        &["h.{l}.self_attention.query_key_value.weight"],
        &["blk.{l}.attn_qkv.weight"],
        "(h three d) n -> (three h d) n",
    )
    .bias(Need::Must),
    rule(&["h.{l}.self_attention.dense.weight"], &["blk.{l}.attn_output.weight"], "n (h d)").bias(Need::Must),
    rule(&["h.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n").bias(Need::Must),
    rule(&["h.{l}.mlp.dense_h_to_4h.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["h.{l}.mlp.dense_4h_to_h.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
];
