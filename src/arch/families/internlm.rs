//! InternLM 2: queries, keys and values of a group lie together in one tensor, and its halves are put in llama's order;
//! InternLM 3 is a llama.
//! Specification: `InternLM2Model`, `InternLM3Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::llama::{self, LLAMA};
use super::{Arch, NONE};
use crate::arch::rule::{Need, Rule, rule};

pub const INTERNLM2: Arch = Arch {
    classes: &["InternLM2ForCausalLM"],
    gguf: "internlm2",
    base: Some(&DECODER),
    prefixes: &["model."],
    axes: llama::AXES,
    rules: RULES,
    ..NONE
};

pub const INTERNLM3: Arch =
    Arch { classes: &["InternLM3ForCausalLM"], gguf: "llama", base: Some(&LLAMA), ..NONE };

const RULES: &[Rule] = &[
    rule(&["tok_embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["^output.weight"], &["output.weight"], "vocab n").need(Need::Unless("tie_word_embeddings")),
    rule(&["layers.{l}.attention_norm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(
        &["layers.{l}.attention.wqkv.weight"],
        &["blk.{l}.attn_q.weight", "blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"],
        "(g [(q two pair)|(two pair)|d]) n -> (g q pair two) n ; (g pair two) n ; (g d) n",
    ),
    rule(&["layers.{l}.attention.wo.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["layers.{l}.ffn_norm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.feed_forward.w1.weight"], &["blk.{l}.ffn_gate.weight"], "ff n"),
    rule(&["layers.{l}.feed_forward.w3.weight"], &["blk.{l}.ffn_up.weight"], "ff n"),
    rule(&["layers.{l}.feed_forward.w2.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
];
