//! Granite 3: llama with four multipliers; with experts, gate and up of which are kept in one; with an expert for all
//! tokens beside them. Heads are always `hidden_size / num_attention_heads` wide.
//! Specification: `GraniteModel`, `GraniteMoeModel` of llama.cpp's converter.

use super::llama::LLAMA;
use super::{Arch, NONE, windows};
use crate::arch::keys::{Fixed, Key, count, make};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Rule, rule};
use ggraft_formats::{Array, Result, Value};

pub const GRANITE: Arch = Arch {
    classes: &["GraniteForCausalLM"],
    gguf: "granite",
    base: Some(&LLAMA),
    keys: KEYS,
    axes: &[axis("d", Size::Div("n", "h")).or("n", "a multiple of {h} heads")],
    without: &["attention.key_length", "attention.value_length"],
    ..NONE
};

/// Granite Speech, whose text model is a Granite 3.
pub const GRANITE_SPEECH: Arch = Arch {
    classes: &["GraniteSpeechForConditionalGeneration", "GraniteSpeechPlusForConditionalGeneration"],
    gguf: "granite",
    applies: Some(|config| Ok(config.text("model_type")? == Some("granite"))),
    base: Some(&GRANITE),
    ..NONE
};

pub const GRANITE_MOE: Arch = Arch {
    classes: &["GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"],
    gguf: "granitemoe",
    base: Some(&GRANITE),
    keys: &[SHARED_WIDTH],
    axes: MOE_AXES,
    rules: MOE,
    without: &["blk.{l}.ffn_gate.weight", "blk.{l}.ffn_up.weight", "blk.{l}.ffn_down.weight"],
    ..NONE
};

/// Granite whose layers attend within a window, but every fourth; each head has a sink.
pub const GRANITE_SWA: Arch = Arch {
    classes: &["GraniteSWAForCausalLM"],
    gguf: "granite_swa",
    base: Some(&GRANITE),
    keys: SWA,
    rules: &[rule(&["layers.{l}.self_attn.sinks"], &["blk.{l}.attn_sinks.weight"], "h").may()],
    ..NONE
};

/// The same with experts, whose gate and up stay in one.
pub const GRANITE_MOE_SWA: Arch = Arch {
    classes: &["GraniteMoeSWAForCausalLM"],
    gguf: "granite_swa",
    base: Some(&GRANITE_SWA),
    keys: &[SHARED_WIDTH],
    axes: MOE_AXES,
    rules: FUSED,
    without: &["blk.{l}.ffn_gate.weight", "blk.{l}.ffn_up.weight", "blk.{l}.ffn_down.weight"],
    ..NONE
};

const SWA: &[Key] = &[
    count("attention.sliding_window", &["sliding_window"]).or(Fixed::Count(128)),
    make("attention.sliding_window_pattern", |params| {
        let all = windows::layers(params, |layer| !layer.is_multiple_of(4))?;
        Ok(Some(Value::Array(Array::Bool(all))))
    }),
    make("rope.pattern", |params| {
        let all = params.config.get("no_rope_layers").and_then(|v| v.as_array());
        let all: Vec<bool> = all.into_iter().flatten().map(|v| v.as_u64() != Some(0)).collect();
        Ok((!all.is_empty()).then_some(Value::Array(Array::Bool(all))))
    }),
];

const KEYS: &[Key] = &[
    make("attention.scale", |params| multiplier(params, "attention_multiplier")),
    make("embedding_scale", |params| multiplier(params, "embedding_multiplier")),
    make("residual_scale", |params| multiplier(params, "residual_multiplier")),
    make("logit_scale", |params| multiplier(params, "logits_scaling")),
];

/// A multiplier; zero is as good as absent.
fn multiplier(params: &Params<'_>, key: &str) -> Result<Option<Value>> {
    Ok(params.config.optional_number(key)?.filter(|x| *x != 0.0).map(|x| Value::F32(x as f32)))
}

pub const SHARED_WIDTH: Key = make("expert_shared_feed_forward_length", |params| {
    let shared = shared_width(params)?;
    Ok((shared > 0).then_some(Value::U32(shared as u32)))
});

const MOE_AXES: &[Axis] = &[axis("shared", Size::Make(|params, _| shared_width(params)))];

/// How wide the expert for all tokens is; 0 if there is none.
pub fn shared_width(params: &Params<'_>) -> Result<u64> {
    Ok(params.config.whole_at("shared_intermediate_size", 0)?.unwrap_or(0).into())
}

/// The layers that have an expert for all tokens: every one or none.
const SHARED: Layers = Layers::When(|params, _| Ok(shared_width(params)? > 0));

const MOE: &[Rule] = &[
    rule(&["layers.{l}.block_sparse_moe.router.layer.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n"),
    rule(
        &["layers.{l}.block_sparse_moe.input_linear.weight"],
        &["blk.{l}.ffn_{gate|up}_exps.weight"],
        "e [ff|ff] n -> e ff n ; e ff n",
    ),
    rule(&["layers.{l}.block_sparse_moe.output_linear.weight"], &["blk.{l}.ffn_down_exps.weight"], "e n ff"),
    rule(
        &["layers.{l}.shared_mlp.input_linear.weight"],
        &["blk.{l}.ffn_{gate|up}_shexp.weight"],
        "[shared|shared] n -> shared n ; shared n",
    )
    .layers(SHARED),
    rule(&["layers.{l}.shared_mlp.output_linear.weight"], &["blk.{l}.ffn_down_shexp.weight"], "n shared")
        .layers(SHARED),
];

const FUSED: &[Rule] = &[
    rule(
        &["layers.{l}.block_sparse_moe.router.weight", "layers.{l}.block_sparse_moe.router.layer.weight"],
        &["blk.{l}.ffn_gate_inp.weight"],
        "e n",
    ),
    rule(
        &[
            "layers.{l}.block_sparse_moe.experts.gate_up_proj",
            "layers.{l}.block_sparse_moe.input_linear.weight",
        ],
        &["blk.{l}.ffn_gate_up_exps.weight"],
        "e (two ff) n",
    ),
    rule(
        &[
            "layers.{l}.block_sparse_moe.experts.down_proj",
            "layers.{l}.block_sparse_moe.output_linear.weight",
        ],
        &["blk.{l}.ffn_down_exps.weight"],
        "e n ff",
    ),
    rule(&["layers.{l}.shared_mlp.input_linear.weight"], &["blk.{l}.ffn_up_shexp.weight"], "(two shared) n")
        .layers(SHARED),
    rule(&["layers.{l}.shared_mlp.output_linear.weight"], &["blk.{l}.ffn_down_shexp.weight"], "n shared")
        .layers(SHARED),
];
