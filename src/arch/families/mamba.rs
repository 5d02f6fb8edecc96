//! Mamba 1 and 2, Falcon Mamba: layers that remember in a state and do not attend. Published configs differ; where a key is
//! absent it has the value that the code of the first Mamba takes.
//! Specification: `MambaModel`, `Mamba2Model` of llama.cpp's converter.

use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use crate::arch::values::Value;
use ggraft_formats::{Result, Value as Told};

pub const MAMBA: Arch = Arch {
    classes: &["MambaForCausalLM", "MambaLMHeadModel", "FalconMambaForCausalLM"],
    gguf: "mamba",
    base: Some(&STATES),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ..NONE
};

pub const MAMBA2: Arch = Arch {
    classes: &["Mamba2ForCausalLM"],
    gguf: "mamba2",
    base: Some(&STATES),
    prefixes: &["backbone.", "model.backbone."],
    keys: KEYS2,
    axes: AXES2,
    shares: &[&mixer(Layers::All, &ALONE)],
    ..NONE
};

/// What both have in common.
const STATES: Arch = Arch { prefixes: &["backbone."], axes: COMMON_AXES, rules: COMMON, ..NONE };

/// The context that stands for any.
const CONTEXT: Key = is("context_length", Fixed::Count(1 << 20));
const EPSILON: Key = positive("attention.layer_norm_rms_epsilon", &["layer_norm_epsilon", "rms_norm_eps"])
    .or(Fixed::Number(1e-5));

const KEYS: &[Key] = &[
    CONTEXT,
    size("embedding_length", "n"),
    is("feed_forward_length", Fixed::Count(0)),
    is("attention.head_count", Fixed::Count(0)),
    size("block_count", "l"),
    size("ssm.conv_kernel", "conv"),
    size("ssm.inner_size", "inner"),
    size("ssm.state_size", "state"),
    size("ssm.time_step_rank", "rank"),
    EPSILON,
    make("ssm.dt_b_c_rms", |params| {
        Ok(Some(Told::Bool(params.config.text("model_type")? == Some("falcon_mamba"))))
    }),
];

const KEYS2: &[Key] = &[
    CONTEXT,
    size("embedding_length", "n"),
    is("feed_forward_length", Fixed::Count(0)),
    is("attention.head_count", Fixed::Count(0)),
    size("block_count", "l"),
    size("ssm.conv_kernel", "conv"),
    size("ssm.inner_size", "inner"),
    size("ssm.state_size", "state"),
    size("ssm.time_step_rank", "heads"),
    size("ssm.group_count", "groups"),
    EPSILON,
];

const COMMON_AXES: &[Axis] = &[
    axis("l", Size::Of(&["num_hidden_layers", "n_layer", "n_layers"])),
    axis("n", Size::Of(&["hidden_size", "d_model", "dim"])),
    axis("vocab", Size::Of(&["vocab_size"])),
    axis("two", Size::Is(2)),
    axis("conv", Size::Or(&["conv_kernel", "d_conv"], &Size::Is(4))),
];

const AXES: &[Axis] = &[
    axis("inner", Size::Or(&["intermediate_size", "d_inner"], &Size::Mul("two", "n"))),
    axis("state", Size::Or(&["state_size", "d_state"], &Size::Is(16))),
    axis("rank", Size::Make(rank)),
    axis("states", Size::Mul("two", "state")),
    axis("x", Size::Add("rank", "states")),
];

/// The rank of the step of time: a sixteenth of the width, unless it is told.
fn rank(params: &Params<'_>, layer: u32) -> Result<u64> {
    match params.config.first(&["time_step_rank", "dt_rank"]) {
        Some(key) if params.config.get(key).is_some_and(serde_json::Value::is_number) => {
            params.config.count(key).map(u64::from)
        }
        _ => Ok(params.size("n", layer)?.div_ceil(16)),
    }
}

const AXES2: &[Axis] = &[
    axis("expand", Size::Or(&["mamba_expand", "expand"], &Size::Is(2))),
    axis("inner", Size::Or(&["mamba_d_ssm", "intermediate_size", "d_inner"], &Size::Mul("expand", "n"))),
    axis("state", Size::Or(&["state_size", "d_state"], &Size::Is(128))),
    axis("head", Size::Or(&["mamba_d_head", "head_dim"], &Size::Is(64))),
    axis("heads", Size::Div("inner", "head")).or("inner", "a multiple of the size of a head"),
    axis("groups", Size::Or(&["n_groups"], &Size::Is(1))),
    axis("group", Size::Div("inner", "groups")).or("inner", "a multiple of {groups} groups"),
];

/// Whether the head is the table of tokens is not always told: a head that is there is taken.
const COMMON: &[Rule] = &[
    rule(&["embeddings.weight", "embedding.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["norm_f.weight"], &["output_norm.weight"], "n"),
    rule(&["^lm_head.weight", "^model.lm_head.weight"], &["output.weight"], "vocab n").may(),
    rule(&["layers.{l}.norm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
];

const RULES: &[Rule] = &[
    rule(&["layers.{l}.mixer.in_proj.weight"], &["blk.{l}.ssm_in.weight"], "(two inner) n").bias(Need::May),
    rule(&["layers.{l}.mixer.conv1d.weight"], &["blk.{l}.ssm_conv1d.weight"], "inner 1 conv -> inner conv")
        .bias(Need::May),
    rule(&["layers.{l}.mixer.x_proj.weight"], &["blk.{l}.ssm_x.weight"], "x inner"),
    rule(&["layers.{l}.mixer.dt_proj.weight"], &["blk.{l}.ssm_dt.weight"], "inner rank").bias(Need::Must),
    rule(&["layers.{l}.mixer.A_log"], &["blk.{l}.ssm_a"], "inner state").value(Value::NegExp),
    rule(&["layers.{l}.mixer.D"], &["blk.{l}.ssm_d"], "inner"),
    rule(&["layers.{l}.mixer.out_proj.weight"], &["blk.{l}.ssm_out.weight"], "n inner").bias(Need::May),
];

/// What checkpoints call the parts of a state, the usual names first.
pub struct Names {
    in_proj: &'static [&'static str],
    conv1d: &'static [&'static str],
    dt_bias: &'static [&'static str],
    a_log: &'static [&'static str],
    d: &'static [&'static str],
    norm: &'static [&'static str],
    out_proj: &'static [&'static str],
}

/// In models of such layers alone, and in Nemotron's.
pub const ALONE: Names = Names {
    in_proj: &["layers.{l}.mixer.in_proj.weight", "layers.{l}.mamba.in_proj.weight"],
    conv1d: &["layers.{l}.mixer.conv1d.weight", "layers.{l}.mamba.conv1d.weight"],
    dt_bias: &["layers.{l}.mixer.dt_bias", "layers.{l}.mamba.dt_bias", "layers.{l}.mixer.dt_proj.bias"],
    a_log: &["layers.{l}.mixer.A_log", "layers.{l}.mamba.A_log"],
    d: &["layers.{l}.mixer.D", "layers.{l}.mamba.D"],
    norm: &["layers.{l}.mixer.norm.weight", "layers.{l}.mamba.norm.weight"],
    out_proj: &["layers.{l}.mixer.out_proj.weight", "layers.{l}.mamba.out_proj.weight"],
};

/// In models that also attend.
pub const AMONG_OTHERS: Names = Names {
    in_proj: &["layers.{l}.mamba.in_proj.weight", "layers.{l}.mixer.in_proj.weight"],
    conv1d: &["layers.{l}.mamba.conv1d.weight", "layers.{l}.mixer.conv1d.weight"],
    dt_bias: &["layers.{l}.mamba.dt_bias", "layers.{l}.mixer.dt_bias", "layers.{l}.mixer.dt_proj.bias"],
    a_log: &["layers.{l}.mamba.A_log", "layers.{l}.mixer.A_log"],
    d: &["layers.{l}.mamba.D", "layers.{l}.mixer.D"],
    norm: &["layers.{l}.mamba.norm.weight", "layers.{l}.mixer.norm.weight"],
    out_proj: &["layers.{l}.mamba.out_proj.weight", "layers.{l}.mixer.out_proj.weight"],
};

/// The state of Mamba 2, of a layer of its own or of one in a model that also attends.
pub const fn mixer(layers: Layers, names: &Names) -> [Rule; 7] {
    [
        rule(names.in_proj, &["blk.{l}.ssm_in.weight"], "[(two inner)|(two groups state)|heads] n")
            .bias(Need::May)
            .layers(layers),
        rule(
            names.conv1d,
            &["blk.{l}.ssm_conv1d.weight"],
            "[inner|(two groups state)] 1 conv -> [inner|(two groups state)] conv",
        )
        .bias(Need::May)
        .layers(layers),
        rule(names.dt_bias, &["blk.{l}.ssm_dt.bias"], "heads").layers(layers),
        rule(names.a_log, &["blk.{l}.ssm_a"], "heads -> heads 1").value(Value::NegExp).layers(layers),
        rule(names.d, &["blk.{l}.ssm_d"], "heads -> heads 1").layers(layers),
        rule(names.norm, &["blk.{l}.ssm_norm.weight"], "(groups group) -> groups group").layers(layers),
        rule(names.out_proj, &["blk.{l}.ssm_out.weight"], "n inner").bias(Need::May).layers(layers),
    ]
}
