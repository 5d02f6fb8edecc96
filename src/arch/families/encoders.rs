//! Encoders beside BERT: NeoBERT, with rotary positions and gate and up in one; and decoders that were made encoders: Llama
//! Embed Nemotron, LFM 2 that embeds.
//! Specification: `NeoBert`, `LlamaEmbedNemotronModel`, `LFM2ColBertModel` of llama.cpp's converter.

use super::bert;
use super::lfm2::{self, LFM2};
use super::llama::LLAMA;
use super::{Arch, NONE, Uses};
use crate::arch::config::Config;
use crate::arch::dense::{Dense, Taken};
use crate::arch::keys::{Fixed, Key, count, is, make, positive, size};
use crate::arch::params::{AXES as ALL, Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Model, Result, Value};
use serde_json::Value as Json;

pub const NEO_BERT: Arch = Arch {
    classes: &["NeoBERT", "NeoBERTLMHead", "NeoBERTForSequenceClassification"],
    told_by: &[(bert::HEAD, "NeoBERTForSequenceClassification")],
    regains: both_parts,
    gguf: "neo-bert",
    base: Some(&NEO_ROOT),
    prefixes: &["", "model."],
    keys: NEO_KEYS,
    axes: NEO_AXES,
    rules: NEO,
    ignored: &["decoder.*"],
    ..NONE
};

const NEO_ROOT: Arch = Arch { keys: bert::ENCODES, base: Some(&ROOT), ..NONE };
const ROOT: Arch = Arch { keys: crate::arch::keys::TRANSFORMER, axes: ALL, ..NONE };

/// How texts are pooled, for NeoBERT: by their first token.
const FIRST: u32 = 2;

/// The width of a layer's feed-forward part as NeoBERT counts it, half as much again as there are rows.
fn both_parts(model: &Model, _layers: u32) -> Vec<(&'static str, Json)> {
    let wide = model.metadata.u64("neo-bert.feed_forward_length").unwrap_or(0);
    vec![("intermediate_size", wide.saturating_mul(3).div_ceil(2).into())]
}

const NEO_KEYS: &[Key] = &[
    size("feed_forward_length", "wide"),
    is("rope.freq_base", Fixed::Number(10000.0)),
    is("rope.scaling.type", Fixed::Text("none")),
    positive("attention.layer_norm_rms_epsilon", &["norm_eps"]).or(Fixed::Number(1e-6)),
    is("pooling_type", Fixed::Count(FIRST)),
    count("^tokenizer.ggml.token_type_count", &["type_vocab_size"]).or(Fixed::Count(1)),
];

const NEO_AXES: &[Axis] = &[
    axis("wide", Size::Make(|params, layer| Ok(params.size("ff", layer)?.saturating_mul(2) / 3))),
    axis("labels", Size::Make(bert::count_labels)),
];

const NEO: &[Rule] = &[
    rule(&["encoder.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["layer_norm.weight"], &["enc.output_norm.weight"], "n"),
    rule(&["transformer_encoder.{l}.attention_norm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["transformer_encoder.{l}.qkv.weight"], &["blk.{l}.attn_qkv.weight"], "(three n) m"),
    rule(&["transformer_encoder.{l}.wo.weight"], &["blk.{l}.attn_output.weight"], "n m"),
    rule(&["transformer_encoder.{l}.ffn_norm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["transformer_encoder.{l}.ffn.w12.weight"], &["blk.{l}.ffn_up.weight"], "(two wide) n"),
    rule(&["transformer_encoder.{l}.ffn.w3.weight"], &["blk.{l}.ffn_down.weight"], "n wide"),
    rule(&["^dense.weight"], &["cls.weight"], "n m").may().bias(Need::May),
    rule(&["^classifier.weight"], &["cls.output.weight"], "labels n")
        .may()
        .bias(Need::May)
        .layers(bert::NAMED),
];

pub const LLAMA_EMBED: Arch = Arch {
    classes: &["LlamaBidirectionalModel"],
    gguf: "llama-embed",
    base: Some(&LLAMA),
    prefixes: &["", "model."],
    without: &["output.weight"],
    ..NONE
};

/// LFM 2 that embeds, without a head.
pub const LFM2_EMBED: Arch = Arch {
    classes: &["Lfm2Model", "Lfm2BidirectionalModel"],
    regains: lfm2::kinds,
    gguf: "lfm2",
    base: Some(&LFM2),
    prefixes: &[""],
    keys: &[make("attention.causal", |params| Ok(both_ways(params.config)?.then_some(Value::Bool(false))))],
    without: &["output.weight"],
    dense: &[Dense { folder: "1_Dense", to: "dense_2", taken: Taken::Always }],
    uses: Uses::Pooled,
    ..NONE
};

fn both_ways(config: &Config) -> Result<bool> {
    Ok(config.class()? == "Lfm2BidirectionalModel")
}
