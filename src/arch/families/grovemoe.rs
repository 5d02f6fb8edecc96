//! GroveMoE: a Qwen 3 with experts, each two of which share a small one.
//! Specification: `GroveMoeModel` of llama.cpp's converter; `modeling_grove_moe.py` of the published model.

use super::qwen_moe::QWEN3_MOE;
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Rule, rule};

pub const GROVE_MOE: Arch = Arch {
    classes: &["GroveMoeForCausalLM", "modeling_grove_moe.GroveMoeForCausalLM"],
    gguf: "grovemoe",
    base: Some(&QWEN3_MOE),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: &["*.expert_bias"],
    ..NONE
};

const KEYS: &[Key] = &[
    size("expert_chunk_feed_forward_length", "cff"),
    is("experts_per_group", Fixed::Count(2)),
    is("expert_group_scale", Fixed::Number(0.05)),
];

const AXES: &[Axis] = &[
    axis("c", Size::Div("e", "two")).or("e", "an even number of experts"),
    axis("cff", Size::Or(&["head_dim"], &Size::Is(128))),
];

const RULES: &[Rule] = &[
    rule(
        &["layers.{l}.mlp.chunk_experts.{c}.gate_proj.weight"],
        &["blk.{l}.ffn_gate_chexps.weight"],
        "cff n -> c cff n",
    ),
    rule(
        &["layers.{l}.mlp.chunk_experts.{c}.up_proj.weight"],
        &["blk.{l}.ffn_up_chexps.weight"],
        "cff n -> c cff n",
    ),
    rule(
        &["layers.{l}.mlp.chunk_experts.{c}.down_proj.weight"],
        &["blk.{l}.ffn_down_chexps.weight"],
        "n cff -> c n cff",
    ),
];
