//! Ling 3: most layers of a group remember in a state (Kimi delta attention, its gates of full rank and bounded), the last
//! one attends by a latent, as DeepSeek V2's do, with gated heads; the first layers are dense, the others have experts. A
//! layer for predicting two tokens may follow, which attends.
//! Specification: `BailingMoeV3Model`, `BailingMoeV3VLModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::experts::{self, DENSE, SPARSE};
use super::qwen_vl::SEEING;
use super::{Arch, NONE, mtp};
use crate::arch::config::Config;
use crate::arch::keys::{Fixed, Key, count, flag, make, number, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use crate::arch::values::{Custom, Value};
use ggraft_formats::{Array, Result, Value as Told};
use serde_json::{Value as Json, json};

pub const BAILING_MOE3: Arch = Arch {
    classes: &["BailingMoeV3ForCausalLM"],
    gguf: "bailingmoe3",
    regains: |_, _| as_built(),
    applies: Some(is_as_built),
    base: Some(&DECODER),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[ATTENTION, STATE, &experts::dense(DENSE), &experts::routed(SPARSE), SHARED, PREDICTS],
    ..NONE
};

/// The same with eyes: three parts of a position.
pub const BAILING_MOE3_VL: Arch = Arch {
    classes: &["BailingMoeV3VLForConditionalGeneration"],
    gguf: "bailingmoe3",
    regains: |_, _| as_built(),
    base: Some(&BAILING_MOE3),
    applies: Some(is_as_built),
    keys: &[make("rope.dimension_sections", sections)],
    ignored: SEEING,
    ..NONE
};

/// What the graph of the runtime computes, and no other.
fn as_built() -> Vec<(&'static str, Json)> {
    vec![
        (RANK, json!(true)),
        ("kda_safe_gate", json!(true)),
        ("gated_attention_proj_granularity_type", json!("head_wise")),
    ]
}

/// Whether gates are of full rank: what a config need not say.
const RANK: &str = "no_kda_lora";

/// Refuses what that is not.
fn is_as_built(config: &Config) -> Result<bool> {
    for (key, value) in as_built() {
        let found = config.get(key);
        if found != Some(&value) && (key != RANK || found.is_some()) {
            let found = found.map_or(String::from("nothing"), ToString::to_string);
            return Err(config.unsupported(key).expected(value).found(found));
        }
    }
    Ok(true)
}

/// Whether a layer attends: the last of each group, those after the last whole group, and those that predict.
fn attends(params: &Params<'_>, layer: u32) -> Result<bool> {
    let (layers, group) = (params.size("main", 0)?, u64::from(params.config.count("layer_group_size")?));
    let layer = u64::from(layer);
    Ok(layer >= layers || (layer + 1).is_multiple_of(group) || layer >= layers / group * group)
}

const FULL: Layers = Layers::When(attends);
const REMEMBERS: Layers = Layers::When(|params, layer| attends(params, layer).map(|attends| !attends));
const MTP: Layers = Layers::From("main");

const KEYS: &[Key] = &[
    make("attention.head_count_kv", |params| {
        let all = (0..params.count("l", 0)?).map(|layer| attends(params, layer).map(i32::from));
        Ok(Some(Told::Array(Array::I32(all.collect::<Result<_>>()?))))
    }),
    size("vocab_size", "vocab"),
    size("ssm.conv_kernel", "conv"),
    size("kda.head_dim", "kd"),
    flag("kda.safe_gate", &["kda_safe_gate"]).must(),
    number("kda.gate_lower_bound", &["kda_lower_bound"]).must(),
    count("attention.q_lora_rank", &["q_lora_rank"]),
    size("attention.kv_lora_rank", "r"),
    size("rope.dimension_count", "rope"),
    size("attention.key_length", "latent"),
    size("attention.key_length_mla", "k_whole"),
    size("attention.value_length_mla", "v"),
    size("expert_feed_forward_length", "eff"),
    size("expert_shared_feed_forward_length", "sff"),
    count("expert_shared_count", &["num_shared_experts"]).or(Fixed::Count(1)),
    count("leading_dense_block_count", &["first_k_dense_replace"]).must(),
    number("expert_weights_scale", &["routed_scaling_factor"]).must(),
    flag("expert_weights_norm", &["norm_topk_prob"]).must(),
    make("swiglu_clamp_exp", |params| limits(params, "expert_swiglu_limit_list")),
    make("swiglu_clamp_shexp", |params| limits(params, "share_expert_swiglu_limit_list")),
    make("nextn_predict_layers", mtp::some),
];

/// What the config says the gates of each layer are clamped at; zero is no limit.
fn limits(params: &Params<'_>, key: &str) -> Result<Option<Told>> {
    let Some(listed) = params.config.get(key).and_then(|told| told.as_array()) else { return Ok(None) };
    let mut all: Vec<f32> = listed.iter().map(|limit| limit.as_f64().unwrap_or(0.0) as f32).collect();
    all.resize(params.count("l", 0)? as usize, 0.0);
    Ok(Some(Told::Array(Array::F32(all))))
}

/// How many pairs of what rotates are of time, height and width.
fn sections(params: &Params<'_>) -> Result<Option<Told>> {
    const KEY: &str = "mrope_section";
    let pairs = params.size("rope", 0)? / 2;
    let Some(told) = params.config.get(KEY) else {
        return Err(params.config.missing(KEY, "a list of numbers"));
    };
    let parts = told.as_array().into_iter().flatten().take(3);
    let mut all: Vec<i32> = parts.filter_map(|n| n.as_i64()?.try_into().ok()).collect();
    if all.iter().map(|n| i64::from(*n)).sum::<i64>() != pairs as i64 {
        let expected = format!("numbers of pairs, {pairs} in all (half of qk_rope_head_dim)");
        return Err(params.config.wrong(KEY, &expected).found(told));
    }
    all.resize(4, 0);
    Ok(Some(Told::Array(Array::I32(all))))
}

const AXES: &[Axis] = &[
    axis("main", Size::Of(&["num_hidden_layers"])),
    axis("mtp", Size::Make(mtp::held)),
    axis("l", Size::Add("main", "mtp")),
    axis("k", Size::Of(&["qk_nope_head_dim"])),
    axis("v", Size::Of(&["v_head_dim"])),
    axis("r", Size::Of(&["kv_lora_rank"])),
    axis("qr", Size::Of(&["q_lora_rank"])),
    axis("rope", Size::Of(&["qk_rope_head_dim"])),
    axis("k_whole", Size::Add("k", "rope")),
    axis("latent", Size::Add("r", "rope")),
    axis("kd", Size::Of(&["linear_head_dim", "head_dim"])),
    axis("conv", Size::Of(&["short_conv_kernel_size"])),
    axis("sff", Size::Or(&["moe_shared_expert_intermediate_size"], &Size::Mul("eff", "shared"))),
    axis("shared", Size::Or(&["num_shared_experts"], &Size::Is(1))),
];

const RULES: &[Rule] =
    &[rule(&["word_embeddings.weight", "embed_tokens.weight"], &["token_embd.weight"], "vocab n")];

const LOW_RANK: Need = Need::IfSet("q_lora_rank");

const ATTENTION: &[Rule] = &[
    rule(&["layers.{l}.attention.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h k_whole) n")
        .need(Need::UnlessSet("q_lora_rank"))
        .layers(FULL),
    rule(&["layers.{l}.attention.q_a_proj.weight"], &["blk.{l}.attn_q_a.weight"], "qr n")
        .need(LOW_RANK)
        .layers(FULL),
    rule(&["layers.{l}.attention.q_a_layernorm.weight"], &["blk.{l}.attn_q_a_norm.weight"], "qr")
        .need(LOW_RANK)
        .layers(FULL),
    rule(&["layers.{l}.attention.q_b_proj.weight"], &["blk.{l}.attn_q_b.weight"], "(h k_whole) qr")
        .need(LOW_RANK)
        .layers(FULL),
    rule(&["layers.{l}.attention.kv_a_proj_with_mqa.weight"], &["blk.{l}.attn_kv_a_mqa.weight"], "latent n")
        .layers(FULL),
    rule(&["layers.{l}.attention.kv_a_layernorm.weight"], &["blk.{l}.attn_kv_a_norm.weight"], "r")
        .layers(FULL),
    rule(
        &["layers.{l}.attention.kv_b_proj.weight"],
        &["blk.{l}.attn_k_b.weight", "blk.{l}.attn_v_b.weight"],
        "(h [k|v]) r -> h r k ; h v r",
    )
    .layers(FULL),
    rule(&["layers.{l}.attention.g_proj.weight"], &["blk.{l}.attn_gate.weight"], "h n").layers(FULL),
    rule(
        &["layers.{l}.attention.dense.weight", "layers.{l}.attention.o_proj.weight"],
        &["blk.{l}.attn_output.weight"],
        "n (h v)",
    )
    .layers(FULL),
];

/// A convolution along the tokens.
const CONV: &str = "(h kd) 1 conv -> 1 (h kd) 1 conv";

/// The decay, which trainers keep as a logarithm, without its sign.
const EXP: Custom = Custom {
    name: "exp(w)",
    forth: |x| f64::from(x).exp() as f32,
    back: |x| f64::from(x).ln() as f32,
    exact: false,
};

const STATE: &[Rule] = &[
    rule(&["layers.{l}.attention.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h kd) n").layers(REMEMBERS),
    rule(&["layers.{l}.attention.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(h kd) n").layers(REMEMBERS),
    rule(&["layers.{l}.attention.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(h kd) n").layers(REMEMBERS),
    rule(&["layers.{l}.attention.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h kd)")
        .layers(REMEMBERS),
    rule(&["layers.{l}.attention.q_conv1d.weight"], &["blk.{l}.ssm_conv1d_q.weight"], CONV).layers(REMEMBERS),
    rule(&["layers.{l}.attention.k_conv1d.weight"], &["blk.{l}.ssm_conv1d_k.weight"], CONV).layers(REMEMBERS),
    rule(&["layers.{l}.attention.v_conv1d.weight"], &["blk.{l}.ssm_conv1d_v.weight"], CONV).layers(REMEMBERS),
    rule(&["layers.{l}.attention.A_log"], &["blk.{l}.ssm_a"], "h -> h 1")
        .value(Value::Custom(&EXP))
        .layers(REMEMBERS),
    rule(&["layers.{l}.attention.dt_bias"], &["blk.{l}.ssm_dt.bias"], "(h kd)").layers(REMEMBERS),
    rule(&["layers.{l}.attention.f_proj.weight"], &["blk.{l}.ssm_f_a.weight"], "(h kd) n").layers(REMEMBERS),
    rule(&["layers.{l}.attention.b_proj.weight"], &["blk.{l}.ssm_beta.weight"], "h n").layers(REMEMBERS),
    rule(&["layers.{l}.attention.g_proj.weight"], &["blk.{l}.ssm_g_a.weight"], "(h kd) n").layers(REMEMBERS),
    rule(&["layers.{l}.attention.o_norm.weight"], &["blk.{l}.ssm_norm.weight"], "kd").layers(REMEMBERS),
];

const SHARED: &[Rule] = &[
    rule(&["layers.{l}.mlp.gate.expert_bias"], &["blk.{l}.exp_probs_b.bias"], "e").may().layers(SPARSE),
    rule(&["layers.{l}.mlp.shared_experts.gate_proj.weight"], &["blk.{l}.ffn_gate_shexp.weight"], "sff n")
        .layers(SPARSE),
    rule(&["layers.{l}.mlp.shared_experts.up_proj.weight"], &["blk.{l}.ffn_up_shexp.weight"], "sff n")
        .layers(SPARSE),
    rule(&["layers.{l}.mlp.shared_experts.down_proj.weight"], &["blk.{l}.ffn_down_shexp.weight"], "n sff")
        .layers(SPARSE),
];

const PREDICTS: &[Rule] = &[
    rule(&["layers.{l}.eh_proj.weight"], &["blk.{l}.nextn.eh_proj.weight"], "n (two m)").layers(MTP),
    rule(&["layers.{l}.enorm.weight"], &["blk.{l}.nextn.enorm.weight"], "n").layers(MTP),
    rule(&["layers.{l}.hnorm.weight"], &["blk.{l}.nextn.hnorm.weight"], "n").layers(MTP),
    rule(&["layers.{l}.final_layernorm.weight"], &["blk.{l}.layer_output_norm.weight"], "n").layers(MTP),
];
