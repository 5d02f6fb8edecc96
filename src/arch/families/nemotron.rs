//! Nemotron 3 and 4, Minitron: layer norms that multiply with 1 + w, so a GGUF holds w + 1; no gate; half of each head
//! rotates.
//! Specification: `NemotronModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE, partial};
use crate::arch::keys::{Key, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rope::Rope;
use crate::arch::rule::{Rule, rule};
use crate::arch::values::Value;
use ggraft_formats::{Result, Value as Told};

pub const NEMOTRON: Arch = Arch {
    classes: &["NemotronForCausalLM"],
    gguf: "nemotron",
    base: Some(&DECODER),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    without: &["blk.{l}.ffn_gate.weight"],
    ..NONE
};

const KEYS: &[Key] = &[
    size("vocab_size", "vocab"),
    positive(
        "attention.layer_norm_epsilon",
        &["layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"],
    )
    .must(),
    size("rope.dimension_count", "rotating"),
    make("rope.scaling.type", |params| {
        Ok(Some(Told::from(if factor(params)?.is_some() { "linear" } else { "none" })))
    }),
    make("rope.scaling.factor", |params| Ok(factor(params)?.map(|factor| Told::F32(factor as f32)))),
];

/// By how much the context is stretched.
fn factor(params: &Params<'_>) -> Result<Option<f64>> {
    match params.config.optional_number("factor")?.filter(|x| *x != 0.0) {
        Some(factor) => Ok(Some(factor)),
        None => Rope::read(params.config)?.number("factor"),
    }
}

const AXES: &[Axis] = &[axis("rotating", Size::Make(partial::of_width))];
const ONE_MORE: Value = Value::Plus(1.0);

const RULES: &[Rule] = &[
    rule(&["norm.weight"], &["output_norm.weight"], "n").value(ONE_MORE),
    rule(&["norm.bias"], &["output_norm.bias"], "n"),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").value(ONE_MORE),
    rule(&["layers.{l}.input_layernorm.bias"], &["blk.{l}.attn_norm.bias"], "n"),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n").value(ONE_MORE),
    rule(&["layers.{l}.post_attention_layernorm.bias"], &["blk.{l}.ffn_norm.bias"], "n"),
];
