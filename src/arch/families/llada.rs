//! LLaDA: a llama that fills in masked tokens (diffusion), so each token attends to all; and with experts.
//! Specification: `LLaDAModel`, `LLaDAMoEModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::qwen::NORMED;
use super::{Arch, NONE, TokenizerKey, experts, llama};
use crate::arch::keys::{Fixed, Key, count, is, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};

pub const LLADA: Arch = Arch {
    classes: &["LLaDAModelLM"],
    gguf: "llada",
    base: Some(&LLAMA_HEADS),
    prefixes: &["model.transformer."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    tokenizer: &[TokenizerKey {
        key: "tokenizer.ggml.add_bos_token",
        value: Fixed::Flag(true),
        sentencepiece: false,
    }],
    ..NONE
};

pub const LLADA_MOE: Arch = Arch {
    classes: &["LLaDAMoEModelLM", "LLaDAMoEModel"],
    gguf: "llada-moe",
    base: Some(&DECODER),
    keys: MOE_KEYS,
    axes: &[axis("eff", Size::Of(&["expert_intermediate_size"]))],
    shares: &[NORMED, &experts::routed(Layers::All)],
    without: experts::NO_DENSE,
    ..NONE
};

const LLAMA_HEADS: Arch = Arch { base: Some(&DECODER), axes: llama::AXES, ..NONE };

const KEYS: &[Key] = &[
    size("vocab_size", "vocab"),
    size("rope.dimension_count", "d"),
    count("context_length", &["max_sequence_length"]).or(Fixed::Count(4096)),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    is("attention.causal", Fixed::Flag(false)),
    is("^diffusion.shift_logits", Fixed::Flag(false)),
];

const AXES: &[Axis] = &[
    axis("n", Size::Or(&["d_model"], &Size::Is(4096))),
    axis("ff", Size::Or(&["mlp_hidden_size"], &Size::Is(12288))),
    axis("h", Size::Of(&["num_attention_heads", "n_heads"])),
    axis("g", Size::Or(&["num_key_value_heads", "n_kv_heads"], &Size::Same("h"))),
];

const BIASED: Need = Need::If("include_qkv_bias");

const RULES: &[Rule] = &[
    rule(&["wte.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["ln_f.weight"], &["output_norm.weight"], "n"),
    rule(&["ff_out.weight"], &["output.weight"], "vocab n").need(Need::Unless("weight_tying")),
    rule(&["blocks.{l}.attn_norm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["blocks.{l}.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h two pair) n -> (h pair two) n")
        .bias(BIASED),
    rule(&["blocks.{l}.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g two pair) n -> (g pair two) n")
        .bias(BIASED),
    rule(&["blocks.{l}.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n").bias(BIASED),
    rule(&["blocks.{l}.attn_out.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["blocks.{l}.ff_norm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["blocks.{l}.ff_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n"),
    rule(&["blocks.{l}.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n"),
    rule(&["blocks.{l}.ff_out.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
];

const MOE_KEYS: &[Key] = &[
    count("expert_feed_forward_length", &["expert_intermediate_size"]),
    is("^tokenizer.ggml.mask_token_id", Fixed::Count(156895)),
    is("attention.causal", Fixed::Flag(false)),
    is("^diffusion.shift_logits", Fixed::Flag(false)),
];
