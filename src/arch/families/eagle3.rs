//! EAGLE3 drafts: one layer of llama's, which sees beside the last token what three layers of its target made of it. Most
//! know fewer tokens than their target; a table says which.
//! Specification: `LlamaModel` of llama.cpp's converter, where it says eagle3.

use super::llama::LLAMA;
use super::{Arch, Drafts, NONE};
use crate::arch::config::Config;
use crate::arch::keys::{Fixed, Key, flag, make};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use crate::arch::values::Value as Change;
use ggraft_formats::{Array, Result, Value};

pub const EAGLE3: Arch = Arch {
    classes: &[
        "LlamaForCausalLMEagle3",
        "Eagle3LlamaForCausalLM",
        "Eagle3Speculator",
        "Eagle3DraftModel",
        "LlamaForCausalLM",
    ],
    gguf: "eagle3",
    applies: Some(is_draft),
    base: Some(&LLAMA),
    prefixes: &["model.", ""],
    early: EARLY,
    axes: AXES,
    rules: RULES,
    renamed: &[("midlayer.", "model.layers.0."), ("layers.0.", "model.layers.0.")],
    ignored: &["t2d"],
    drafts: Drafts::AsLlama,
    ..NONE
};

/// Some are told by nothing but this.
fn is_draft(config: &Config) -> Result<bool> {
    Ok(config.get("draft_vocab_size").is_some() && config.count("num_hidden_layers")? == 1)
}

const EARLY: &[Key] = &[
    make("target_layers", |params| Ok(Some(Value::Array(Array::I32(layers(params)?))))),
    make("target_hidden_size", |params| {
        let own = params.config.optional_count("target_hidden_size")?;
        let target = || params.target().unwrap_or(params.config).count("hidden_size");
        own.map_or_else(target, Ok).map(|n| Some(Value::U32(n)))
    }),
    flag("norm_before_residual", &["norm_before_residual"]).or(Fixed::Flag(false)),
    flag("norm_before_fc", &["norm_before_fc"]).or(Fixed::Flag(false)),
];

/// The layers of the target that it sees: an early one, the middle one, a late one, unless it says which.
fn layers(params: &Params<'_>) -> Result<Vec<i32>> {
    let told = params.config.wholes("eagle_aux_hidden_state_layer_ids")?.unwrap_or_default();
    if !told.is_empty() {
        return Ok(told);
    }
    let n = params.target().unwrap_or(params.config).count("num_hidden_layers")? as i32;
    Ok(vec![2, n / 2, n - 3])
}

const AXES: &[Axis] = &[
    axis("both", Size::Is(2)),
    axis("seen", Size::Make(|params, _| seen(params))),
    axis("fewer", Size::Of(&["draft_vocab_size"])),
];

/// How much of its target a draft sees: as much as the matrix takes that gathers it.
fn seen(params: &Params<'_>) -> Result<u64> {
    let held = params.shape("fc.weight").and_then(|shape| shape.last().copied());
    held.map_or_else(|| Ok(3 * params.size("n", 0)?), Ok)
}

const RULES: &[Rule] = &[
    rule(&["^embed_tokens.weight", "embed_tokens.weight"], &["token_embd.weight"], "vocab n").may(),
    rule(&["^norm.weight", "norm.weight"], &["output_norm.weight"], "n"),
    rule(&["^lm_head.weight"], &["output.weight"], "fewer n").may(),
    rule(&["^fc.weight"], &["fc.weight"], "n seen"),
    rule(&["^input_norm.weight"], &["enc.output_norm.weight"], "seen").need(Need::If("norm_before_fc")),
    rule(&["^d2t"], &["d2t"], "fewer").value(Change::Ids).may(),
    rule(&["layers.{l}.hidden_norm.weight"], &["blk.{l}.attn_norm_2.weight"], "n"),
    rule(
        &["layers.{l}.self_attn.q_proj.weight"],
        &["blk.{l}.attn_q.weight"],
        "(h two pair) (both n) -> (h pair two) (both n)",
    )
    .bias(Need::If("attention_bias")),
    rule(
        &["layers.{l}.self_attn.k_proj.weight"],
        &["blk.{l}.attn_k.weight"],
        "(g two pair) (both n) -> (g pair two) (both n)",
    )
    .bias(Need::If("attention_bias")),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) (both n)")
        .bias(Need::If("attention_bias")),
];
