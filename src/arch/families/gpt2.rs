//! GPT-2: its matrices are kept transposed (`Conv1D`), queries, keys and values in one. The buffers of published
//! checkpoints (`attn.bias`), over which the converter stumbles, are left out. ruGPT-3 XL is one with llama's names.
//! Specification: `GPT2Model`, `RuGPT3XLModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::keys::{Key, count, positive, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};

pub const GPT2: Arch = Arch {
    classes: &["GPT2LMHeadModel"],
    gguf: "gpt2",
    prefixes: &["transformer.", ""],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: &["*.attn.bias", "*.attn.masked_bias"],
    ..NONE
};

pub const RU_GPT3_XL: Arch = Arch {
    classes: &["RuGPT3XLForCausalLM"],
    gguf: "gpt2",
    base: Some(&DECODER),
    axes: &[axis("positions", Size::Of(&["max_position_embeddings"])), axis("three", Size::Is(3))],
    rules: APART,
    without: &[
        "blk.{l}.attn_q.weight",
        "blk.{l}.attn_k.weight",
        "blk.{l}.attn_v.weight",
        "blk.{l}.ffn_gate.weight",
    ],
    ..NONE
};

const APART: &[Rule] = &[
    rule(&["embed_positions.weight"], &["position_embd.weight"], "positions n"),
    rule(&["norm.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must),
    rule(
        &["layers.{l}.self_attn.{q|k|v}_proj.weight"],
        &["blk.{l}.attn_qkv.weight"],
        "m n ; m n ; m n -> [m|m|m] n",
    )
    .bias(Need::Must),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n m").bias(Need::Must),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.mlp.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["layers.{l}.mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
];

const KEYS: &[Key] = &[
    size("block_count", "l"),
    count("context_length", &["n_ctx", "max_position_embeddings", "n_positions"]).must(),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("attention.head_count", "h"),
    positive("attention.layer_norm_epsilon", &["layer_norm_epsilon"]).must(),
];

const AXES: &[Axis] = &[
    axis("l", Size::Of(&["n_layer", "num_hidden_layers"])),
    axis("n", Size::Of(&["n_embd", "hidden_size"])),
    axis("m", Size::Same("n")),
    axis("h", Size::Of(&["n_head", "num_attention_heads"])),
    axis("vocab", Size::Of(&["vocab_size"])),
    axis("positions", Size::Of(&["max_position_embeddings", "n_positions"])),
    axis("three", Size::Is(3)),
    axis("four", Size::Is(4)),
    axis("ff", Size::Mul("four", "n")),
];

const RULES: &[Rule] = &[
    rule(&["wte.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["wpe.weight"], &["position_embd.weight"], "positions n"),
    rule(&["ln_f.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n").need(Need::Unless("tie_word_embeddings")),
    rule(&["h.{l}.ln_1.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must),
    rule(&["h.{l}.attn.c_attn.weight"], &["blk.{l}.attn_qkv.weight"], "n (three m) -> (three m) n")
        .bias(Need::Must),
    rule(&["h.{l}.attn.c_proj.weight"], &["blk.{l}.attn_output.weight"], "m n -> n m").bias(Need::Must),
    rule(&["h.{l}.ln_2.weight"], &["blk.{l}.ffn_norm.weight"], "n").bias(Need::Must),
    rule(&["h.{l}.mlp.c_fc.weight"], &["blk.{l}.ffn_up.weight"], "n ff -> ff n").bias(Need::Must),
    rule(&["h.{l}.mlp.c_proj.weight"], &["blk.{l}.ffn_down.weight"], "ff n -> n ff").bias(Need::Must),
];
