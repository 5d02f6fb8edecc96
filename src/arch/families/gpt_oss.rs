//! gpt-oss: experts whose gates and ups alternate row by row, with biases; a sink for each head; every other layer
//! attends within a window. Experts are published in blocks of MXFP4, which `unpack` takes over as they are.
//! Specification: `GptOssModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::keys::{Key, count};
use crate::arch::rule::{Need, Rule, rule};

pub const GPT_OSS: Arch = Arch {
    classes: &["GptOssForCausalLM"],
    gguf: "gpt-oss",
    base: Some(&DECODER),
    keys: KEYS,
    rules: RULES,
    without: &[
        "blk.{l}.ffn_norm.weight",
        "blk.{l}.ffn_gate.weight",
        "blk.{l}.ffn_up.weight",
        "blk.{l}.ffn_down.weight",
    ],
    ..NONE
};

const KEYS: &[Key] = &[
    count("attention.sliding_window", &["sliding_window"]).must(),
    count("expert_feed_forward_length", &["intermediate_size"]).must(),
];

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.sinks"], &["blk.{l}.attn_sinks.weight"], "h"),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n"),
    rule(&["layers.{l}.mlp.router.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n").bias(Need::Must),
    rule(
        &["layers.{l}.mlp.experts.gate_up_proj"],
        &["blk.{l}.ffn_{gate|up}_exps.weight"],
        "e n (ff [1|1]) -> e ff n ; e ff n",
    ),
    rule(&["layers.{l}.mlp.experts.down_proj"], &["blk.{l}.ffn_down_exps.weight"], "e ff n -> e n ff"),
    rule(&["layers.{l}.mlp.experts.gate_proj.mxfp4"], &["blk.{l}.ffn_gate_exps.weight"], "e ff n"),
    rule(&["layers.{l}.mlp.experts.up_proj.mxfp4"], &["blk.{l}.ffn_up_exps.weight"], "e ff n"),
    rule(&["layers.{l}.mlp.experts.down_proj.mxfp4"], &["blk.{l}.ffn_down_exps.weight"], "e n ff"),
    rule(
        &["layers.{l}.mlp.experts.gate_up_proj_bias"],
        &["blk.{l}.ffn_{gate|up}_exps.bias"],
        "e (ff [1|1]) -> e ff ; e ff",
    ),
    rule(&["layers.{l}.mlp.experts.down_proj_bias"], &["blk.{l}.ffn_down_exps.bias"], "e n"),
];
