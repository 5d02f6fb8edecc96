//! GLM-4-9B (`GlmForCausalLM`): gate and up in one tensor, half of each head rotates; its context is written as its width,
//! as the converter does. `ChatGLMModel` is what ChatGLM 3 and GLM-4 are called where their code lies beside the weights.
//! Specification: `ChatGLMModel` of llama.cpp's converter.

use super::decoder::NAMES;
use super::told::{Keys, Told, some};
use super::{Arch, NONE, partial};
use crate::arch::keys::{Fixed, Key, is, make, positive, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::Value;
use serde_json::json;

pub const GLM: Arch = Arch {
    classes: &["GlmForCausalLM"],
    gguf: "chatglm",
    regains: |model, layers| ratio(&Told::of(model, layers)),
    base: Some(&NAMES),
    keys: KEYS,
    rules: RULES,
    without: &["blk.{l}.ffn_gate.weight"],
    ..NONE
};

/// Queries, keys and values in one, in blocks.
pub const CHAT_GLM: Arch = Arch {
    classes: &["ChatGLMModel", "ChatGLMForConditionalGeneration"],
    gguf: "chatglm",
    regains: |model, layers| {
        let told = Told::of(model, layers);
        let rows = told.whole("token_embd.weight").map(|table| json!(table.shape().rows()));
        [ratio(&told), some([("vocab_size", rows.clone()), ("padded_vocab_size", rows)])].concat()
    },
    base: Some(&GLM),
    prefixes: &["transformer.", ""],
    axes: AXES,
    rules: FUSED,
    without: &["blk.{l}.attn_q.weight", "blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"],
    ignored: &["*rotary_pos_emb.inv_freq", "transformer.vision.*"],
    ..NONE
};

/// The base of the rotation, as these configs have it: by how much it is above the usual one.
fn ratio(told: &Told<'_>) -> Keys {
    let base = told.get("rope.freq_base").and_then(Value::as_f64);
    some([("rope_ratio", base.filter(|base| *base != BASE).map(|base| json!(base / BASE)))])
}

const BASE: f64 = 10000.0;

const AXES: &[Axis] = &[
    axis("vocab", Size::Of(&["padded_vocab_size", "vocab_size"])),
    axis("ff", Size::Of(&["ffn_hidden_size", "intermediate_size"])),
    axis("g", Size::Or(&["multi_query_group_num", "num_key_value_heads"], &Size::Same("h"))),
    axis("d", Size::Or(&["kv_channels"], &Size::Div("n", "h"))),
];

const LINEAR: Need = Need::If("add_bias_linear");

const FUSED: &[Rule] = &[
    rule(&["embedding.word_embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["encoder.final_layernorm.weight"], &["output_norm.weight"], "n"),
    rule(&["output_layer.weight"], &["output.weight"], "vocab n").need(Need::Unless("tie_word_embeddings")),
    rule(&["encoder.layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(
        &["encoder.layers.{l}.self_attention.query_key_value.weight"],
        &["blk.{l}.attn_qkv.weight"],
        "[(h d)|(g d)|(g d)] n",
    )
    .bias(Need::If("add_qkv_bias")),
    rule(&["encoder.layers.{l}.self_attention.dense.weight"], &["blk.{l}.attn_output.weight"], "n (h d)")
        .bias(LINEAR),
    rule(&["encoder.layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["encoder.layers.{l}.mlp.dense_h_to_4h.weight"], &["blk.{l}.ffn_up.weight"], "(two ff) n")
        .bias(LINEAR),
    rule(&["encoder.layers.{l}.mlp.dense_4h_to_h.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(LINEAR),
];

const KEYS: &[Key] = &[
    make("context_length", |params| {
        let told = params.config.optional_count("seq_length")?;
        told.map_or_else(|| params.count("n", 0), Ok).map(|n| Some(n.into()))
    }),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("block_count", "l"),
    size("attention.head_count", "h"),
    size("attention.head_count_kv", "g"),
    positive("attention.layer_norm_rms_epsilon", &["layernorm_epsilon"]).or(Fixed::Number(1e-5)),
    make("rope.dimension_count", partial::of_half_plain_head),
    is("^tokenizer.ggml.add_bos_token", Fixed::Flag(false)),
    make("rope.freq_base", |params| {
        let ratio = params.config.optional_number("rope_ratio")?.unwrap_or(1.0);
        Ok(Some(Value::F32((BASE * ratio) as f32)))
    }),
];

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["layers.{l}.mlp.gate_up_proj.weight"], &["blk.{l}.ffn_up.weight"], "(two ff) n"),
];
