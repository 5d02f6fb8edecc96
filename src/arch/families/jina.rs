//! Jina's encoders: version 2, a BERT with ALiBi and a gate; version 3, an XLM-RoBERTa with rotary positions, whose adapters, one
//! a task, are GGUFs of their own (`crate::adapter`). The weights that these change are stored as PyTorch keeps what has a
//! parametrization.
//! Specification: `JinaBertV2Model`, `XLMRobertaModel` of llama.cpp's converter; `models/bert.cpp`.

use super::bert::{self, ENCODER, XLM_ROBERTA};
use super::{Arch, NONE};
use crate::arch::config::Config;
use crate::arch::keys::{Fixed, Key, count, positive};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Model, Result};
use serde_json::{Value as Json, json};

pub const JINA_BERT_V3: Arch = Arch {
    classes: &["XLMRobertaModel"],
    vocabulary: Some("t5"),
    regains: rotary,
    gguf: "jina-bert-v3",
    applies: Some(turns),
    base: Some(&XLM_ROBERTA),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    without: ABSENT,
    ignored: &["*.0.lora_A", "*.0.lora_B"],
    renamed: &[("*.parametrizations.weight.original", "*.weight")],
    ..NONE
};

/// Whether positions turn the queries and keys, which says also a checkpoint without adapters.
fn turns(config: &Config) -> Result<bool> {
    let has_tasks =
        config.get("lora_adaptations").and_then(Json::as_array).is_some_and(|all| !all.is_empty());
    Ok(has_tasks || config.get("position_embedding_type").and_then(Json::as_str) == Some("rotary"))
}

/// That positions turn, and how many there are, counted from the token that stands for none on.
fn rotary(model: &Model, layers: u32) -> Vec<(&'static str, Json)> {
    let whole = |key| model.metadata.u64(key);
    let skipped = whole("tokenizer.ggml.padding_token_id").unwrap_or(bert::NO_PLACE).saturating_add(1);
    let places = whole("jina-bert-v3.context_length").map(|places| places.saturating_add(skipped));
    let mut told = bert::no_place(model, layers);
    told.push(("position_embedding_type", json!("rotary")));
    told.extend(places.map(|places| ("max_position_embeddings", places.into())));
    told
}

const KEYS: &[Key] = &[positive("rope.freq_base", &["rotary_emb_base"])];

const AXES: &[Axis] = &[axis("three", Size::Is(3))];

const ABSENT: &[&str] =
    &["position_embd.weight", "blk.{l}.attn_q.weight", "blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"];

const RULES: &[Rule] = &[
    rule(&["emb_ln.weight"], &["token_embd_norm.weight"], "n").bias(Need::Must),
    rule(&["encoder.layers.{l}.mixer.Wqkv.weight"], &["blk.{l}.attn_qkv.weight"], "(three n) m")
        .bias(Need::Must),
    rule(&["encoder.layers.{l}.mixer.out_proj.weight"], &["blk.{l}.attn_output.weight"], "n m")
        .bias(Need::Must),
    rule(&["encoder.layers.{l}.norm1.weight"], &["blk.{l}.attn_output_norm.weight"], "n").bias(Need::Must),
    rule(&["encoder.layers.{l}.mlp.fc1.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["encoder.layers.{l}.mlp.fc2.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
    rule(&["encoder.layers.{l}.norm2.weight"], &["blk.{l}.layer_output_norm.weight"], "n").bias(Need::Must),
];

/// The second version.
pub const JINA_BERT: Arch = Arch {
    classes: &["JinaBertModel", "JinaBertForMaskedLM"],
    gguf: "jina-bert-v2",
    base: Some(&ENCODER),
    keys: &[count("^tokenizer.ggml.token_type_count", &["type_vocab_size"]).or(Fixed::Count(1))],
    rules: JINA,
    without: &["blk.{l}.ffn_up.weight", "blk.{l}.ffn_up.bias"],
    ..NONE
};

const JINA: &[Rule] = &[
    rule(&["encoder.layer.{l}.attention.self.layer_norm_q.weight"], &["blk.{l}.attn_q_norm.weight"], "n")
        .may()
        .bias(Need::May),
    rule(&["encoder.layer.{l}.attention.self.layer_norm_k.weight"], &["blk.{l}.attn_k_norm.weight"], "n")
        .may()
        .bias(Need::May),
    rule(&["encoder.layer.{l}.layer_norm_1.weight"], &["blk.{l}.attn_norm_2.weight"], "n")
        .may()
        .bias(Need::May),
    rule(
        &["encoder.layer.{l}.mlp.gated_layers.weight", "encoder.layer.{l}.mlp.up_gated_layer.weight"],
        &["blk.{l}.ffn_up.weight"],
        "(two ff) n",
    ),
    rule(
        &["encoder.layer.{l}.mlp.wo.weight", "encoder.layer.{l}.mlp.down_layer.weight"],
        &["blk.{l}.ffn_down.weight"],
        "n ff",
    )
    .bias(Need::May),
    rule(
        &["encoder.layer.{l}.mlp.layernorm.weight", "encoder.layer.{l}.layer_norm_2.weight"],
        &["blk.{l}.layer_output_norm.weight"],
        "n",
    )
    .bias(Need::Must),
];
