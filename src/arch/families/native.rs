//! Mistral's own layout (`consolidated.safetensors`, `params.json`): llama's tensors by the names that Meta gave them, the
//! rows of heads in GGUF's order already.
//! Specification: `MistralModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::keys::{Key, count, make, number, size};
use crate::arch::native::CLASS;
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::Value;

pub const MISTRAL: Arch = Arch {
    classes: &[CLASS],
    gguf: "llama",
    applies: Some(|config| Ok(config.get(TEMPERED).is_none())),
    base: Some(&BASE),
    ..NONE
};

/// Those whose attention is tempered with the place in the context.
pub const MINISTRAL: Arch = Arch {
    classes: &[CLASS],
    gguf: "mistral3",
    base: Some(&BASE),
    keys: &[number("attention.temperature_scale", &["llama_4_scaling.beta"]).must()],
    ..NONE
};

const TEMPERED: &str = "llama_4_scaling";

const BASE: Arch = Arch {
    base: Some(&DECODER),
    prefixes: &[""],
    keys: KEYS,
    rules: RULES,
    ignored: &["vision_encoder.*", "vision_language_adapter.*", "patch_merger.*", "pre_mm_projector_norm.*"],
    ..NONE
};

const KEYS: &[Key] = &[
    count("context_length", &["max_position_embeddings", "max_seq_len"]).must(),
    size("vocab_size", "vocab"),
    size("rope.dimension_count", "d"),
    make("rope.scaling.type", |params| Ok(params.config.get("yarn").map(|_| Value::from("yarn")))),
    number("rope.scaling.factor", &["yarn.factor"]),
    number("rope.scaling.yarn_beta_fast", &["yarn.beta"]),
    number("rope.scaling.yarn_beta_slow", &["yarn.alpha"]),
    make("rope.scaling.yarn_log_multiplier", |params| {
        let applies = params.config.optional_flag("yarn.apply_scale")?;
        Ok(applies.map(|applies| Value::F32(if applies { 0.0 } else { 1.0 })))
    }),
    count("rope.scaling.original_context_length", &["yarn.original_max_position_embeddings"]),
];

const RULES: &[Rule] = &[
    rule(&["tok_embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["norm.weight"], &["output_norm.weight"], "n"),
    rule(&["layers.{l}.attention_norm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["layers.{l}.attention.wq.weight"], &["blk.{l}.attn_q.weight"], "(h d) n"),
    rule(&["layers.{l}.attention.wk.weight"], &["blk.{l}.attn_k.weight"], "(g d) n"),
    rule(&["layers.{l}.attention.wv.weight"], &["blk.{l}.attn_v.weight"], "(g d) n"),
    rule(&["layers.{l}.attention.wo.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["layers.{l}.ffn_norm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.feed_forward.w1.weight"], &["blk.{l}.ffn_gate.weight"], "ff n"),
    rule(&["layers.{l}.feed_forward.w3.weight"], &["blk.{l}.ffn_up.weight"], "ff n"),
    rule(&["layers.{l}.feed_forward.w2.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
    rule(&["output.weight"], &["output.weight"], "vocab n").need(Need::Unless("tied_embeddings")),
];
