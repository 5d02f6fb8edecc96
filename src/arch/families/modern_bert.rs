//! ModernBERT: an encoder with rotary positions, gate and up in one, and windows in two of three layers. EuroBERT: a llama
//! that attends both ways.
//! Specification: `ModernBertModel`, `EuroBertModel` of llama.cpp's converter.

use super::bert::{self, ENCODES};
use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::keys::{Absent, Fixed, From, Key, TRANSFORMER, count, is, make, size};
use crate::arch::params::{AXES as ALL, Axis, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};

pub const MODERN_BERT: Arch = Arch {
    classes: &["ModernBertModel", "ModernBertForMaskedLM", "ModernBertForSequenceClassification"],
    told_by: &[(bert::HEAD, "ModernBertForSequenceClassification")],
    gguf: "modern-bert",
    base: Some(&ENCODER),
    prefixes: &["model.", ""],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: &["decoder.*"],
    ..NONE
};

pub const EUROBERT: Arch = Arch {
    classes: &["EuroBertModel", "JinaEmbeddingsV5Model"],
    gguf: "eurobert",
    base: Some(&DECODER),
    keys: &[
        is("attention.causal", Fixed::Flag(false)),
        is("rope.scaling.type", Fixed::Text("none")),
        make("pooling_type", bert::pooling),
        bert::CLASSIFIER_POOLING,
        is("^tokenizer.ggml.add_bos_token", Fixed::Flag(false)),
    ],
    without: &["output.weight"],
    ..NONE
};

const ENCODER: Arch = Arch { keys: ENCODES, base: Some(&ROOT), ..NONE };
const ROOT: Arch = Arch { keys: TRANSFORMER, axes: ALL, ..NONE };

const KEYS: &[Key] = &[
    count("attention.sliding_window", &["local_attention"]).must(),
    count("attention.sliding_window_pattern", &["global_attn_every_n_layers"]),
    is("rope.scaling.type", Fixed::Text("none")),
    size("vocab_size", "vocab"),
    Key { gguf: "hidden_activation", from: From::Text(&["hidden_activation"]), absent: Absent::Omit },
    is("^tokenizer.ggml.add_bos_token", Fixed::Flag(true)),
    is("^tokenizer.ggml.add_eos_token", Fixed::Flag(true)),
    is("^tokenizer.ggml.add_sep_token", Fixed::Flag(true)),
];

const AXES: &[Axis] = &[axis("labels", Size::Make(bert::count_labels))];

/// The first layer has no norm before its attention.
const NORMED: Layers = Layers::When(|_, layer| Ok(layer > 0));
const BIASED: Need = Need::If("norm_bias");

const RULES: &[Rule] = &[
    rule(&["embeddings.tok_embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["embeddings.norm.weight"], &["token_embd_norm.weight"], "n").bias(BIASED),
    rule(&["final_norm.weight"], &["output_norm.weight"], "n").bias(BIASED),
    rule(&["layers.{l}.attn_norm.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(BIASED).layers(NORMED),
    rule(&["layers.{l}.attn.Wqkv.weight"], &["blk.{l}.attn_qkv.weight"], "(three h d) n")
        .bias(Need::If("attention_bias")),
    rule(&["layers.{l}.attn.Wo.weight"], &["blk.{l}.attn_output.weight"], "n (h d)")
        .bias(Need::If("attention_bias")),
    rule(&["layers.{l}.mlp_norm.weight"], &["blk.{l}.ffn_norm.weight"], "n").bias(BIASED),
    rule(&["layers.{l}.mlp.Wi.weight"], &["blk.{l}.ffn_up.weight"], "(two ff) n").bias(Need::If("mlp_bias")),
    rule(&["layers.{l}.mlp.Wo.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(Need::If("mlp_bias")),
    rule(&["^head.dense.weight"], &["cls.weight"], "n m").may().bias(Need::May),
    rule(&["^head.norm.weight"], &["cls.norm.weight"], "n").may().bias(Need::May),
    rule(&["^classifier.weight"], &["cls.output.weight"], "labels n").may().bias(Need::May),
];
