//! PLaMo 2 and 3: norms before and after both halves of a layer, which multiply with numbers of their own plus w. In PLaMo 2
//! every other layer remembers in a state instead of attending; in PLaMo 3 most layers attend within a window.
//! Specification: `Plamo2Model`, `Plamo3Model` of llama.cpp's converter.

use super::{Arch, NONE};
use crate::arch::keys::{Absent, Fixed, From, Key, count, is, make, positive, size};
use crate::arch::params::{AXES as ALL, Axis, Params, Size, axis};
use crate::arch::rope::{self, Rope};
use crate::arch::rule::{Layers, Need, Rule, rule};
use crate::arch::values::Value;
use ggraft_formats::{Array, Result, Value as Told};

pub const PLAMO2: Arch = Arch {
    classes: &["Plamo2ForCausalLM", "PLaMo2ForCausalLM"],
    gguf: "plamo2",
    base: Some(&BOTH),
    keys: KEYS2,
    axes: AXES2,
    rules: RULES2,
    ..NONE
};

pub const PLAMO3: Arch = Arch {
    classes: &["Plamo3ForCausalLM", "PLaMo3ForCausalLM"],
    gguf: "plamo3",
    base: Some(&BOTH),
    keys: KEYS3,
    rules: RULES3,
    ..NONE
};

/// What both have in common.
const BOTH: Arch = Arch { base: Some(&ROOT), prefixes: &["model."], rules: RULES, ..NONE };

const ROOT: Arch = Arch { axes: ALL, ..NONE };

/// Whether a layer remembers in a state: all but one of so many.
fn remembers(params: &Params<'_>, layer: u32) -> Result<bool> {
    let config = params.config;
    if !config.optional_flag("mamba_enabled")?.unwrap_or(true) {
        return Ok(false);
    }
    let (step, layers) = (config.optional_count("mamba_step")?.unwrap_or(2), params.count("l", 0)?);
    Ok(if layers <= step / 2 { layer + 1 != layers } else { layer % step != step / 2 })
}

const STATE: Layers = Layers::When(remembers);
const FULL: Layers = Layers::When(|params, layer| remembers(params, layer).map(|remembers| !remembers));

/// The heads of each layer; none of those that do not attend.
fn heads(params: &Params<'_>, axis: &str) -> Result<Option<Told>> {
    let of = |layer: u32| Ok(if remembers(params, layer)? { 0 } else { params.count(axis, layer)? as i32 });
    let all: Result<Vec<i32>> = (0..params.count("l", 0)?).map(of).collect();
    Ok(Some(Told::Array(Array::I32(all?))))
}

const KEYS2: &[Key] = &[
    size("vocab_size", "vocab"),
    make("attention.head_count_kv", |params| heads(params, "g")),
    make("attention.head_count", |params| heads(params, "h")),
    count("context_length", &["max_position_embeddings"]).or(Fixed::Count(2048)),
    size("embedding_length", "n"),
    size("attention.key_length", "d"),
    size("attention.value_length", "d"),
    size("block_count", "l"),
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]).or(Fixed::Number(1e-6)),
    make("rope.freq_base", |params| {
        Ok(Some(Told::F32(Rope::read(params.config)?.theta()?.unwrap_or(10000.0) as f32)))
    }),
    size("ssm.state_size", "state"),
    size("ssm.conv_kernel", "conv"),
    size("ssm.time_step_rank", "heads"),
    size("ssm.inner_size", "inner"),
    is("ssm.group_count", Fixed::Count(0)),
    size("feed_forward_length", "ff"),
];

const AXES2: &[Axis] = &[
    axis("d", Size::Or(&["hidden_size_per_head"], &Size::Is(128))),
    axis("h", Size::Or(&["num_attention_heads"], &Size::Is(32))),
    axis("g", Size::Or(&["num_key_value_heads"], &Size::Is(4))),
    axis("state", Size::Or(&["mamba_d_state"], &Size::Is(64))),
    axis("conv", Size::Or(&["mamba_d_conv"], &Size::Is(4))),
    axis("heads", Size::Or(&["mamba_num_heads"], &Size::Is(64))),
    axis("inner", Size::Mul("heads", "d")),
    axis("rank", Size::Make(|params, layer| Ok((params.size("n", layer)? / 16).max(64)))),
];

const KEYS3: &[Key] = &[
    size("block_count", "l"),
    count("context_length", &["max_position_embeddings"]),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("attention.head_count", "h"),
    size("attention.head_count_kv", "g"),
    make("rope.scaling.type", |params| Ok(stretched(params)?.map(|_| Told::from("yarn")))),
    make("rope.scaling.factor", |params| Ok(stretched(params)?.map(|factor| Told::F32(factor as f32)))),
    make("rope.scaling.original_context_length", |params| {
        stretched(params)?.map(|_| params.config.count("initial_context_length").map(Told::U32)).transpose()
    }),
    make("rope.scaling.yarn_beta_fast", |params| Ok(stretched(params)?.map(|_| Told::F32(32.0)))),
    make("rope.scaling.yarn_beta_slow", |params| Ok(stretched(params)?.map(|_| Told::F32(1.0)))),
    Key { gguf: "rope", from: From::Rope(rope::PLAIN), absent: Absent::Omit },
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]),
    count("attention.key_length", &["head_dim"]),
    count("attention.value_length", &["head_dim"]),
    size("vocab_size", "vocab"),
    count("attention.sliding_window", &["window_size", "sliding_window"]),
    make("attention.sliding_window_pattern", |params| {
        let told = params.config.first(&["window_size", "sliding_window"]);
        told.map(|_| params.config.count("sliding_window_pattern").map(Told::U32)).transpose()
    }),
];

/// By how much the context was stretched, where the config tells it beside and not within the parameters of rotation.
fn stretched(params: &Params<'_>) -> Result<Option<f64>> {
    let told = Rope::read(params.config)?.kind()?.is_some();
    let factor = params.config.optional_number("rope_scaling_factor")?;
    Ok(factor.filter(|factor| *factor != 1.0 && !told))
}

const ONE: Value = Value::Plus(1.0);
/// 1/5, and 1/5 to the power of 1.5.
const AFTER_MIXER: Value = Value::Plus(0.2);
const AFTER_MLP: Value = Value::Plus(0.089_442_72);

const RULES: &[Rule] = &[
    rule(&["embed_tokens.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["norm.weight"], &["output_norm.weight"], "n").value(ONE),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n").need(Need::Unless("tie_word_embeddings")),
    rule(&["layers.layers.{l}.pre_mixer_norm.weight"], &["blk.{l}.attn_norm.weight"], "n").value(ONE),
    rule(&["layers.layers.{l}.post_mixer_norm.weight"], &["blk.{l}.post_attention_norm"], "n")
        .value(AFTER_MIXER),
    rule(&["layers.layers.{l}.pre_mlp_norm.weight"], &["blk.{l}.ffn_norm.weight"], "n").value(ONE),
    rule(&["layers.layers.{l}.post_mlp_norm.weight"], &["blk.{l}.post_ffw_norm"], "n").value(AFTER_MLP),
    rule(&["layers.layers.{l}.mlp.gate_up_proj.weight"], &["blk.{l}.ffn_up.weight"], "(two ff) n"),
    rule(&["layers.layers.{l}.mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
];

const RULES2: &[Rule] = &[
    rule(&["layers.layers.{l}.mixer.qkv_proj.weight"], &["blk.{l}.attn_qkv.weight"], "[(h d)|(g d)|(g d)] n")
        .layers(FULL),
    rule(&["layers.layers.{l}.mixer.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)").layers(FULL),
    rule(&["layers.layers.{l}.mixer.q_weight"], &["blk.{l}.attn_q_norm.weight"], "h d").layers(FULL),
    rule(&["layers.layers.{l}.mixer.k_weight"], &["blk.{l}.attn_k_norm.weight"], "g d").layers(FULL),
    rule(&["layers.layers.{l}.mixer.in_proj.weight"], &["blk.{l}.ssm_in.weight"], "(two inner) n")
        .layers(STATE),
    rule(
        &["layers.layers.{l}.mixer.conv1d.weight"],
        &["blk.{l}.ssm_conv1d.weight"],
        "inner 1 conv -> inner conv",
    )
    .layers(STATE),
    rule(
        &["layers.layers.{l}.mixer.bcdt_proj.weight"],
        &["blk.{l}.ssm_x.weight"],
        "[(two state)|rank] inner",
    )
    .layers(STATE),
    rule(&["layers.layers.{l}.mixer.dt_proj.weight"], &["blk.{l}.ssm_dt.weight"], "heads rank").layers(STATE),
    rule(&["layers.layers.{l}.mixer.dt_bias"], &["blk.{l}.ssm_dt.bias"], "heads").layers(STATE),
    rule(&["layers.layers.{l}.mixer.A_log"], &["blk.{l}.ssm_a"], "heads").value(Value::NegExp).layers(STATE),
    rule(&["layers.layers.{l}.mixer.D"], &["blk.{l}.ssm_d"], "heads").layers(STATE),
    rule(&["layers.layers.{l}.mixer.dt_norm_weight"], &["blk.{l}.ssm_dt_norm"], "rank").layers(STATE),
    rule(&["layers.layers.{l}.mixer.B_norm_weight"], &["blk.{l}.ssm_b_norm"], "state").layers(STATE),
    rule(&["layers.layers.{l}.mixer.C_norm_weight"], &["blk.{l}.ssm_c_norm"], "state").layers(STATE),
    rule(&["layers.layers.{l}.mixer.out_proj.weight"], &["blk.{l}.ssm_out.weight"], "n inner").layers(STATE),
];

const RULES3: &[Rule] = &[
    rule(&["layers.layers.{l}.mixer.qkv_proj.weight"], &["blk.{l}.attn_qkv.weight"], "[(h d)|(g d)|(g d)] n"),
    rule(&["layers.layers.{l}.mixer.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["layers.layers.{l}.mixer.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "d").value(ONE),
    rule(&["layers.layers.{l}.mixer.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "d").value(ONE),
];
