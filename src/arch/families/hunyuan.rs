//! Hunyuan, dense (0.5B to 7B): norms of queries and keys after rotation; a context that is stretched by a larger base. With
//! experts: A13B; Hy3, with a layer for predicting two tokens.
//! Specification: `HunYuanModel`, `HunYuanMoEModel`, `HYV3Model` of llama.cpp's converter.

use super::decoder::{DECODER, UNTIED_HEAD};
use super::experts::{self, DENSE, SPARSE};
use super::qwen::NORMED;
use super::{Arch, NONE, mtp};
use crate::arch::keys::{Fixed, Key, flag, is, make, number, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rope::Rope;
use crate::arch::rule::{Layers, Rule, rule};
use ggraft_formats::{Result, Value};

pub const HUNYUAN: Arch = Arch {
    classes: &["HunYuanDenseV1ForCausalLM"],
    gguf: "hunyuan-dense",
    base: Some(&DECODER),
    keys: KEYS,
    rules: RULES,
    shares: &[UNTIED_HEAD],
    ..NONE
};

pub const HUNYUAN_MOE: Arch = Arch {
    classes: &["HunYuanMoEV1ForCausalLM"],
    gguf: "hunyuan-moe",
    base: Some(&HUNYUAN),
    keys: MOE_KEYS,
    axes: MOE_AXES,
    rules: MOE,
    shares: &[&experts::routed(Layers::All), &shared(Layers::All)],
    without: experts::NO_DENSE,
    ..NONE
};

pub const HY_V3: Arch = Arch {
    classes: &["HYV3ForCausalLM"],
    gguf: "hy_v3",
    base: Some(&DECODER),
    keys: V3_KEYS,
    axes: V3_AXES,
    rules: V3,
    shares: &[NORMED, &experts::dense(DENSE), &experts::routed(SPARSE), &shared(SPARSE), mtp::RULES],
    ..NONE
};

/// The context that the stretched models know; their configs say less.
const CONTEXT: u32 = 256 * 1024;

const KEYS: &[Key] = &[
    make("context_length", |params| {
        let context = params.config.count("max_position_embeddings")?;
        Ok(Some(Value::U32(if stretched(params)?.is_some() { CONTEXT } else { context })))
    }),
    make("rope.freq_base", |params| Ok(stretched(params)?.map(|base| Value::F32(base as f32)))),
    make("rope.scaling.type", |params| Ok(stretched(params)?.map(|_| Value::from("none")))),
    make("rope.scaling.factor", |params| Ok(stretched(params)?.map(|_| Value::F32(1.0)))),
    make(
        "rope.scaling.original_context_length",
        |params| Ok(stretched(params)?.map(|_| Value::U32(CONTEXT))),
    ),
];

/// The base of a model whose rope is `dynamic`: raised by `alpha`, as the share of the head that does not turn grows.
fn stretched(params: &Params<'_>) -> Result<Option<f64>> {
    let rope = Rope::read(params.config)?;
    let Some(("dynamic", _, _)) = rope.kind()? else { return Ok(None) };
    let (alpha, base) = (rope.number("alpha")?.unwrap_or(50.0), rope.theta()?.unwrap_or(10000.0));
    let d = params.size("d", 0)? as f64;
    Ok(Some(base * alpha.powf(d / (d - 2.0))))
}

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.query_layernorm.weight"], &["blk.{l}.attn_q_norm.weight"], "d"),
    rule(&["layers.{l}.self_attn.key_layernorm.weight"], &["blk.{l}.attn_k_norm.weight"], "d"),
];

/// The first of a list, one a layer, or the one for all.
fn first(params: &Params<'_>, key: &str) -> Result<Option<Value>> {
    Ok(params.config.whole_at(key, 0)?.map(Value::U32))
}

const MOE_KEYS: &[Key] = &[
    size("expert_shared_feed_forward_length", "ff"),
    make("expert_feed_forward_length", |params| first(params, "moe_intermediate_size")),
    make("expert_used_count", |params| first(params, "moe_topk")),
    make("expert_shared_count", |params| first(params, "num_shared_expert")),
];

const MOE_AXES: &[Axis] =
    &[axis("shared", Size::Of(&["num_shared_expert"])), axis("shared_ff", Size::Mul("ff", "shared"))];

const MOE: &[Rule] = &[rule(&["layers.{l}.mlp.gate.wg.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n")];

/// The expert for all tokens.
const fn shared(layers: Layers) -> [Rule; 3] {
    [
        rule(
            &["layers.{l}.mlp.shared_mlp.gate_proj.weight"],
            &["blk.{l}.ffn_gate_shexp.weight"],
            "shared_ff n",
        )
        .layers(layers),
        rule(&["layers.{l}.mlp.shared_mlp.up_proj.weight"], &["blk.{l}.ffn_up_shexp.weight"], "shared_ff n")
            .layers(layers),
        rule(
            &["layers.{l}.mlp.shared_mlp.down_proj.weight"],
            &["blk.{l}.ffn_down_shexp.weight"],
            "n shared_ff",
        )
        .layers(layers),
    ]
}

const V3_KEYS: &[Key] = &[
    size("expert_feed_forward_length", "eff"),
    size("expert_shared_feed_forward_length", "shared_ff"),
    flag("expert_weights_norm", &["route_norm"]).or(Fixed::Flag(true)),
    number("expert_weights_scale", &["router_scaling_factor"]).or(Fixed::Number(1.0)),
    is("expert_gating_func", Fixed::Count(2)),
    make("nextn_predict_layers", mtp::some),
];

const V3_AXES: &[Axis] = &[
    axis("main", Size::Of(&["num_hidden_layers"])),
    axis("mtp", Size::Make(mtp::held)),
    axis("l", Size::Add("main", "mtp")),
    axis("shared", Size::Or(&["num_shared_experts"], &Size::Is(1))),
    axis("shared_ff", Size::Mul("eff", "shared")),
];

const V3: &[Rule] = &[
    rule(&["layers.{l}.mlp.router.gate.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n").layers(SPARSE),
    rule(&["layers.{l}.mlp.expert_bias"], &["blk.{l}.exp_probs_b"], "e").may().layers(SPARSE),
    rule(&["layers.{l}.final_layernorm.weight"], &["blk.{l}.nextn.shared_head_norm.weight"], "n")
        .layers(Layers::From("main")),
];
