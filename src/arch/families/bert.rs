//! BERT and what came of it: RoBERTa, XLM-RoBERTa, whose first places stand for none; DistilBERT; with a head that
//! classifies or ranks. Old checkpoints call the weights of norms gamma and beta.
//! Specification: `BertModel`, `RobertaModel`, `XLMRobertaModel`, `DistilBertModel` of llama.cpp's converter.

use super::{Arch, NONE};
use crate::arch::about;
use crate::arch::keys::{Absent, Fixed, From, Key, TRANSFORMER, count, is, make, size};
use crate::arch::params::{AXES as ALL, Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Array, Error, Model, Result, Value};
use serde_json::Value as Json;

pub const BERT: Arch = Arch {
    classes: &["BertModel", "BertForMaskedLM", "BertForSequenceClassification", "CamembertModel"],
    told_by: &[(HEAD, "BertForSequenceClassification")],
    vocabulary: Some("bert"),
    gguf: "bert",
    base: Some(&ENCODER),
    keys: TYPES,
    shares: &[&[POSITIONS]],
    ..NONE
};

pub const ROBERTA: Arch = Arch {
    classes: &["RobertaModel", "RobertaForSequenceClassification"],
    told_by: &[(HEAD, "RobertaForSequenceClassification")],
    vocabulary: Some("gpt2"),
    regains: no_place,
    gguf: "bert",
    base: Some(&ENCODER),
    prefixes: &["roberta.", "bert.", ""],
    keys: &[size("context_length", "places")],
    axes: &[axis("skipped", Size::Make(skipped)), axis("places", Size::Sub("positions", "skipped"))],
    rules: ROBERTA_HEAD,
    shares: &[&[POSITIONS.after("skipped")]],
    without: &["cls.weight", "cls.output.weight"],
    ..NONE
};

pub const XLM_ROBERTA: Arch = Arch {
    classes: &["XLMRobertaModel", "XLMRobertaForSequenceClassification"],
    told_by: &[(HEAD, "XLMRobertaForSequenceClassification")],
    vocabulary: Some("t5"),
    ..ROBERTA
};

pub const DISTILBERT: Arch = Arch {
    classes: &["DistilBertModel", "DistilBertForMaskedLM", "DistilBertForSequenceClassification"],
    told_by: &[(HEAD, "DistilBertForSequenceClassification")],
    gguf: "bert",
    prefixes: &["distilbert.", ""],
    keys: DISTIL_KEYS,
    axes: DISTIL_AXES,
    rules: DISTIL,
    ignored: &["vocab_*", "*embeddings.position_ids"],
    ..NONE
};

/// What all encoders have in common; others state their differences.
pub const ENCODER: Arch = Arch {
    base: Some(&ROOT),
    prefixes: &["bert.", "roberta.", ""],
    keys: ENCODES,
    rules: RULES,
    ignored: &[
        "*embeddings.position_ids",
        "*pooler.*",
        "cls.predictions.*",
        "cls.seq_relationship.*",
        "lm_head.*",
    ],
    renamed: &[("*.gamma", "*.weight"), ("*.beta", "*.bias")],
    ..NONE
};

const ROOT: Arch = Arch { keys: TRANSFORMER, axes: AXES, base: Some(&SIZES), ..NONE };
/// How the tensors of a head that classifies begin in a GGUF.
pub const HEAD: &str = "cls.";
const SIZES: Arch = Arch { axes: ALL, ..NONE };

/// The keys of every encoder, after those of the transformer.
pub const ENCODES: &[Key] = &[
    is("attention.causal", Fixed::Flag(false)),
    make("pooling_type", pooling),
    CLASSIFIER_POOLING,
    make("classifier.output_labels", labels),
];

/// How the vectors of a text become one before a head that classifies.
pub const CLASSIFIER_POOLING: Key = Key {
    gguf: "classifier.pooling_type",
    from: From::Word(&["classifier_pooling"], &[("mean", 1), ("cls", 2)]),
    absent: Absent::Omit,
};

const TYPES: &[Key] = &[count("^tokenizer.ggml.token_type_count", &["type_vocab_size"]).or(Fixed::Count(1))];

/// How the vectors of a text become one, as the files of sentence-transformers say.
pub fn pooling(params: &Params<'_>) -> Result<Option<Value>> {
    let told = params.checkpoint().map(about::pooling).transpose()?.flatten();
    Ok(told.map(Value::U32))
}

/// The labels of a head that classifies, by their numbers; none of those that stand for no labels.
pub fn labels(params: &Params<'_>) -> Result<Option<Value>> {
    let Some(all) = params.config.get("id2label").and_then(|v| v.as_object()) else { return Ok(None) };
    let mut all: Vec<(u64, &str)> =
        all.iter().filter_map(|(id, label)| Some((id.parse().ok()?, label.as_str()?))).collect();
    all.sort_unstable();
    let dummies = all.len() == 2 && all.first().is_some_and(|(_, label)| *label == "LABEL_0");
    let labels = all.into_iter().map(|(_, label)| label.into()).collect::<Vec<_>>();
    Ok((!dummies && !labels.is_empty()).then_some(Value::Array(Array::Str(labels))))
}

const AXES: &[Axis] = &[
    axis("positions", Size::Of(&["max_position_embeddings", "n_positions"])),
    axis("types", Size::Or(&["type_vocab_size"], &Size::Is(2))),
    axis("labels", Size::Make(count_labels)),
];

pub fn count_labels(params: &Params<'_>, _layer: u32) -> Result<u64> {
    let told = params.config.get("id2label").and_then(|v| v.as_object()).map(serde_json::Map::len);
    Ok(told.map_or(2, |n| n as u64))
}

/// RoBERTa counts places from the token that stands for none on.
fn skipped(params: &Params<'_>, _layer: u32) -> Result<u64> {
    let pad = params.config.whole_at("pad_token_id", 0)?;
    pad.map(|id| u64::from(id) + 1).ok_or_else(|| params.config.missing("pad_token_id", "the id of a token"))
}

/// The token that stands for no place, where nothing tells it.
pub const NO_PLACE: u64 = 1;

/// The token that stands for no place, where a GGUF does not tell it.
pub fn no_place(model: &Model, _layers: u32) -> Vec<(&'static str, Json)> {
    match model.metadata.u64("tokenizer.ggml.padding_token_id") {
        Some(_) => Vec::new(),
        None => vec![("pad_token_id", NO_PLACE.into())],
    }
}

/// Whether a head has labels of its own.
pub const NAMED: Layers = Layers::When(|params, _| Ok::<bool, Error>(labels(params)?.is_some()));
const UNNAMED: Layers = Layers::When(|params, _| Ok::<bool, Error>(labels(params)?.is_none()));

const POSITIONS: Rule =
    rule(&["embeddings.position_embeddings.weight"], &["position_embd.weight"], "positions n");

const RULES: &[Rule] = &[
    rule(&["embeddings.word_embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["embeddings.token_type_embeddings.weight"], &["token_types.weight"], "types n"),
    rule(&["embeddings.LayerNorm.weight"], &["token_embd_norm.weight"], "n").bias(Need::Must),
    rule(&["encoder.layer.{l}.attention.self.query.weight"], &["blk.{l}.attn_q.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["encoder.layer.{l}.attention.self.key.weight"], &["blk.{l}.attn_k.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["encoder.layer.{l}.attention.self.value.weight"], &["blk.{l}.attn_v.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["encoder.layer.{l}.attention.output.dense.weight"], &["blk.{l}.attn_output.weight"], "n (h d)")
        .bias(Need::Must),
    rule(&["encoder.layer.{l}.attention.output.LayerNorm.weight"], &["blk.{l}.attn_output_norm.weight"], "n")
        .bias(Need::Must),
    rule(&["encoder.layer.{l}.intermediate.dense.weight"], &["blk.{l}.ffn_up.weight"], "ff n")
        .bias(Need::Must),
    rule(&["encoder.layer.{l}.output.dense.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
    rule(&["encoder.layer.{l}.output.LayerNorm.weight"], &["blk.{l}.layer_output_norm.weight"], "n")
        .bias(Need::Must),
    rule(&["^classifier.weight"], &["cls.output.weight"], "labels n").may().bias(Need::May).layers(NAMED),
    rule(&["^classifier.weight"], &["cls.weight"], "labels n").may().bias(Need::May).layers(UNNAMED),
];

const ROBERTA_HEAD: &[Rule] = &[
    rule(&["^classifier.dense.weight"], &["cls.weight"], "n m").may().bias(Need::May),
    rule(&["^classifier.out_proj.weight"], &["cls.output.weight"], "labels n").may().bias(Need::May),
];

const DISTIL_KEYS: &[Key] = &[
    is("attention.layer_norm_epsilon", Fixed::Number(1e-12)),
    size("block_count", "l"),
    size("context_length", "positions"),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("attention.head_count", "h"),
    is("attention.causal", Fixed::Flag(false)),
    make("pooling_type", pooling),
    make("classifier.output_labels", labels),
    is("^tokenizer.ggml.token_type_count", Fixed::Count(1)),
];

const DISTIL_AXES: &[Axis] = &[
    axis("l", Size::Of(&["n_layers", "num_hidden_layers"])),
    axis("n", Size::Of(&["dim", "hidden_size"])),
    axis("m", Size::Same("n")),
    axis("ff", Size::Of(&["hidden_dim"])),
    axis("h", Size::Of(&["n_heads", "num_attention_heads"])),
    axis("d", Size::Div("n", "h")).or("n", "a multiple of {h} heads"),
    axis("vocab", Size::Of(&["vocab_size"])),
    axis("positions", Size::Of(&["max_position_embeddings"])),
    axis("labels", Size::Make(count_labels)),
];

const DISTIL: &[Rule] = &[
    rule(&["embeddings.word_embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["embeddings.position_embeddings.weight"], &["position_embd.weight"], "positions n"),
    rule(&["embeddings.LayerNorm.weight"], &["token_embd_norm.weight"], "n").bias(Need::Must),
    rule(&["transformer.layer.{l}.attention.q_lin.weight"], &["blk.{l}.attn_q.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["transformer.layer.{l}.attention.k_lin.weight"], &["blk.{l}.attn_k.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["transformer.layer.{l}.attention.v_lin.weight"], &["blk.{l}.attn_v.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["transformer.layer.{l}.attention.out_lin.weight"], &["blk.{l}.attn_output.weight"], "n (h d)")
        .bias(Need::Must),
    rule(&["transformer.layer.{l}.sa_layer_norm.weight"], &["blk.{l}.attn_output_norm.weight"], "n")
        .bias(Need::Must),
    rule(&["transformer.layer.{l}.ffn.lin1.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["transformer.layer.{l}.ffn.lin2.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
    rule(&["transformer.layer.{l}.output_layer_norm.weight"], &["blk.{l}.layer_output_norm.weight"], "n")
        .bias(Need::Must),
    rule(&["^pre_classifier.weight"], &["cls.weight"], "n m").may().bias(Need::May),
    rule(&["^classifier.weight"], &["cls.output.weight"], "labels n").may().bias(Need::May),
];
