//! Qwen 1: queries, keys and values in one, with a bias; the width of the feed-forward is told doubled. Its RMS norms have
//! the epsilon that the config calls LayerNorm's: the runtime reads it as that of RMS norms, where the converter does not write
//! it.
//! Specification: `QwenModel` of llama.cpp's converter; `models/qwen.cpp` of llama.cpp v0.5.0.

use super::decoder::DECODER;
use super::{Arch, NONE};
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
    ignored: &["transformer.visual.*"],
    ..NONE
};

const KEYS: &[Key] =
    &[positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps", "layer_norm_epsilon"]).must()];

const AXES: &[Axis] = &[
    axis("both", Size::Of(&["intermediate_size"])),
    axis("ff", Size::Div("both", "two")).or("both", "an even number"),
    axis("d", Size::Or(&["kv_channels"], &Size::Div("n", "h"))),
];

const RULES: &[Rule] = &[
    rule(&["wte.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["ln_f.weight"], &["output_norm.weight"], "n"),
    rule(&["h.{l}.ln_1.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["h.{l}.attn.c_attn.weight"], &["blk.{l}.attn_qkv.weight"], "(three h d) n").bias(Need::Must),
    rule(&["h.{l}.attn.c_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)")
        .bias(Need::Unless("no_bias")),
    rule(&["h.{l}.ln_2.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["h.{l}.mlp.w1.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(Need::Unless("no_bias")),
    rule(&["h.{l}.mlp.w2.weight"], &["blk.{l}.ffn_gate.weight"], "ff n").bias(Need::Unless("no_bias")),
    rule(&["h.{l}.mlp.c_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(Need::Unless("no_bias")),
];
