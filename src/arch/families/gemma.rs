//! Gemma 1 and 2: norms multiply with 1 + w, so a GGUF holds w + 1; the head is the table of tokens. Gemma 2 has two norms
//! more in each layer, and caps its scores.
//! Specification: `GemmaModel`, `Gemma2Model` of llama.cpp's converter.

use super::decoder::NAMES;
use super::{Arch, NONE, TokenizerKey};
use crate::arch::keys::{Fixed, Key, count, number, positive, size};
use crate::arch::rule::{Rule, rule};
use crate::arch::values::Value;
use ggraft_formats::Model;
use serde_json::Value as Json;

pub const GEMMA: Arch = Arch {
    classes: &["GemmaForCausalLM"],
    gguf: "gemma",
    base: Some(&NAMES),
    keys: KEYS,
    rules: NORMS,
    without: &["output.weight"],
    ignored: &["lm_head.weight"],
    tokenizer: &[END_OF_TURN, NO_SPACE],
    ..NONE
};

pub const GEMMA2: Arch = Arch {
    classes: &["Gemma2ForCausalLM"],
    gguf: "gemma2",
    regains: scale,
    base: Some(&GEMMA),
    keys: &[
        number("attn_logit_softcapping", &["attn_logit_softcapping"]).must(),
        number("final_logit_softcapping", &["final_logit_softcapping"]).must(),
        count("attention.sliding_window", &["sliding_window"]).must(),
    ],
    rules: FOUR_NORMS,
    tokenizer: &[NO_SPACE],
    ..NONE
};

/// The scale of attention that the runtime computes with: of the largest model by the width, else by a head.
/// Source: `llama_model_gemma2`, `llama_model_gemma3` of llama.cpp.
pub fn scale(model: &Model, layers: u32) -> Vec<(&'static str, Json)> {
    let arch = model.architecture().unwrap_or_default();
    let number = |key: &str| model.metadata.u64(&format!("{arch}.{key}"));
    let share = || number("embedding_length")?.checked_div(number("attention.head_count")?);
    let found = match (arch, layers) {
        ("gemma2", 46) | ("gemma3", 62) => share(),
        _ => number("attention.key_length"),
    };
    found.into_iter().map(|n| ("query_pre_attn_scalar", n.into())).collect()
}

/// `<end_of_turn>`, which the files of Gemma 1 do not name.
const END_OF_TURN: TokenizerKey =
    TokenizerKey { key: "tokenizer.ggml.eot_token_id", value: Fixed::Count(107), sentencepiece: false };

/// No space is put before the text.
pub const NO_SPACE: TokenizerKey =
    TokenizerKey { key: "tokenizer.ggml.add_space_prefix", value: Fixed::Flag(false), sentencepiece: true };

const KEYS: &[Key] = &[
    count("context_length", &["max_position_embeddings"]).must(),
    size("embedding_length", "n"),
    size("block_count", "l"),
    size("feed_forward_length", "ff"),
    size("attention.head_count", "h"),
    size("attention.head_count_kv", "g"),
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]).must(),
    size("attention.key_length", "d"),
    size("attention.value_length", "d"),
];

const NORMS: &[Rule] = &[
    rule(&["norm.weight"], &["output_norm.weight"], "n").value(Value::Plus(1.0)),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").value(Value::Plus(1.0)),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n")
        .value(Value::Plus(1.0)),
];

const FOUR_NORMS: &[Rule] = &[
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n")
        .value(Value::Plus(1.0)),
    rule(&["layers.{l}.pre_feedforward_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n")
        .value(Value::Plus(1.0)),
    rule(&["layers.{l}.post_feedforward_layernorm.weight"], &["blk.{l}.post_ffw_norm.weight"], "n")
        .value(Value::Plus(1.0)),
];
