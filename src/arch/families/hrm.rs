//! HRM-Text: two stacks of layers, a low and a high one, which run in cycles over the same tokens. A GGUF holds the low stack's
//! layers before the high one's, and counts a block for each time that one runs.
//! Specification: `HrmTextModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, flag, make, number, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Rule, rule};
use ggraft_formats::{Result, Value};

pub const HRM_TEXT: Arch = Arch {
    classes: &["HrmTextForCausalLM"],
    gguf: "hrm_text",
    base: Some(&DECODER),
    prefixes: &["model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    published: &[
        ("model.H_module.layers.{l}.", "model.layers.{high}."),
        ("model.L_module.layers.{l}.", "model.layers.{l}."),
    ],
    without: &["output_norm.weight", "blk.{l}.attn_norm.weight", "blk.{l}.ffn_norm.weight"],
    ..NONE
};

const KEYS: &[Key] = &[
    make("block_count", |params| {
        let cycles = |key| params.config.count(key).map(u64::from);
        let all = params
            .size("stack", 0)?
            .saturating_mul(cycles("H_cycles")?.saturating_mul(cycles("L_cycles")? + 1));
        let counted =
            u32::try_from(all).map_err(|_| params.config.wrong("H_cycles", "fewer cycles").found(all))?;
        Ok(Some(Value::U32(counted)))
    }),
    size("rope.dimension_count", "d"),
    number("embedding_scale", &["embedding_scale"]).must(),
    size("hrm.layers_per_stack", "stack"),
    size("hrm.h_cycles", "high_cycles"),
    size("hrm.l_cycles", "low_cycles"),
    flag("hrm.prefix_lm", &["prefix_lm"]).or(Fixed::Flag(false)),
];

const AXES: &[Axis] = &[
    axis("stack", Size::Of(&["num_layers_per_stack", "num_hidden_layers"])),
    axis("high_cycles", Size::Of(&["H_cycles"])),
    axis("low_cycles", Size::Of(&["L_cycles"])),
    axis("l", Size::Mul("two", "stack")),
    axis("high", Size::Make(high)),
];

/// Where a layer of the high stack lies.
fn high(params: &Params<'_>, layer: u32) -> Result<u64> {
    Ok(params.size("stack", 0)?.saturating_add(layer.into()))
}

const RULES: &[Rule] = &[
    rule(&["z_L_init"], &["hrm.z_l_init"], "n"),
    rule(
        &["layers.{l}.attn.gqkv_proj.weight"],
        &["blk.{l}.attn_{gate|q|k|v}.weight"],
        "[(h d)|(h d)|(h d)|(h d)] n -> (h d) n ; (h d) n ; (h d) n ; (h d) n",
    ),
    rule(&["layers.{l}.attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(
        &["layers.{l}.mlp.gate_up_proj.weight"],
        &["blk.{l}.ffn_{gate|up}.weight"],
        "[ff|ff] n -> ff n ; ff n",
    ),
    rule(&["layers.{l}.mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
];
