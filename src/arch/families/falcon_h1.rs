//! Falcon H1: every layer attends and remembers in a state of Mamba 2 side by side. The multipliers of the config become part
//! of the matrices.
//! Specification: `FalconH1Model` of llama.cpp's converter.

use super::decoder::NAMES;
use super::told::{Keys, Told, some};
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rope::Rope;
use crate::arch::rule::{Need, Rule, rule};
use crate::arch::scaled::{Factor, Times, all};
use crate::arch::values::Value;
use ggraft_formats::{Result, Value as Said};
use serde_json::json;

pub const FALCON_H1: Arch = Arch {
    classes: &["FalconH1ForCausalLM"],
    regains: |model, layers| {
        let heads = Told::of(model, layers).json("ssm.time_step_rank");
        [without_multipliers(), some([("mamba_n_heads", heads)])].concat()
    },
    gguf: "falcon-h1",
    base: Some(&NAMES),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    without: &["blk.{l}.ffn_norm.weight"],
    ..NONE
};

const KEYS: &[Key] = &[
    count("context_length", &["max_position_embeddings"]).or(Fixed::Count(0)),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("attention.head_count", "h"),
    size("block_count", "l"),
    size("ssm.conv_kernel", "conv"),
    size("ssm.inner_size", "inner"),
    size("ssm.state_size", "state"),
    size("ssm.time_step_rank", "heads"),
    size("ssm.group_count", "groups"),
    positive("attention.layer_norm_rms_epsilon", &["layer_norm_epsilon", "rms_norm_eps"])
        .or(Fixed::Number(1e-5)),
    size("vocab_size", "vocab"),
    size("attention.head_count_kv", "g"),
    size("attention.key_length", "d"),
    size("attention.value_length", "d"),
    make("rope.freq_base", |params| {
        let theta = Rope::read(params.config)?.theta()?;
        Ok(theta.map(|theta| Said::F32(theta as f32)))
    }),
];

const AXES: &[Axis] = &[
    axis("conv", Size::Or(&["mamba_d_conv"], &Size::Is(4))),
    axis("inner", Size::Of(&["mamba_d_ssm"])),
    axis("state", Size::Or(&["mamba_d_state"], &Size::Is(128))),
    axis("head", Size::Or(&["mamba_d_head"], &Size::Is(64))),
    axis("heads", Size::Div("inner", "head")).or("inner", "a multiple of the size of a head"),
    axis("groups", Size::Or(&["mamba_n_groups"], &Size::Is(1))),
    axis("group", Size::Div("inner", "groups")).or("inner", "a multiple of {groups} groups"),
];

/// A GGUF has its multipliers in its matrices: the config says one.
fn without_multipliers() -> Keys {
    const SINGLE: [&str; 7] = [
        "embedding_multiplier",
        "lm_head_multiplier",
        "attention_in_multiplier",
        "attention_out_multiplier",
        "key_multiplier",
        "ssm_in_multiplier",
        "ssm_out_multiplier",
    ];
    let lists = [("mlp_multipliers", json!(vec![1.0; 2])), ("ssm_multipliers", json!(vec![1.0; 5]))];
    SINGLE.map(|key| (key, json!(1.0))).into_iter().chain(lists).collect()
}

/// A multiplier of the config; a list's by its place.
fn multiplier(params: &Params<'_>, key: &str, at: Option<usize>) -> Result<f64> {
    let Some(at) = at else { return params.config.number(key) };
    let told = params.config.get(key).and_then(|v| v.as_array()?.get(at)?.as_f64());
    told.ok_or_else(|| params.config.missing(key, "a list of numbers"))
}

const fn times(name: &'static str, factors: fn(&Params<'_>, u32) -> Result<Vec<Factor>>) -> Times {
    Times { name, factors }
}

fn one(params: &Params<'_>, key: &str) -> Result<Vec<Factor>> {
    Ok(vec![all(multiplier(params, key, None)?)])
}

const EMBEDDINGS: Times = times("w * embedding_multiplier", |params, _| one(params, "embedding_multiplier"));
const LOGITS: Times = times("w * lm_head_multiplier", |params, _| one(params, "lm_head_multiplier"));
const INTO: Times = times("w * attention_in_multiplier", |params, _| one(params, "attention_in_multiplier"));
const OUT: Times = times("w * attention_out_multiplier", |params, _| one(params, "attention_out_multiplier"));
const OUT_OF_STATE: Times = times("w * ssm_out_multiplier", |params, _| one(params, "ssm_out_multiplier"));
const KEY: Times = times("w * key_multiplier * attention_in_multiplier", |params, _| {
    Ok(vec![
        all(multiplier(params, "key_multiplier", None)?),
        all(multiplier(params, "attention_in_multiplier", None)?),
    ])
});
const GATE: Times = times("w * mlp_multipliers[0]", |params, _| {
    Ok(vec![all(multiplier(params, "mlp_multipliers", Some(0))?)])
});
const DOWN: Times = times("w * mlp_multipliers[1]", |params, _| {
    Ok(vec![all(multiplier(params, "mlp_multipliers", Some(1))?)])
});

/// One for all rows, then one for each of the five parts: the gate, the state's input, what decides what is written and
/// what is read, and the steps.
const INTO_STATE: Times = times("w * ssm_in_multiplier * ssm_multipliers", |params, _| {
    let mut factors = one(params, "ssm_in_multiplier")?;
    let (inner, heads) = (params.size("inner", 0)?, params.size("heads", 0)?);
    let choice = params.size("groups", 0)?.saturating_mul(params.size("state", 0)?);
    let mut first = 0u64;
    for (at, rows) in [inner, inner, choice, choice, heads].into_iter().enumerate() {
        let by = multiplier(params, "ssm_multipliers", Some(at))? as f32;
        factors.push(Factor { by, rows: first..first.saturating_add(rows) });
        first = first.saturating_add(rows);
    }
    Ok(factors)
});

const RULES: &[Rule] = &[
    rule(&["embed_tokens.weight"], &["token_embd.weight"], "vocab n").value(Value::Times(&EMBEDDINGS)),
    rule(&["final_layernorm.weight"], &["output_norm.weight"], "n"),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n")
        .need(Need::Unless("tie_word_embeddings"))
        .value(Value::Times(&LOGITS)),
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n")
        .bias(Need::If("attention_bias"))
        .value(Value::Times(&INTO)),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n")
        .bias(Need::If("attention_bias"))
        .value(Value::Times(&KEY)),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n")
        .bias(Need::If("attention_bias"))
        .value(Value::Times(&INTO)),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)")
        .bias(Need::If("attention_bias"))
        .value(Value::Times(&OUT)),
    rule(&["layers.{l}.pre_ff_layernorm.weight"], &["blk.{l}.ffn_norm"], "n"),
    rule(&["layers.{l}.feed_forward.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n")
        .bias(Need::If("mlp_bias"))
        .value(Value::Times(&GATE)),
    rule(&["layers.{l}.feed_forward.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n")
        .bias(Need::If("mlp_bias")),
    rule(&["layers.{l}.feed_forward.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff")
        .bias(Need::If("mlp_bias"))
        .value(Value::Times(&DOWN)),
    rule(
        &["layers.{l}.mamba.in_proj.weight"],
        &["blk.{l}.ssm_in.weight"],
        "[(two inner)|(two groups state)|heads] n",
    )
    .value(Value::Times(&INTO_STATE)),
    rule(
        &["layers.{l}.mamba.conv1d.weight"],
        &["blk.{l}.ssm_conv1d.weight"],
        "[inner|(two groups state)] 1 conv -> [inner|(two groups state)] conv",
    )
    .bias(Need::If("mamba_conv_bias")),
    rule(&["layers.{l}.mamba.dt_bias"], &["blk.{l}.ssm_dt.bias"], "heads"),
    rule(&["layers.{l}.mamba.A_log"], &["blk.{l}.ssm_a"], "heads -> heads 1").value(Value::NegExp),
    rule(&["layers.{l}.mamba.D"], &["blk.{l}.ssm_d"], "heads -> heads 1"),
    rule(&["layers.{l}.mamba.norm.weight"], &["blk.{l}.ssm_norm.weight"], "(groups group) -> groups group")
        .need(Need::If("mamba_rms_norm")),
    rule(&["layers.{l}.mamba.out_proj.weight"], &["blk.{l}.ssm_out.weight"], "n inner")
        .value(Value::Times(&OUT_OF_STATE)),
];
