//! Chameleon: llama's layers, with a norm and a bias of its own for each head of queries and keys. Images are tokens, which
//! a tokenizer of their own makes; it has no place in a GGUF.
//! Specification: `ChameleonModel` of llama.cpp's converter, `ChameleonAttention` of transformers.

use super::decoder::DECODER;
use super::{Arch, NONE, llama};
use crate::arch::keys::{Fixed, flag};
use crate::arch::rule::{Rule, rule};

pub const CHAMELEON: Arch = Arch {
    classes: &["ChameleonForConditionalGeneration", "ChameleonForCausalLM"],
    gguf: "chameleon",
    base: Some(&DECODER),
    keys: &[flag("swin_norm", &["swin_norm"]).or(Fixed::Flag(false))],
    axes: llama::AXES,
    rules: NORMS,
    shares: &[llama::RULES],
    ignored: &["model.vqmodel.*"],
    ..NONE
};

const NORMS: &[Rule] = &[
    rule(
        &["layers.{l}.self_attn.q_norm.weight"],
        &["blk.{l}.attn_q_norm.weight"],
        "h (two pair) -> h (pair two)",
    ),
    rule(
        &["layers.{l}.self_attn.q_norm.bias"],
        &["blk.{l}.attn_q_norm.bias"],
        "h (two pair) -> h (pair two)",
    ),
    rule(
        &["layers.{l}.self_attn.k_norm.weight"],
        &["blk.{l}.attn_k_norm.weight"],
        "g (two pair) -> g (pair two)",
    ),
    rule(
        &["layers.{l}.self_attn.k_norm.bias"],
        &["blk.{l}.attn_k_norm.bias"],
        "g (two pair) -> g (pair two)",
    ),
];
