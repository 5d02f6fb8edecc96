//! QWen, the first: queries, keys and values in one matrix, and GPT-2's names. Its epsilon is that of an RMS norm, whatever the
//! config calls it, and `intermediate_size` counts the gate too.
//! Specification: `QwenModel` of llama.cpp's converter, which writes that epsilon as another norm's; `models/qwen.cpp`
//! of llama.cpp, which asks for an RMS norm's.

use super::{Arch, DECODER, NONE};
use crate::arch::keys::{Key, positive};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};

pub const QWEN: Arch = Arch {
    classes: &["QWenLMHeadModel"],
    gguf: "qwen",
    base: Some(&DECODER),
    prefixes: &["transformer."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    without: &["blk.{l}.attn_q.weight", "blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"],
    ..NONE
};

const KEYS: &[Key] =
    &[positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps", "layer_norm_epsilon"]).must()];

const AXES: &[Axis] = &[
    axis("three", Size::Is(3)),
    axis("two", Size::Is(2)),
    axis("whole", Size::Of(&["intermediate_size"])),
    axis("ff", Size::Div("whole", "two")).or("whole", "an even number"),
];

const RULES: &[Rule] = &[
    rule(&["wte.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["ln_f.weight"], &["output_norm.weight"], "n"),
    rule(&["h.{l}.ln_1.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["h.{l}.attn.c_attn.weight"], &["blk.{l}.attn_qkv.weight"], "(three h d) n").bias(Need::Must),
    rule(&["h.{l}.attn.c_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["h.{l}.ln_2.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["h.{l}.mlp.w1.weight"], &["blk.{l}.ffn_up.weight"], "ff n"),
    rule(&["h.{l}.mlp.w2.weight"], &["blk.{l}.ffn_gate.weight"], "ff n"),
    rule(&["h.{l}.mlp.c_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
];
