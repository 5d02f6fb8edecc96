//! Laguna: experts by corrected sigmoids and one that all tokens go to; a gate of each head, or of each element, on what it
//! attends to; layers within a window may have heads of their own number and rotate otherwise.
//! Specification: `LagunaModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::experts::{self, DENSE, SPARSE};
use super::qwen::NORMED;
use super::{Arch, NONE, partial};
use crate::arch::keys::{Fixed, Key, is, make, number, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Rule, rule};
use ggraft_formats::{Array, Result, Value};

pub const LAGUNA: Arch = Arch {
    classes: &["LagunaForCausalLM"],
    gguf: "laguna",
    base: Some(&DECODER),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[NORMED, &experts::dense(DENSE), &experts::routed(SPARSE)],
    ..NONE
};

const KEYS: &[Key] = &[
    size("vocab_size", "vocab"),
    make("attention.head_count", |params| {
        let all = (0..params.count("l", 0)?).map(|layer| params.count("h", layer).map(|n| n as i32));
        Ok(Some(Value::Array(Array::I32(all.collect::<Result<_>>()?))))
    }),
    make("attention.sliding_window", |params| {
        let window = params.config.whole_at("sliding_window", 0)?.unwrap_or(0);
        Ok((window > 0).then_some(Value::U32(window)))
    }),
    size("expert_feed_forward_length", "eff"),
    size("expert_shared_feed_forward_length", "shared"),
    is("expert_weights_norm", Fixed::Flag(true)),
    number("expert_weights_scale", &["moe_routed_scaling_factor"]).must(),
    is("expert_gating_func", Fixed::Count(2)),
    size("leading_dense_block_count", "dense"),
    make("rope.dimension_count", partial::of_full),
    make("rope.dimension_count_swa", partial::of_sliding),
];

const AXES: &[Axis] = &[
    axis("h", Size::Or(&["num_attention_heads_per_layer"], &Size::Of(&["num_attention_heads"]))),
    axis("gate", Size::Make(gate)),
    axis("shared", Size::Of(&["shared_expert_intermediate_size"])),
];

/// The width of a layer's gate: an element a head, or one of each element of it.
fn gate(params: &Params<'_>, layer: u32) -> Result<u64> {
    let (heads, head) = (params.size("h", layer)?, params.size("d", layer)?);
    let config = params.config;
    let listed = config.texts("gating_types")?.filter(|all| !all.is_empty());
    let own = listed.as_ref().and_then(|all| all.get(layer as usize)).copied();
    let scalar = config.get("gating").and_then(serde_json::Value::as_str);
    let kind = own.or(scalar).unwrap_or("per-head").replace('_', "-");
    match kind.as_str() {
        "per-head" => Ok(heads),
        // What transformers reads is the one word: where it says another, the model is another there.
        "per-element" if scalar.is_some_and(|word| word.replace('_', "-") == kind) => Ok(heads * head),
        "per-element" => Err(config.wrong("gating", "\"per-element\", as 'gating_types' has it")),
        other => Err(config.wrong("gating", "per-head or per-element").found(other)),
    }
}

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.g_proj.weight"], &["blk.{l}.attn_gate.weight"], "gate n"),
    rule(
        &["layers.{l}.mlp.experts.e_score_correction_bias", "layers.{l}.mlp.gate.e_score_correction_bias"],
        &["blk.{l}.exp_probs_b.bias"],
        "e",
    )
    .may()
    .layers(SPARSE),
    rule(&["layers.{l}.mlp.shared_expert.gate_proj.weight"], &["blk.{l}.ffn_gate_shexp.weight"], "shared n")
        .layers(SPARSE),
    rule(&["layers.{l}.mlp.shared_expert.up_proj.weight"], &["blk.{l}.ffn_up_shexp.weight"], "shared n")
        .layers(SPARSE),
    rule(&["layers.{l}.mlp.shared_expert.down_proj.weight"], &["blk.{l}.ffn_down_shexp.weight"], "n shared")
        .layers(SPARSE),
];
