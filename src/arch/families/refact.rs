//! Refact: one key and one value for all queries, gate and up in one tensor. CodeShell: GPT-2's names, rotary positions,
//! groups of queries.
//! Specification: `RefactModel`, `CodeShellModel` of llama.cpp's converter.

use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::Result;

pub const REFACT: Arch = Arch {
    classes: &["GPTRefactForCausalLM"],
    gguf: "refact",
    base: Some(&SIZES),
    keys: KEYS,
    axes: &[axis("ff", Size::Make(width)), axis("g", Size::Is(1))],
    rules: RULES,
    ..NONE
};

pub const CODESHELL: Arch = Arch {
    classes: &["CodeShellForCausalLM"],
    gguf: "codeshell",
    base: Some(&SIZES),
    keys: SHELL_KEYS,
    axes: SHELL_AXES,
    rules: SHELL,
    ignored: &["*.rotary_emb.inv_freq"],
    ..NONE
};

const SIZES: Arch = Arch { prefixes: &["transformer."], axes: AXES, ..NONE };

const AXES: &[Axis] = &[
    axis("l", Size::Of(&["n_layer"])),
    axis("n", Size::Of(&["n_embd"])),
    axis("h", Size::Of(&["n_head"])),
    axis("d", Size::Div("n", "h")).or("n", "a multiple of {h} heads"),
    axis("vocab", Size::Of(&["vocab_size"])),
];

/// Two thirds of four times the width, rounded up.
fn width(params: &Params<'_>, layer: u32) -> Result<u64> {
    const UNIT: u64 = 256;
    Ok((params.size("n", layer)?.saturating_mul(8) / 3).next_multiple_of(UNIT))
}

const KEYS: &[Key] = &[
    count("context_length", &["n_positions"]).must(),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("block_count", "l"),
    size("attention.head_count", "h"),
    size("attention.head_count_kv", "g"),
    positive("attention.layer_norm_rms_epsilon", &["layer_norm_epsilon"]).must(),
];

const RULES: &[Rule] = &[
    rule(&["wte.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["ln_f.weight"], &["output_norm.weight"], "n"),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n").need(Need::Unless("tie_word_embeddings")),
    rule(&["h.{l}.ln_1.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["h.{l}.attn.q.weight"], &["blk.{l}.attn_q.weight"], "(h d) n"),
    rule(
        &["h.{l}.attn.kv.weight"],
        &["blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"],
        "[(g d)|(g d)] n -> (g d) n ; (g d) n",
    ),
    rule(&["h.{l}.attn.c_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["h.{l}.ln_2.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["h.{l}.mlp.gate_up_proj.weight"], &["blk.{l}.ffn_{gate|up}.weight"], "[ff|ff] n -> ff n ; ff n"),
    rule(&["h.{l}.mlp.c_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
];

const SHELL_KEYS: &[Key] = &[
    count("context_length", &["n_positions"]).must(),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("block_count", "l"),
    size("attention.head_count", "h"),
    size("attention.head_count_kv", "g"),
    positive("attention.layer_norm_epsilon", &["layer_norm_epsilon"]).must(),
    is("rope.freq_base", Fixed::Number(10000.0)),
    is("rope.scaling.type", Fixed::Text("linear")),
    is("rope.scaling.factor", Fixed::Number(1.0)),
];

const SHELL_AXES: &[Axis] = &[
    axis("four", Size::Is(4)),
    axis("ff", Size::Mul("four", "n")),
    axis("g", Size::Of(&["num_query_groups"])),
    axis("m", Size::Same("n")),
];

const SHELL: &[Rule] = &[
    rule(&["wte.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["ln_f.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n").need(Need::Unless("tie_word_embeddings")),
    rule(&["h.{l}.ln_1.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must),
    rule(
        &["h.{l}.attn.c_attn.weight"],
        &["blk.{l}.attn_qkv.weight"],
        "[(h d)|(g d)|(g d)] n -> [(h d)|(g d)|(g d)] n",
    )
    .bias(Need::Must),
    rule(&["h.{l}.attn.c_proj.weight"], &["blk.{l}.attn_output.weight"], "n m").bias(Need::Must),
    rule(&["h.{l}.ln_2.weight"], &["blk.{l}.ffn_norm.weight"], "n").bias(Need::Must),
    rule(&["h.{l}.mlp.c_fc.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["h.{l}.mlp.c_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
];
