//! GLM-4-9B (`GlmForCausalLM`): gate and up in one tensor, half of each head rotates; its context is written as its width,
//! as the converter does.
//! Specification: `ChatGLMModel` of llama.cpp's converter.

use super::decoder::NAMES;
use super::{Arch, NONE, partial};
use crate::arch::keys::{Fixed, Key, is, make, positive, size};
use crate::arch::rule::{Rule, rule};
use ggraft_formats::Value;

pub const GLM: Arch = Arch {
    classes: &["GlmForCausalLM"],
    gguf: "chatglm",
    base: Some(&NAMES),
    keys: KEYS,
    rules: RULES,
    without: &["blk.{l}.ffn_gate.weight"],
    ..NONE
};

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
        Ok(Some(Value::F32((10000.0 * ratio) as f32)))
    }),
];

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["layers.{l}.mlp.gate_up_proj.weight"], &["blk.{l}.ffn_up.weight"], "(two ff) n"),
];
