//! Gemma 3: norms multiply with 1 + w, so a GGUF holds w + 1; two norms more in each layer; the head is the table of
//! tokens, whose rows beyond the tokenizer are left out.
//! Specification: `Gemma3Model` of llama.cpp's converter.

use super::qwen::QWEN3;
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, make, number, positive};
use crate::arch::rule::{Rule, rule};
use crate::arch::values::Value;

pub const GEMMA3: Arch = Arch {
    classes: &["Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"],
    gguf: "gemma3",
    base: Some(&QWEN3),
    keys: KEYS,
    rules: RULES,
    without: &["output.weight"],
    ignored: &["*lm_head.weight", "*vision_tower.*", "*multi_modal_projector.*"],
    ..NONE
};

const KEYS: &[Key] = &[
    count("context_length", &["max_position_embeddings"]).or(Fixed::Count(131072)),
    count("attention.head_count", &["num_attention_heads"]).or(Fixed::Count(8)),
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]).or(Fixed::Number(1e-6)),
    count("attention.key_length", &["head_dim"]).or(Fixed::Count(256)),
    count("attention.value_length", &["head_dim"]).or(Fixed::Count(256)),
    number("final_logit_softcapping", &["final_logit_softcapping"]),
    make("attention.sliding_window", |params| {
        let pattern = params.config.optional_count("sliding_window_pattern")?;
        match pattern {
            Some(1) => Ok(None),
            _ => params.config.count("sliding_window").map(|n| Some(n.into())),
        }
    }),
];

const RULES: &[Rule] = &[
    rule(&["embed_tokens.weight"], &["token_embd.weight"], "vocab n").cut(),
    rule(&["norm.weight"], &["output_norm.weight"], "n").value(Value::Plus(1.0)),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").value(Value::Plus(1.0)),
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "d")
        .value(Value::Plus(1.0)),
    rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "d")
        .value(Value::Plus(1.0)),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n")
        .value(Value::Plus(1.0)),
    rule(&["layers.{l}.pre_feedforward_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n")
        .value(Value::Plus(1.0)),
    rule(&["layers.{l}.post_feedforward_layernorm.weight"], &["blk.{l}.post_ffw_norm.weight"], "n")
        .value(Value::Plus(1.0)),
];
