//! Jamba: every few layers attend, the others remember in a state of Mamba 1; every few have experts.
//! Specification: `JambaModel` of llama.cpp's converter.

use super::decoder::NAMES;
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use crate::arch::values::Value;
use ggraft_formats::{Array, Result, Value as Told};

pub const JAMBA: Arch = Arch {
    classes: &["JambaForCausalLM"],
    gguf: "jamba",
    base: Some(&NAMES),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ..NONE
};

const KEYS: &[Key] = &[
    size("block_count", "l"),
    count("context_length", &["max_position_embeddings", "n_ctx"]).must(),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("attention.head_count", "h"),
    make("attention.head_count_kv", |params| {
        let of = |layer: u32| Ok(if attends(params, layer)? { params.count("g", 0)? as i32 } else { 0 });
        let all: Result<Vec<i32>> = (0..params.count("l", 0)?).map(of).collect();
        Ok(Some(Told::Array(Array::I32(all?))))
    }),
    size("ssm.conv_kernel", "conv"),
    size("ssm.inner_size", "inner"),
    size("ssm.state_size", "state"),
    size("ssm.time_step_rank", "rank"),
    positive("attention.layer_norm_rms_epsilon", &["layer_norm_epsilon", "rms_norm_eps"])
        .or(Fixed::Number(1e-6)),
    size("expert_count", "e"),
    count("expert_used_count", &["num_experts_per_tok", "num_experts_per_token"]).must(),
];

const AXES: &[Axis] = &[
    axis("conv", Size::Or(&["mamba_d_conv"], &Size::Is(4))),
    axis("expand", Size::Of(&["mamba_expand"])),
    axis("inner", Size::Mul("expand", "n")),
    axis("state", Size::Or(&["mamba_d_state"], &Size::Is(16))),
    axis("rank", Size::Make(rank)),
    axis("states", Size::Mul("two", "state")),
    axis("x", Size::Add("rank", "states")),
];

fn rank(params: &Params<'_>, layer: u32) -> Result<u64> {
    match params.config.get("mamba_dt_rank").is_some_and(serde_json::Value::is_number) {
        true => params.config.count("mamba_dt_rank").map(u64::from),
        false => Ok(params.size("n", layer)?.div_ceil(16)),
    }
}

/// Whether a layer is one of every so many from a first one on.
fn is_every(params: &Params<'_>, layer: u32, period: &str, offset: &str) -> Result<bool> {
    let (every, first) = (params.config.count(period)?, params.config.whole_at(offset, 0)?.unwrap_or(0));
    Ok(layer.checked_sub(first).is_some_and(|n| n.is_multiple_of(every)))
}

fn attends(params: &Params<'_>, layer: u32) -> Result<bool> {
    is_every(params, layer, "attn_layer_period", "attn_layer_offset")
}

/// A model of one expert has none.
fn is_sparse(params: &Params<'_>, layer: u32) -> Result<bool> {
    Ok(params.size("e", 0)? > 1 && is_every(params, layer, "expert_layer_period", "expert_layer_offset")?)
}

const FULL: Layers = Layers::When(attends);
const STATE: Layers = Layers::When(|params, layer| attends(params, layer).map(|attends| !attends));
const SPARSE: Layers = Layers::When(is_sparse);
const DENSE: Layers = Layers::When(|params, layer| is_sparse(params, layer).map(|sparse| !sparse));

const RULES: &[Rule] = &[
    rule(&["final_layernorm.weight"], &["output_norm.weight"], "n"),
    rule(&["layers.{l}.pre_ff_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n").layers(FULL),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n").layers(FULL),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n").layers(FULL),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)").layers(FULL),
    rule(&["layers.{l}.mamba.in_proj.weight"], &["blk.{l}.ssm_in.weight"], "(two inner) n")
        .bias(Need::May)
        .layers(STATE),
    rule(&["layers.{l}.mamba.conv1d.weight"], &["blk.{l}.ssm_conv1d.weight"], "inner 1 conv -> inner conv")
        .bias(Need::May)
        .layers(STATE),
    rule(&["layers.{l}.mamba.x_proj.weight"], &["blk.{l}.ssm_x.weight"], "x inner").layers(STATE),
    rule(&["layers.{l}.mamba.dt_layernorm.weight"], &["blk.{l}.ssm_dt_norm.weight"], "rank").layers(STATE),
    rule(&["layers.{l}.mamba.b_layernorm.weight"], &["blk.{l}.ssm_b_norm.weight"], "state").layers(STATE),
    rule(&["layers.{l}.mamba.c_layernorm.weight"], &["blk.{l}.ssm_c_norm.weight"], "state").layers(STATE),
    rule(&["layers.{l}.mamba.dt_proj.weight"], &["blk.{l}.ssm_dt.weight"], "inner rank")
        .bias(Need::Must)
        .layers(STATE),
    rule(&["layers.{l}.mamba.A_log"], &["blk.{l}.ssm_a"], "inner state").value(Value::NegExp).layers(STATE),
    rule(&["layers.{l}.mamba.D"], &["blk.{l}.ssm_d"], "inner").layers(STATE),
    rule(&["layers.{l}.mamba.out_proj.weight"], &["blk.{l}.ssm_out.weight"], "n inner")
        .bias(Need::May)
        .layers(STATE),
    rule(&["layers.{l}.feed_forward.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n").layers(DENSE),
    rule(&["layers.{l}.feed_forward.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n").layers(DENSE),
    rule(&["layers.{l}.feed_forward.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff").layers(DENSE),
    rule(&["layers.{l}.feed_forward.router.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n").layers(SPARSE),
    rule(
        &["layers.{l}.feed_forward.experts.{e}.gate_proj.weight"],
        &["blk.{l}.ffn_gate_exps.weight"],
        "ff n -> e ff n",
    )
    .layers(SPARSE),
    rule(
        &["layers.{l}.feed_forward.experts.{e}.up_proj.weight"],
        &["blk.{l}.ffn_up_exps.weight"],
        "ff n -> e ff n",
    )
    .layers(SPARSE),
    rule(
        &["layers.{l}.feed_forward.experts.{e}.down_proj.weight"],
        &["blk.{l}.ffn_down_exps.weight"],
        "n ff -> e n ff",
    )
    .layers(SPARSE),
    rule(
        &["layers.{l}.feed_forward.experts.gate_up_proj"],
        &["blk.{l}.ffn_{gate|up}_exps.weight"],
        "e [ff|ff] n -> e ff n ; e ff n",
    )
    .layers(SPARSE),
    rule(&["layers.{l}.feed_forward.experts.down_proj"], &["blk.{l}.ffn_down_exps.weight"], "e n ff")
        .layers(SPARSE),
];
