//! GLM-5.3 Flash: most layers remember in a state (Kimi delta attention), the others attend by a latent without positions to
//! the groups of tokens that an indexer selects; several streams between the layers (hyper-connections); the first layers
//! are dense, the others have experts. A layer for predicting two tokens may follow.
//! Specification: `Glm5NextModel` of llama.cpp's converter; `glm5_next` of transformers 5.

use super::decoder::{DECODER, UNTIED_HEAD};
use super::experts::{self, DENSE, SPARSE};
use super::kimi::{linear, states};
use super::qwen_vl::SEEING;
use super::told::Told;
use super::{Arch, NONE, dsa, mtp};
use crate::arch::config::Config;
use crate::arch::keys::{Fixed, Key, count, flag, is, make, number, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use crate::arch::values::Value;
use ggraft_formats::{Array, DType, Result, Value as Said};
use serde_json::json;

pub const GLM5_NEXT: Arch = Arch {
    classes: &["Glm5NextForConditionalGeneration"],
    gguf: "glm5-next",
    regains: |model, layers| {
        let told = Told::of(model, layers);
        [states(&told), told.indexers()].concat()
    },
    applies: Some(is_as_built),
    base: Some(&HEADLESS),
    keys: KEYS,
    axes: AXES,
    rules: ATTENTION,
    shares: &[
        STATE,
        STREAMS,
        UNTIED_HEAD,
        POOL,
        &dsa::indexer(SELECTS),
        &experts::dense(DENSE),
        &experts::routed(SPARSE),
        &experts::shared(SPARSE, Need::Must),
        &experts::correction(SPARSE),
        mtp::RULES,
    ],
    ignored: SEEING,
    ..NONE
};

/// The head of the config has no size that a layer has.
const HEADLESS: Arch =
    Arch { base: Some(&DECODER), without: &["attention.key_length", "attention.value_length"], ..NONE };

/// Refuses what the graph of the runtime does not compute.
fn is_as_built(config: &Config) -> Result<bool> {
    for (key, value) in [("qk_rope_head_dim", json!(0)), ("mla_use_nope", json!(true)), ("mhc", json!(true))]
    {
        if let Some(found) = config.get(key).filter(|found| **found != value) {
            return Err(config.unsupported(key).expected(value).found(found));
        }
    }
    Ok(true)
}

/// Whether a layer attends, and does not remember; one that predicts does.
fn attends(params: &Params<'_>, layer: u32) -> Result<bool> {
    let kinds = params.config.texts("layer_types")?.unwrap_or_default();
    let predicts = u64::from(layer) >= params.size("main", 0)?;
    Ok(predicts || kinds.get(layer as usize).is_none_or(|kind| *kind != "linear_attention"))
}

/// Whether a layer selects for itself what it attends to.
fn selects(params: &Params<'_>, layer: u32) -> Result<bool> {
    let kinds = params.config.texts("indexer_types")?.unwrap_or_default();
    let shares = kinds.get(layer as usize).is_some_and(|kind| *kind != "full");
    Ok(attends(params, layer)? && !shares)
}

const FULL: Layers = Layers::When(attends);
const REMEMBERS: Layers = Layers::When(|params, layer| attends(params, layer).map(|attends| !attends));
const SELECTS: Layers = Layers::When(selects);
const MAIN: Layers = Layers::Before("main");

const KEYS: &[Key] = &[
    make("attention.head_count_kv", |params| {
        let all = (0..params.count("l", 0)?).map(|layer| attends(params, layer).map(i32::from));
        Ok(Some(Said::Array(Array::I32(all.collect::<Result<_>>()?))))
    }),
    size("vocab_size", "vocab"),
    is("attention.layer_norm_epsilon", Fixed::Number(1e-6)),
    make("nextn_predict_layers", mtp::some),
    size("ssm.conv_kernel", "conv"),
    size("kda.head_dim", "kd"),
    number("kda.gate_lower_bound", &["linear_attn_config.gate_lower_bound", "linear_lower_bound"]),
    count("attention.q_lora_rank", &["q_lora_rank"]).must(),
    size("attention.kv_lora_rank", "r"),
    is("rope.dimension_count", Fixed::Count(0)),
    size("attention.key_length", "r"),
    size("attention.value_length", "r"),
    size("attention.key_length_mla", "k"),
    size("attention.value_length_mla", "v"),
    dsa::HEADS,
    dsa::WIDTH,
    dsa::CHOSEN,
    count("attention.indexer.kpool", &["index_kpool"]).must(),
    flag("attention.indexer.kpool_select_tail", &["index_kpool_always_select_tail"]).or(Fixed::Flag(true)),
    make("attention.indexer.types", |params| {
        let all = params.config.texts("indexer_types")?;
        Ok(all.map(|all| Said::Array(Array::Bool(all.iter().map(|kind| *kind == "full").collect()))))
    }),
    count("hyper_connection.count", &["hc_mult"]).must(),
    count("hyper_connection.sinkhorn_iterations", &["hc_sinkhorn_iters"]).must(),
    number("hyper_connection.epsilon", &["hc_eps"]).must(),
    size("leading_dense_block_count", "dense"),
    size("expert_feed_forward_length", "eff"),
    count("expert_shared_count", &["n_shared_experts"]).must(),
    number("expert_weights_scale", &["routed_scaling_factor"]).must(),
    flag("expert_weights_norm", &["norm_topk_prob"]).must(),
    make("swiglu_clamp_exp", limits),
    make("swiglu_clamp_shexp", limits),
];

/// What the gates of each layer are clamped at.
fn limits(params: &Params<'_>) -> Result<Option<Said>> {
    let limit = params.config.optional_number("swiglu_limit")?;
    let layers = params.count("l", 0)? as usize;
    Ok(limit.map(|limit| Said::Array(Array::F32(vec![limit as f32; layers]))))
}

const AXES: &[Axis] = &[
    axis("main", Size::Of(&["num_hidden_layers"])),
    axis("mtp", Size::Make(mtp::held)),
    axis("l", Size::Add("main", "mtp")),
    axis("k", Size::Of(&["qk_nope_head_dim"])),
    axis("v", Size::Of(&["v_head_dim"])),
    axis("r", Size::Of(&["kv_lora_rank"])),
    axis("qr", Size::Of(&["q_lora_rank"])),
    axis("kd", Size::Make(|params, _| linear(params, "head_dim", "linear_head_dim"))),
    // The config says that a head has none.
    axis("d", Size::Same("kd")),
    axis("wide", Size::Same("kd")),
    axis("conv", Size::Make(|params, _| linear(params, "short_conv_kernel_size", "linear_conv_kernel_dim"))),
    axis("ih", Size::Of(&["index_n_heads"])),
    axis("i", Size::Of(&["index_head_dim"])),
    axis("pool", Size::Of(&["index_kpool"])),
    axis("streams", Size::Of(&["hc_mult"])),
    axis("ways", Size::Add("two", "streams")),
    axis("mix", Size::Mul("ways", "streams")),
];

const ATTENTION: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_a_proj.weight"], &["blk.{l}.attn_q_a.weight"], "qr n").layers(FULL),
    rule(&["layers.{l}.self_attn.q_a_layernorm.weight"], &["blk.{l}.attn_q_a_norm.weight"], "qr")
        .layers(FULL),
    rule(&["layers.{l}.self_attn.q_b_proj.weight"], &["blk.{l}.attn_q_b.weight"], "(h k) qr").layers(FULL),
    rule(&["layers.{l}.self_attn.kv_a_proj_with_mqa.weight"], &["blk.{l}.attn_kv_a_mqa.weight"], "r n")
        .layers(FULL),
    rule(&["layers.{l}.self_attn.kv_a_layernorm.weight"], &["blk.{l}.attn_kv_a_norm.weight"], "r")
        .layers(FULL),
    rule(
        &["layers.{l}.self_attn.kv_b_proj.weight"],
        &["blk.{l}.attn_k_b.weight", "blk.{l}.attn_v_b.weight"],
        "(h [k|v]) r -> h r k ; h v r",
    )
    .layers(FULL),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h v)").layers(FULL),
];

/// A convolution along the tokens.
const CONV: &str = "(h kd) 1 conv -> 1 (h kd) 1 conv";

const STATE: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h kd) n").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(h kd) n").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(h kd) n").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h kd)")
        .layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.q_conv1d.weight"], &["blk.{l}.ssm_conv1d_q.weight"], CONV).layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.k_conv1d.weight"], &["blk.{l}.ssm_conv1d_k.weight"], CONV).layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.v_conv1d.weight"], &["blk.{l}.ssm_conv1d_v.weight"], CONV).layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.A_log"], &["blk.{l}.ssm_a"], "h").value(Value::NegExp).layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.dt_bias"], &["blk.{l}.ssm_dt.bias"], "(h kd)").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.f_a_proj.weight"], &["blk.{l}.ssm_f_a.weight"], "kd n").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.f_b_proj.weight"], &["blk.{l}.ssm_f_b.weight"], "(h wide) kd")
        .layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.b_proj.weight"], &["blk.{l}.ssm_beta.weight"], "h n").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.g_a_proj.weight"], &["blk.{l}.ssm_g_a.weight"], "kd n").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.g_b_proj.weight"], &["blk.{l}.ssm_g_b.weight"], "(h wide) kd")
        .layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.o_norm.weight"], &["blk.{l}.ssm_norm.weight"], "kd").layers(REMEMBERS),
];

/// What joins the streams before a part and parts what it gives after it.
const STREAMS: &[Rule] = &[
    rule(&["layers.{l}.hc_attn_fn"], &["blk.{l}.hc_attn_fn.weight"], "mix (streams n)")
        .stored(DType::F32)
        .layers(MAIN),
    rule(&["layers.{l}.hc_attn_base"], &["blk.{l}.hc_attn_base.weight"], "mix").layers(MAIN),
    rule(&["layers.{l}.hc_attn_scale"], &["blk.{l}.hc_attn_scale.weight"], "three").layers(MAIN),
    rule(&["layers.{l}.hc_ffn_fn"], &["blk.{l}.hc_ffn_fn.weight"], "mix (streams n)")
        .stored(DType::F32)
        .layers(MAIN),
    rule(&["layers.{l}.hc_ffn_base"], &["blk.{l}.hc_ffn_base.weight"], "mix").layers(MAIN),
    rule(&["layers.{l}.hc_ffn_scale"], &["blk.{l}.hc_ffn_scale.weight"], "three").layers(MAIN),
];

/// What makes one key of the indexer of a group of tokens.
const POOL: &[Rule] = &[
    rule(
        &["layers.{l}.self_attn.indexer.index_kpool_compress_gate"],
        &["blk.{l}.indexer_compressor_gate.weight"],
        "i n",
    )
    .stored(DType::F32)
    .layers(SELECTS),
    rule(
        &["layers.{l}.self_attn.indexer.index_kpool_compress_ape"],
        &["blk.{l}.indexer_compressor_ape.weight"],
        "pool i",
    )
    .stored(DType::F32)
    .layers(SELECTS),
];
