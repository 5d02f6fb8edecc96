//! Baichuan and Baichuan 2: a llama whose queries, keys and values are kept in one tensor. XVERSE: one with its own name.
//! Specification: `BaichuanModel`, `XverseModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE, llama};
use crate::arch::keys::{Fixed, Key, is, size};
use crate::arch::rule::{Rule, rule};

pub const BAICHUAN: Arch = Arch {
    classes: &["BaichuanForCausalLM", "BaiChuanForCausalLM"],
    gguf: "baichuan",
    base: Some(&DECODER),
    keys: KEYS,
    axes: llama::AXES,
    rules: RULES,
    ..NONE
};

pub const XVERSE: Arch = Arch {
    classes: &["XverseForCausalLM"],
    gguf: "xverse",
    base: Some(&DECODER),
    keys: KEYS,
    axes: llama::AXES,
    rules: llama::RULES,
    ..NONE
};

const KEYS: &[Key] =
    &[is("tensor_data_layout", Fixed::Text("Meta AI original pth")), size("rope.dimension_count", "d")];

const RULES: &[Rule] = &[rule(
    &["layers.{l}.self_attn.W_pack.weight"],
    &["blk.{l}.attn_q.weight", "blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"],
    "[(h two pair)|(g two pair)|(g d)] n -> (h pair two) n ; (g pair two) n ; (g d) n",
)];
