//! LFM 2: most layers mix neighbouring tokens by a short convolution instead of attending; with experts, after leading
//! dense layers.
//! Specification: `LFM2Model`, `LFM2MoeModel` of llama.cpp's converter; `Lfm2MLP` of transformers.

use super::decoder::DECODER;
use super::experts::{DENSE, SPARSE};
use super::told::{Keys, Told};
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Array, Model, Result, Value};

pub const LFM2: Arch = Arch {
    classes: &["Lfm2ForCausalLM", "LFM2ForCausalLM"],
    regains: kinds,
    gguf: "lfm2",
    base: Some(&MIXED),
    keys: KEYS,
    axes: &[axis("ff", Size::Make(width))],
    rules: FEED_FORWARD,
    ..NONE
};

pub const LFM2_MOE: Arch = Arch {
    classes: &["Lfm2MoeForCausalLM"],
    regains: kinds,
    gguf: "lfm2moe",
    base: Some(&MIXED),
    keys: MOE_KEYS,
    rules: EXPERTS,
    shares: &[FEED_FORWARD],
    ..NONE
};

/// What both have in common.
const MIXED: Arch = Arch {
    base: Some(&DECODER),
    keys: &[make("attention.head_count_kv", heads)],
    axes: AXES,
    rules: RULES,
    ..NONE
};

/// The kinds of the layers of a GGUF; what the width was made from is not told, and it is said as it is.
pub fn kinds(model: &Model, layers: u32) -> Keys {
    let told = Told::of(model, layers);
    let kinds = told.words(|layer| told.has("attn_q.weight", layer), ["full_attention", "conv"]);
    vec![("layer_types", kinds), ("block_auto_adjust_ff_dim", false.into())]
}

const KEYS: &[Key] = &[
    size("feed_forward_length", "ff"),
    size("vocab_size", "vocab"),
    size("shortconv.l_cache", "cache"),
    positive("attention.layer_norm_rms_epsilon", &["norm_eps"]).must(),
];

const MOE_KEYS: &[Key] = &[
    size("expert_feed_forward_length", "eff"),
    size("leading_dense_block_count", "dense"),
    is("expert_gating_func", Fixed::Count(2)),
    size("vocab_size", "vocab"),
    size("shortconv.l_cache", "cache"),
];

const AXES: &[Axis] = &[axis("cache", Size::Of(&["conv_L_cache"])), axis("three", Size::Is(3))];

/// The width of the feed-forward: two thirds of what the config says, stretched and rounded up, unless it forbids that.
fn width(params: &Params<'_>, _layer: u32) -> Result<u64> {
    let config = params.config;
    let key = config.first(&["block_ff_dim"]).unwrap_or("intermediate_size");
    let told = u64::from(config.count(key)?);
    if config.optional_flag("block_auto_adjust_ff_dim")? == Some(false) {
        return Ok(told);
    }
    let by = config.optional_number("block_ffn_dim_multiplier")?.unwrap_or(1.0);
    let stretched = (by * (2 * told / 3) as f64) as u64;
    let unit = config.optional_count("block_multiple_of")?.map_or(256, u64::from);
    Ok(stretched.next_multiple_of(unit))
}

/// The layers that attend: by `layer_types`, else those that `full_attn_idxs` lists.
fn attends(params: &Params<'_>, layer: u32) -> Result<bool> {
    if let Some(kinds) = params.config.texts("layer_types")? {
        return Ok(kinds.get(layer as usize) == Some(&"full_attention"));
    }
    let listed = params.config.get("full_attn_idxs").and_then(|v| v.as_array());
    Ok(listed.is_none_or(|all| all.iter().any(|n| n.as_u64() == Some(layer.into()))))
}

/// The heads of keys and values of each layer; none of those that do not attend.
fn heads(params: &Params<'_>) -> Result<Option<Value>> {
    let of = |layer: u32| Ok(if attends(params, layer)? { params.count("g", layer)? as i32 } else { 0 });
    let all: Result<Vec<i32>> = (0..params.count("l", 0)?).map(of).collect();
    Ok(Some(Value::Array(Array::I32(all?))))
}

const FULL: Layers = Layers::When(attends);
const CONV: Layers = Layers::When(|params, layer| attends(params, layer).map(|attends| !attends));
const BIASED: Need = Need::If("conv_bias");

const RULES: &[Rule] = &[
    rule(&["embedding_norm.weight"], &["token_embd_norm.weight"], "n"),
    rule(&["norm.weight"], &["output_norm.weight"], "n").may(),
    rule(&["layers.{l}.operator_norm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["layers.{l}.ffn_norm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n").layers(FULL),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n").layers(FULL),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n").layers(FULL),
    rule(&["layers.{l}.self_attn.out_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)").layers(FULL),
    rule(&["layers.{l}.self_attn.q_layernorm.weight"], &["blk.{l}.attn_q_norm.weight"], "d").layers(FULL),
    rule(&["layers.{l}.self_attn.k_layernorm.weight"], &["blk.{l}.attn_k_norm.weight"], "d").layers(FULL),
    rule(&["layers.{l}.conv.conv.weight"], &["blk.{l}.shortconv.conv.weight"], "n 1 cache -> n cache")
        .bias(BIASED)
        .layers(CONV),
    rule(&["layers.{l}.conv.in_proj.weight"], &["blk.{l}.shortconv.in_proj.weight"], "(three n) m")
        .bias(BIASED)
        .layers(CONV),
    rule(&["layers.{l}.conv.out_proj.weight"], &["blk.{l}.shortconv.out_proj.weight"], "n m")
        .bias(BIASED)
        .layers(CONV),
];

const FEED_FORWARD: &[Rule] = &[
    rule(&["layers.{l}.feed_forward.w1.weight"], &["blk.{l}.ffn_gate.weight"], "ff n").layers(DENSE),
    rule(&["layers.{l}.feed_forward.w3.weight"], &["blk.{l}.ffn_up.weight"], "ff n").layers(DENSE),
    rule(&["layers.{l}.feed_forward.w2.weight"], &["blk.{l}.ffn_down.weight"], "n ff").layers(DENSE),
];

const EXPERTS: &[Rule] = &[
    rule(&["layers.{l}.feed_forward.gate.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n").layers(SPARSE),
    rule(&["layers.{l}.feed_forward.expert_bias"], &["blk.{l}.exp_probs_b.bias"], "e")
        .need(Need::If("use_expert_bias"))
        .layers(SPARSE),
    rule(
        &["layers.{l}.feed_forward.experts.{e}.w1.weight"],
        &["blk.{l}.ffn_gate_exps.weight"],
        "eff n -> e eff n",
    )
    .layers(SPARSE),
    rule(
        &["layers.{l}.feed_forward.experts.{e}.w3.weight"],
        &["blk.{l}.ffn_up_exps.weight"],
        "eff n -> e eff n",
    )
    .layers(SPARSE),
    rule(
        &["layers.{l}.feed_forward.experts.{e}.w2.weight"],
        &["blk.{l}.ffn_down_exps.weight"],
        "n eff -> e n eff",
    )
    .layers(SPARSE),
    rule(
        &["layers.{l}.feed_forward.experts.gate_up_proj"],
        &["blk.{l}.ffn_{gate|up}_exps.weight"],
        "e [eff|eff] n -> e eff n ; e eff n",
    )
    .layers(SPARSE),
    rule(&["layers.{l}.feed_forward.experts.down_proj"], &["blk.{l}.ffn_down_exps.weight"], "e n eff")
        .layers(SPARSE),
];
