//! Hunyuan 4: DeepSeek V3's latent attention, with a gate of what is attended to and a sink, to the tokens that an indexer
//! selects; several streams between the layers (hyper-connections); experts in stacks. What predicts further tokens is left
//! out.
//! Specification: `HYV4Model` of llama.cpp's converter; `hy_v4` of transformers 5.

use super::deepseek::DEEPSEEK2;
use super::experts::SPARSE;
use super::{Arch, NONE, dsa};
use crate::arch::config::TIED;
use crate::arch::keys::{Fixed, Key, count, is, make, number};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Array, DType, Result, Value};

pub const HY_V4: Arch = Arch {
    classes: &["HYV4ForCausalLM"],
    gguf: "hy_v4",
    base: Some(&DEEPSEEK2),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[STREAMS, &dsa::indexer(SELECTS)],
    ignored: &["model.mtp_layers.*"],
    ..NONE
};

const KEYS: &[Key] = &[
    make("expert_group_count", |params| grouped(params, "n_group")),
    make("expert_group_used_count", |params| grouped(params, "topk_group")),
    is("expert_gating_func", Fixed::Count(2)),
    make("swiglu_clamp_exp", |params| {
        let limit = params.config.optional_number("swiglu_limit")?.filter(|limit| *limit > 0.0);
        let layers = params.count("l", 0)? as usize;
        Ok(limit.map(|limit| Value::Array(Array::F32(vec![limit as f32; layers]))))
    }),
    count("hyper_connection.count", &["hc_mult"]).must(),
    number("hyper_connection.epsilon", &["hc_eps"]).must(),
    number("hyper_connection.magnitude", &["hc_magnitude"]).must(),
    make("attention.indexer.head_count", |params| of_indexer(params, "index_n_heads")),
    make("attention.indexer.key_length", |params| of_indexer(params, "index_head_dim")),
    make("attention.indexer.top_k", |params| of_indexer(params, "index_topk")),
    make("attention.indexer.types", |params| {
        let all: Vec<bool> =
            (0..params.count("l", 0)?).map(|layer| selects(params, layer)).collect::<Result<_>>()?;
        Ok(all.contains(&true).then_some(Value::Array(Array::Bool(all))))
    }),
];

/// A number of groups of experts, if there is more than one group.
fn grouped(params: &Params<'_>, key: &str) -> Result<Option<Value>> {
    let told = |key| params.config.optional_count(key);
    let one = told("n_group")? == Some(1) && told("topk_group")? == Some(1);
    Ok(told(key)?.filter(|_| !one).map(Value::U32))
}

/// A number of the indexer, if a layer has one.
fn of_indexer(params: &Params<'_>, key: &str) -> Result<Option<Value>> {
    for layer in 0..params.count("l", 0)? {
        if selects(params, layer)? {
            return params.config.count(key).map(|n| Some(Value::U32(n)));
        }
    }
    Ok(None)
}

const AXES: &[Axis] = &[
    axis("dense", Size::Make(leading)),
    axis("streams", Size::Of(&["hc_mult"])),
    axis("wide", Size::Mul("streams", "n")),
    axis("gates", Size::Mul("two", "streams")),
    axis("one", Size::Is(1)),
    axis("ih", Size::Of(&["index_n_heads"])),
    axis("i", Size::Of(&["index_head_dim"])),
];

/// How many layers at the beginning have no experts: as one key says, or the other; one, in transformers.
fn leading(params: &Params<'_>, _layer: u32) -> Result<u64> {
    if let Some(n) = params.config.whole_at("first_k_dense_replace", 0)? {
        return Ok(n.into());
    }
    let kinds = params.config.texts("mlp_layer_types")?;
    Ok(kinds.map_or(1, |kinds| kinds.iter().take_while(|kind| **kind == "dense").count() as u64))
}

/// Whether a layer selects for itself what it attends to; others take what the one before them selected. The config lists
/// them by one of two names; if it does not the weights tell, or there is one in the first layer and every fourth after it.
fn selects(params: &Params<'_>, layer: u32) -> Result<bool> {
    if let Some(kinds) = params.config.texts("indexer_types")? {
        return Ok(kinds.get(layer as usize) == Some(&"full"));
    }
    let kinds = params.config.texts("layer_types")?.unwrap_or_default();
    if kinds.iter().any(is_sparse) {
        return Ok(kinds.get(layer as usize).is_some_and(is_sparse));
    }
    let held = params.holds(&format!("layers.{layer}.self_attn.indexer.wk.weight"));
    Ok(held.unwrap_or(layer == 0 || (layer - 1).is_multiple_of(4)))
}

fn is_sparse(kind: &&str) -> bool {
    ["sparse_attention", "deepseek_sparse_attention"].contains(kind)
}

const SELECTS: Layers = Layers::When(selects);

/// Some heads are computed in f32, and so kept.
const WHOLE: Layers = Layers::When(|params, _| Ok(is_whole(params)? && !params.config.flag(TIED)?));
const ROUNDED: Layers = Layers::When(|params, _| Ok(!is_whole(params)? && !params.config.flag(TIED)?));
const HEAD: Rule =
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n").need(Need::Unless(TIED)).or_spare();

fn is_whole(params: &Params<'_>) -> Result<bool> {
    params.config.flag("enable_lm_head_fp32")
}

const RULES: &[Rule] = &[
    HEAD.layers(ROUNDED),
    HEAD.layers(WHOLE).stored(DType::F32),
    rule(
        &["layers.{l}.self_attn.linear_gate.weight", "layers.{l}.self_attn.gate_proj.weight"],
        &["blk.{l}.attn_gate.weight"],
        "(h v) n",
    ),
    rule(
        &["layers.{l}.self_attn.learnable_sink_param", "layers.{l}.self_attn.sinks"],
        &["blk.{l}.attn_sinks.weight"],
        "h",
    ),
    rule(
        &["layers.{l}.mlp.experts.gate_up_proj"],
        &["blk.{l}.ffn_{gate|up}_exps.weight"],
        "e [eff|eff] n -> e eff n ; e eff n",
    )
    .layers(SPARSE),
    rule(&["layers.{l}.mlp.experts.down_proj"], &["blk.{l}.ffn_down_exps.weight"], "e n eff").layers(SPARSE),
];

/// What joins the streams before a part and parts what it gives after it. Trainers keep it in f32.
const STREAMS: &[Rule] = &[
    rule(&["hc_head.hc_head_fn"], &["output_hc_fn.weight"], "streams wide").stored(DType::F32),
    rule(&["hc_head.hc_head_base"], &["output_hc_base.weight"], "streams"),
    rule(&["hc_head.hc_head_scale"], &["output_hc_scale.weight"], "one"),
    rule(&["layers.{l}.hc_attn_layer.hc_pre.hc_fn"], &["blk.{l}.hc_attn_fn.weight"], "gates wide")
        .stored(DType::F32),
    rule(&["layers.{l}.hc_attn_layer.hc_pre.hc_base"], &["blk.{l}.hc_attn_base.weight"], "gates"),
    rule(&["layers.{l}.hc_attn_layer.hc_pre.hc_scale"], &["blk.{l}.hc_attn_scale.weight"], "two"),
    rule(&["layers.{l}.hc_mlp_layer.hc_pre.hc_fn"], &["blk.{l}.hc_ffn_fn.weight"], "gates wide")
        .stored(DType::F32),
    rule(&["layers.{l}.hc_mlp_layer.hc_pre.hc_base"], &["blk.{l}.hc_ffn_base.weight"], "gates"),
    rule(&["layers.{l}.hc_mlp_layer.hc_pre.hc_scale"], &["blk.{l}.hc_ffn_scale.weight"], "two"),
];
