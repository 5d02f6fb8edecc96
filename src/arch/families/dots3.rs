//! dots3-note: DeepSeek V3.2's latent attention to the tokens that an indexer selects in some layers, in the others within
//! a window, with heads of other sizes; heads are gated, and the part of a key that rotates is normed. A layer for
//! predicting two tokens may follow, which has embeddings of its own.
//! Specification: `Dots3NoteModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::deepseek::DEEPSEEK2;
use super::told::{Keys, Told, some};
use super::{Arch, NONE, dsa, experts, mtp};
use crate::arch::config::Config;
use crate::arch::keys::{Key, count, make, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use crate::arch::scaled::{Factor, Times, all};
use crate::arch::values::Value;
use ggraft_formats::{Array, Model, Result, Value as Said};
use serde_json::{Value as Json, json};

pub const DOTS3_NOTE: Arch = Arch {
    classes: &["Dots3NoteForCausalLM", "Dots3NoteForConditionalGeneration", "Dots3NoteTextForCausalLM"],
    gguf: "dots3note",
    regains,
    applies: Some(is_as_built),
    base: Some(&LATENT),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[
        &dsa::indexer(FULL),
        &experts::dense(DENSE),
        &experts::routed(SPARSE),
        &experts::shared(SPARSE, SHARED),
        &experts::correction(SPARSE),
        PREDICTS,
    ],
    published: &[("model.mtp.embed_tokens.", "model.layers.{main}.embed_tokens.")],
    ignored: &["vision_encoder.*", "audio_encoder.*"],
    ..NONE
};

/// DeepSeek V2 without the size of a head that the config tells, for no layer has it.
const LATENT: Arch = Arch { classes: &[], told_by: &[], gguf: "", base: Some(&HEADLESS), ..DEEPSEEK2 };
const HEADLESS: Arch =
    Arch { base: Some(&DECODER), without: &["attention.key_length", "attention.value_length"], ..NONE };

/// What a GGUF says of layers of two kinds; what norms of low rank are multiplied with is taken out of their weights.
fn regains(model: &Model, layers: u32) -> Keys {
    const HEADS: &str = "attention.head_count";
    let told = Told::of(model, layers);
    let slides = |layer: u32| told.flag("attention.sliding_window_pattern", layer);
    let main = told.proper();
    let heads = |layer: Option<u32>| told.at(HEADS, layer?).map(|n| json!(n));
    let rope = told.number("rope.dimension_count");
    let whole = told.number("attention.key_length_mla_swa");
    let plain = whole.zip(rope).and_then(|(whole, rope)| whole.checked_sub(rope));
    some([
        ("num_hidden_layers", Some(json!(main.layers))),
        ("layer_types", Some(main.windows())),
        ("num_attention_heads", heads(main.first(|layer| !slides(layer)).or(Some(0)))),
        ("swa_num_attention_heads", heads(main.first(slides).or(Some(0)))),
        ("swa_kv_lora_rank", told.json("attention.kv_lora_rank_swa")),
        ("swa_q_lora_rank", told.json("attention.q_lora_rank")),
        ("swa_qk_rope_head_dim", rope.map(|n| json!(n))),
        ("swa_qk_nope_head_dim", plain.map(|n| json!(n))),
        ("swa_head_dim", whole.map(|n| json!(n))),
        ("swa_v_head_dim", told.json("attention.value_length_mla_swa")),
        // As published; the trainer's class multiplies whatever the config says.
        ("apply_mla_qkv_lora_rescale", Some(json!(true))),
        // What the trainer's class takes for those of the published model where a config is silent.
        ("swa_num_key_value_heads", heads(main.first(slides).or(Some(0)))),
        ("swa_rope_theta", told.json("rope.freq_base_swa")),
        ("n_group", told.json("expert_group_count").or(Some(json!(1)))),
        ("topk_group", told.json("expert_group_used_count").or(Some(json!(1)))),
    ])
}

/// Refuses what the graph of the runtime does not compute; an absent key is fine, unless it has no default.
fn is_as_built(config: &Config) -> Result<bool> {
    let built: [(&str, Json); 13] = [
        ("use_dsa", json!(true)),
        ("normalization", json!("RMSNorm")),
        ("final_norm", json!("RMSNorm")),
        ("k_rope_only_layernorm", json!(true)),
        ("topk_method", json!("noaux_tc")),
        ("scoring_func", json!("sigmoid")),
        ("n_group", json!(1)),
        ("topk_group", json!(1)),
        ("use_dynamic_rsf", json!(false)),
        ("moe_gating_fp32", json!(false)),
        ("attention_gate_type", json!("headwise")),
        ("swa_attention_gate_type", json!("headwise")),
        ("swa_head_dim", json!(config.count(SLIDING[0])? + config.count(SLIDING[1])?)),
    ];
    for (key, value) in &built {
        if let Some(found) = config.get(key).filter(|found| *found != value) {
            return Err(config.unsupported(key).expected(value).found(found));
        }
    }
    for (one, other) in [("swa_qk_rope_head_dim", "qk_rope_head_dim"), ("swa_q_lora_rank", "q_lora_rank")] {
        let (found, expected) = (config.count(one)?, config.count(other)?);
        if found != expected {
            return Err(config.unsupported(one).expected(format!("{other}, {expected}")).found(found));
        }
    }
    Ok(true)
}

const SLIDING: [&str; 2] = ["swa_qk_nope_head_dim", "swa_qk_rope_head_dim"];

/// Whether a layer attends within a window; one that predicts does.
fn slides(params: &Params<'_>, layer: u32) -> Result<bool> {
    let kinds = params.config.texts("layer_types")?.unwrap_or_default();
    let predicts = u64::from(layer) >= params.size("main", 0)?;
    Ok(predicts || kinds.get(layer as usize) == Some(&"sliding_attention"))
}

const SLIDES: Layers = Layers::When(slides);
const FULL: Layers = Layers::When(|params, layer| slides(params, layer).map(|slides| !slides));

/// Whether a layer has experts: those after the leading dense ones, but none that predicts.
fn has_experts(params: &Params<'_>, layer: u32) -> Result<bool> {
    Ok((params.size("dense", 0)?..params.size("main", 0)?).contains(&u64::from(layer)))
}

const SPARSE: Layers = Layers::When(has_experts);
const DENSE: Layers = Layers::When(|params, layer| has_experts(params, layer).map(|has| !has));
const SHARED: Need = Need::IfSet("n_shared_experts");
const MTP: Layers = Layers::From("main");

/// One value for each layer but those that predict.
fn of_layers<T>(params: &Params<'_>, of: impl Fn(u32) -> Result<T>) -> Result<Vec<T>> {
    (0..params.count("main", 0)?).map(of).collect()
}

const KEYS: &[Key] = &[
    make("attention.head_count", |params| {
        let all = (0..params.count("l", 0)?).map(|layer| params.count("lh", layer).map(|n| n as i32));
        Ok(Some(Said::Array(Array::I32(all.collect::<Result<_>>()?))))
    }),
    count("attention.sliding_window", &["sliding_window_size"]).must(),
    make("attention.sliding_window_pattern", |params| {
        Ok(Some(Said::Array(Array::Bool(of_layers(params, |layer| slides(params, layer))?))))
    }),
    size("attention.kv_lora_rank_swa", "sr"),
    size("attention.key_length_swa", "slatent"),
    size("attention.value_length_swa", "sr"),
    size("attention.key_length_mla_swa", "sk_whole"),
    size("attention.value_length_mla_swa", "sv"),
    make("nextn_predict_layers", mtp::some),
    dsa::HEADS,
    dsa::WIDTH,
    dsa::CHOSEN,
    make("attention.indexer.types", |params| {
        let all = of_layers(params, |layer| slides(params, layer).map(|slides| !slides))?;
        Ok(Some(Said::Array(Array::Bool(all))))
    }),
];

/// The size of an axis for layers of one sort, or of the other.
fn by_sort(params: &Params<'_>, layer: u32, [full, sliding]: [&'static str; 2]) -> Result<u64> {
    params.size(if slides(params, layer)? { sliding } else { full }, layer)
}

const AXES: &[Axis] = &[
    axis("main", Size::Of(&["num_hidden_layers"])),
    axis("mtp", Size::Make(mtp::held)),
    axis("l", Size::Add("main", "mtp")),
    axis("ih", Size::Of(&["index_n_heads"])),
    axis("i", Size::Of(&["index_head_dim"])),
    axis("sh", Size::Of(&["swa_num_attention_heads"])),
    axis("sk", Size::Of(&["swa_qk_nope_head_dim"])),
    axis("sv", Size::Of(&["swa_v_head_dim"])),
    axis("sr", Size::Of(&["swa_kv_lora_rank"])),
    axis("sk_whole", Size::Add("sk", "rope")),
    axis("slatent", Size::Add("sr", "rope")),
    axis("lh", Size::Make(|params, layer| by_sort(params, layer, ["h", "sh"]))),
    axis("lk", Size::Make(|params, layer| by_sort(params, layer, ["k", "sk"]))),
    axis("lv", Size::Make(|params, layer| by_sort(params, layer, ["v", "sv"]))),
    axis("lr", Size::Make(|params, layer| by_sort(params, layer, ["r", "sr"]))),
    axis("lk_whole", Size::Make(|params, layer| by_sort(params, layer, ["k_whole", "sk_whole"]))),
    axis("llatent", Size::Make(|params, layer| by_sort(params, layer, ["latent", "slatent"]))),
];

/// What the trainer multiplies what comes out of a norm of low rank with, if it does.
fn rescaled(params: &Params<'_>, rank: &'static str) -> Result<Vec<Factor>> {
    let by = (params.size("n", 0)? as f64 / params.size(rank, 0)? as f64).sqrt();
    Ok(if params.config.flag("apply_mla_qkv_lora_rescale")? { vec![all(by)] } else { Vec::new() })
}

const OF_QUERIES: Times =
    Times { name: "w * sqrt(hidden_size / q_lora_rank)", factors: |params, _| rescaled(params, "qr") };
const OF_KEYS: Times =
    Times { name: "w * sqrt(hidden_size / kv_lora_rank)", factors: |params, _| rescaled(params, "r") };
const OF_SLIDING_KEYS: Times =
    Times { name: "w * sqrt(hidden_size / swa_kv_lora_rank)", factors: |params, _| rescaled(params, "sr") };

const KV_NORM: Rule =
    rule(&["layers.{l}.self_attn.kv_a_layernorm.weight"], &["blk.{l}.attn_kv_a_norm.weight"], "lr");

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_a_layernorm.weight"], &["blk.{l}.attn_q_a_norm.weight"], "qr")
        .value(Value::Times(&OF_QUERIES)),
    rule(&["layers.{l}.self_attn.q_b_proj.weight"], &["blk.{l}.attn_q_b.weight"], "(lh lk_whole) qr"),
    rule(&["layers.{l}.self_attn.kv_a_proj_with_mqa.weight"], &["blk.{l}.attn_kv_a_mqa.weight"], "llatent n"),
    KV_NORM.value(Value::Times(&OF_KEYS)).layers(FULL),
    KV_NORM.value(Value::Times(&OF_SLIDING_KEYS)).layers(SLIDES),
    rule(
        &["layers.{l}.self_attn.kv_b_proj.weight"],
        &["blk.{l}.attn_k_b.weight", "blk.{l}.attn_v_b.weight"],
        "(lh [lk|lv]) lr -> lh lr lk ; lh lv lr",
    ),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (lh lv)"),
    rule(&["layers.{l}.self_attn.k_rope_only_layernorm.weight"], &["blk.{l}.attn_k_norm.weight"], "rope"),
    rule(&["layers.{l}.self_attn.g_proj.weight"], &["blk.{l}.attn_gate.weight"], "lh n"),
];

const PREDICTS: &[Rule] = &[
    rule(&["layers.{l}.eh_proj.weight"], &["blk.{l}.nextn.eh_proj.weight"], "n (two m)").layers(MTP),
    rule(&["layers.{l}.embed_tokens.weight"], &["blk.{l}.nextn.embed_tokens.weight"], "vocab n").layers(MTP),
    rule(&["layers.{l}.enorm.weight"], &["blk.{l}.nextn.enorm.weight"], "n").layers(MTP),
    rule(&["layers.{l}.hnorm.weight"], &["blk.{l}.nextn.hnorm.weight"], "n").layers(MTP),
    rule(&["layers.{l}.shared_head.norm.weight"], &["blk.{l}.nextn.shared_head_norm.weight"], "n")
        .layers(MTP),
];
