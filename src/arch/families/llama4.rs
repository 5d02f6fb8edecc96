//! Llama 4: experts in every layer or every other, one for all tokens beside them, transposed as trainers keep them.
//! Specification: `Llama4Model` of llama.cpp's converter.

use super::decoder::{DECODER, ROPE_FREQS};
use super::qwen_vl::SEEING;
use super::{Arch, NONE, llama};
use crate::arch::keys::{Key, count, make, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Rule, rule};
use ggraft_formats::{Result, Value};

pub const LLAMA4: Arch = Arch {
    classes: &["Llama4ForCausalLM", "Llama4ForConditionalGeneration"],
    gguf: "llama4",
    base: Some(&DECODER),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: SEEING,
    made: &[ROPE_FREQS],
    ..NONE
};

const KEYS: &[Key] = &[
    count("feed_forward_length", &["intermediate_size_mlp"]).must(),
    size("vocab_size", "vocab"),
    make("rope.dimension_count", llama::whole_heads),
    count("interleave_moe_layer_step", &["interleave_moe_layer_step"]).must(),
    size("expert_feed_forward_length", "eff"),
    make("attention.sliding_window", |params| {
        let kinds = params.config.texts("layer_types")?;
        let whole = kinds.is_some_and(|kinds| kinds.iter().all(|kind| *kind == "full_attention"));
        Ok(whole.then_some(Value::U32(0)))
    }),
];

const AXES: &[Axis] =
    &[axis("ff", Size::Of(&["intermediate_size_mlp"])), axis("eff", Size::Of(&["intermediate_size"]))];

/// The layers with experts: as the config lists them, else every so many.
fn is_sparse(params: &Params<'_>, layer: u32) -> Result<bool> {
    if let Some(listed) = params.config.get("moe_layers").and_then(|v| v.as_array()) {
        return Ok(listed.iter().any(|n| n.as_u64() == Some(layer.into())));
    }
    let step = params.config.optional_count("interleave_moe_layer_step")?.unwrap_or(1);
    Ok((layer + 1).is_multiple_of(step))
}

const SPARSE: Layers = Layers::When(is_sparse);
const DENSE: Layers = Layers::When(|params, layer| is_sparse(params, layer).map(|sparse| !sparse));

const RULES: &[Rule] = &[
    rule(&["layers.{l}.feed_forward.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n").layers(DENSE),
    rule(&["layers.{l}.feed_forward.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n").layers(DENSE),
    rule(&["layers.{l}.feed_forward.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff").layers(DENSE),
    rule(&["layers.{l}.feed_forward.router.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n").layers(SPARSE),
    rule(
        &["layers.{l}.feed_forward.experts.gate_up_proj"],
        &["blk.{l}.ffn_{gate|up}_exps.weight"],
        "e n [eff|eff] -> e eff n ; e eff n",
    )
    .layers(SPARSE),
    rule(
        &["layers.{l}.feed_forward.experts.down_proj"],
        &["blk.{l}.ffn_down_exps.weight"],
        "e eff n -> e n eff",
    )
    .layers(SPARSE),
    rule(
        &["layers.{l}.feed_forward.shared_expert.gate_proj.weight"],
        &["blk.{l}.ffn_gate_shexp.weight"],
        "eff n",
    )
    .layers(SPARSE),
    rule(
        &["layers.{l}.feed_forward.shared_expert.up_proj.weight"],
        &["blk.{l}.ffn_up_shexp.weight"],
        "eff n",
    )
    .layers(SPARSE),
    rule(
        &["layers.{l}.feed_forward.shared_expert.down_proj.weight"],
        &["blk.{l}.ffn_down_shexp.weight"],
        "n eff",
    )
    .layers(SPARSE),
];
