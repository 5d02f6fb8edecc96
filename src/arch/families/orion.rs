//! Orion: llama's names, norms with biases.
//! Specification: `OrionModel` of llama.cpp's converter.

use super::decoder::NAMES;
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, positive, size};
use crate::arch::rule::{Need, Rule, rule};

pub const ORION: Arch = Arch {
    classes: &["OrionForCausalLM"],
    gguf: "orion",
    base: Some(&NAMES),
    keys: KEYS,
    rules: RULES,
    ..NONE
};

const KEYS: &[Key] = &[
    is("tensor_data_layout", Fixed::Text("Meta AI original pth")),
    count("context_length", &["max_sequence_length", "max_position_embeddings", "model_max_length"]).must(),
    size("embedding_length", "n"),
    size("block_count", "l"),
    size("feed_forward_length", "ff"),
    size("attention.head_count", "h"),
    size("attention.head_count_kv", "g"),
    // The config calls it so, but the norms are not those of root mean squares.
    positive("attention.layer_norm_epsilon", &["rms_norm_eps"]).must(),
];

const RULES: &[Rule] = &[
    rule(&["norm.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n").bias(Need::Must),
];
