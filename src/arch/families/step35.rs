//! Step 3.5 and 3.7: layers within a window have heads of their own number and rotate whole, the others half; a gate of each
//! head; experts that checkpoints keep stacked, and one that all tokens go to; norms multiply with 1 + w; layers for
//! predicting more tokens.
//! Specification: `Step35Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::told::{Keys, Told, some};
use super::{Arch, Made, NONE, mtp};
use crate::arch::back;
use crate::arch::keys::{Fixed, Key, count, flag, make, number, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rope::{self, Rope, Stretch};
use crate::arch::rule::{Layers, Rule, rule};
use crate::arch::values::Value;
use ggraft_formats::{Array, Model, Result, Value as Said};
use serde_json::{Value as Json, json};
use std::f64::consts::PI;
use std::ops::Range;

pub const STEP35: Arch = Arch {
    classes: &["Step3p5ForCausalLM", "Step3p7ForConditionalGeneration"],
    gguf: "step35",
    regains,
    base: Some(&DECODER),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    renamed: &[
        ("*.transformer.shared_head.norm.weight", "*.shared_head.norm.weight"),
        ("*.transformer.shared_head.output.weight", "*.shared_head.head.weight"),
    ],
    ignored: &[
        "vision_model.*",
        "model.vision_model.*",
        "vit_large_projector.*",
        "model.multi_modal_projector.*",
    ],
    made: &[Made { name: "rope_freqs.weight", row: None, values: factors }],
    ..NONE
};

const KEYS: &[Key] = &[
    make("attention.head_count", |params| each(params, |layer| params.count("h", layer))),
    make("attention.head_count_kv", |params| each(params, |layer| params.count("g", layer))),
    count("attention.sliding_window", &["sliding_window"]).must(),
    make("attention.sliding_window_pattern", |params| {
        let all = (0..params.count("l", 0)?).map(|layer| within_window(params, layer));
        Ok(Some(Said::Array(Array::Bool(all.collect::<Result<_>>()?))))
    }),
    size("attention.value_length", "d"),
    size("expert_count", "e"),
    count("expert_used_count", &["moe_top_k", "num_experts_per_tok"]).must(),
    size("expert_feed_forward_length", "eff"),
    size("expert_shared_feed_forward_length", "shared"),
    number("expert_weights_scale", &["moe_router_scaling_factor"]),
    flag("expert_weights_norm", &["norm_expert_weight"]),
    make("leading_dense_block_count", |params| {
        let first = (0..params.count("main", 0)?).map(|layer| is_sparse(params, layer));
        let sparse = first.collect::<Result<Vec<bool>>>()?;
        Ok(Some(Said::U32(sparse.iter().position(|sparse| *sparse).unwrap_or(0) as u32)))
    }),
    count("moe_every_n_layers", &["moe_every_n_layer"]).or(Fixed::Count(1)),
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]).or(Fixed::Number(1e-5)),
    make("swiglu_clamp_exp", |params| limits(params, "swiglu_limits")),
    make("swiglu_clamp_shexp", |params| limits(params, "swiglu_limits_shared")),
    make("nextn_predict_layers", mtp::some),
];

/// What a GGUF says of layers of two kinds, of experts and of limits.
fn regains(model: &Model, layers: u32) -> Keys {
    let told = Told::of(model, layers);
    let main = told.main();
    let slides = |layer: u32| told.flag("attention.sliding_window_pattern", layer);
    let number = |key: &str, layer: Option<u32>| told.at(key, layer?).map(|n| json!(n));
    let full = told.first(|layer| !slides(layer)).or(Some(0));
    let (heads, groups) = ("attention.head_count", "attention.head_count_kv");
    let within = told.first(slides).map(|layer| {
        json!({"attention_type": "sliding_attention", "num_attention_heads": number(heads, Some(layer)),
            "num_attention_groups": number(groups, Some(layer)), "head_dim": told.json("attention.key_length")})
    });
    let kinds = |of: Range<u32>| -> Json {
        of.map(|layer| json!(if slides(layer) { "sliding_attention" } else { "full_attention" })).collect()
    };
    let sparse = (0..main).filter(|layer| told.has("ffn_gate_inp.weight", *layer));
    let listed: Vec<String> = sparse.map(|layer| layer.to_string()).collect();
    let limits = |key: &str| {
        let all = told.json(key)?;
        let one = |x: &Json| if x.as_f64() == Some(0.0) { Json::Null } else { x.clone() };
        Some(all.as_array()?.iter().take(main as usize).map(one).collect())
    };
    some([
        ("num_hidden_layers", Some(json!(main))),
        ("layer_types", Some(kinds(0..main))),
        ("mtp_layer_types", (main < layers).then(|| kinds(main..layers))),
        ("num_attention_heads", number(heads, full)),
        ("num_attention_groups", number(groups, full)),
        ("attention_other_setting", within),
        ("moe_layers_enum", Some(json!(listed.join(",")))),
        ("swiglu_limits", limits("swiglu_clamp_exp")),
        ("swiglu_limits_shared", limits("swiglu_clamp_shexp")),
        ("rope_scaling", scaling(&told)),
    ])
}

/// How wavelengths are stretched, by the factors of the half of a head that rotates.
fn scaling(told: &Told<'_>) -> Option<Json> {
    let all = back::values(told.whole("rope_freqs.weight")?).ok()?;
    let theta = told.get("rope.freq_base")?.as_f64()?;
    let found = rope::stretch_of(theta, all.get(..all.len() / 2)?, factor)?;
    Some(json!({"rope_type": "llama3", "factor": found.factor, "low_freq_factor": found.low,
        "high_freq_factor": found.high, "original_max_position_embeddings": found.original as u64}))
}

/// A number of every layer.
fn each(params: &Params<'_>, of: impl Fn(u32) -> Result<u32>) -> Result<Option<Said>> {
    let all = (0..params.count("l", 0)?).map(|layer| of(layer).map(|n| n as i32));
    Ok(Some(Said::Array(Array::I32(all.collect::<Result<_>>()?))))
}

/// Where gate and up are cut in each layer, none being zero.
fn limits(params: &Params<'_>, key: &str) -> Result<Option<Said>> {
    let Some(told) = params.config.get(key) else { return Ok(None) };
    let wrong = || params.config.wrong(key, "a number or null for each layer");
    let of = |x: &serde_json::Value| if x.is_null() { Some(0.0) } else { x.as_f64().map(|x| x as f32) };
    let all: Option<Vec<f32>> = told.as_array().and_then(|all| all.iter().map(of).collect());
    let mut all = all.ok_or_else(wrong)?;
    all.resize(params.count("l", 0)? as usize, 0.0);
    Ok(Some(Said::Array(Array::F32(all))))
}

const AXES: &[Axis] = &[
    axis("main", Size::Of(&["num_hidden_layers"])),
    axis("mtp", Size::Make(mtp::held)),
    axis("l", Size::Add("main", "mtp")),
    axis(
        "h",
        Size::Make(|params, layer| {
            heads(params, layer, &["num_attention_heads"], "num_sliding_attention_heads")
        }),
    ),
    axis(
        "g",
        Size::Make(|params, layer| {
            heads(params, layer, &["num_attention_groups", "num_key_value_heads"], "")
        }),
    ),
    axis("e", Size::Of(&["moe_num_experts", "n_routed_experts"])),
    axis("eff", Size::Of(&["moe_intermediate_size"])),
    axis("shared", Size::Of(&["share_expert_dim", "share_expert_dims"])),
];

/// Whether a layer attends within a window; those that the config does not list do not.
fn within_window(params: &Params<'_>, layer: u32) -> Result<bool> {
    let main = params.count("main", 0)?;
    let listed = params.config.texts("layer_types")?.unwrap_or_default();
    let own = listed.get(layer as usize).copied();
    let later = || -> Result<Option<&str>> {
        let beyond = params.config.texts("mtp_layer_types")?.unwrap_or_default();
        Ok(layer.checked_sub(main).and_then(|at| beyond.get(at as usize).copied()))
    };
    Ok(own.map_or_else(later, |own| Ok(Some(own)))? == Some("sliding_attention"))
}

/// The number of heads of a layer, which those within a window may have told apart.
fn heads(params: &Params<'_>, layer: u32, keys: &[&'static str], sliding: &'static str) -> Result<u64> {
    let config = params.config;
    if within_window(params, layer)? {
        let other = config.section("attention_other_setting")?;
        let key = other.as_ref().and_then(|other| Some((other, other.first(keys)?)));
        if let Some((other, key)) = key {
            return other.count(key).map(u64::from);
        }
        if config.get(sliding).is_some() {
            return config.count(sliding).map(u64::from);
        }
    }
    config.count(config.first(keys).unwrap_or(keys[0])).map(u64::from)
}

/// Whether a layer has experts: those that the config lists by number, or by word.
fn is_sparse(params: &Params<'_>, layer: u32) -> Result<bool> {
    const LISTED: &str = "moe_layers_enum";
    let config = params.config;
    if let Some(listed) = config.get(LISTED).and_then(serde_json::Value::as_str) {
        let numbers: Option<Vec<u32>> = listed.split(',').map(|n| n.trim().parse().ok()).collect();
        let numbers =
            numbers.ok_or_else(|| config.wrong(LISTED, "numbers with commas between").found(listed))?;
        return Ok(numbers.contains(&layer));
    }
    let words = config.texts("mlp_layer_types")?.unwrap_or_default();
    Ok(words.get(layer as usize) == Some(&"sparse"))
}

const SPARSE: Layers = Layers::When(is_sparse);
const DENSE: Layers = Layers::When(|params, layer| is_sparse(params, layer).map(|sparse| !sparse));
const MTP: Layers = Layers::From("main");

/// By how much the wavelength of a frequency is stretched.
fn factor(frequency: f32, &Stretch { factor, low, high, original }: &Stretch) -> f32 {
    let wavelength = 2.0 * PI / f64::from(frequency);
    if wavelength < original / high {
        return 1.0;
    }
    if wavelength > original / low {
        return factor as f32;
    }
    let smooth = (original / wavelength - low) / (high - low);
    (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
}

/// By how much each wavelength of the half of a head that rotates is stretched; the other half, which rotates only within a
/// window, is not. Python computes them, in f64.
fn factors(params: &Params<'_>) -> Result<Option<Vec<f32>>> {
    let rope = Rope::read(params.config)?;
    let Some(("llama3", section, _)) = rope.kind()? else { return Ok(None) };
    let told = |key: &str, absent: f64| {
        Ok::<_, ggraft_formats::Error>(section.optional_number(key)?.unwrap_or(absent))
    };
    let stretch = Stretch {
        factor: told("factor", 8.0)?,
        low: told("low_freq_factor", 1.0)?,
        high: told("high_freq_factor", 4.0)?,
        original: told("original_max_position_embeddings", 8192.0)?,
    };
    let head = params.count("d", 0)?;
    let theta = rope.theta()?.unwrap_or(10000.0);
    let mut all: Vec<f32> = rope::frequencies(theta, head / 2).map(|f| factor(f, &stretch)).collect();
    all.resize(head as usize / 2, 1.0);
    Ok(Some(all))
}

const ONE: Value = Value::Plus(1.0);

const RULES: &[Rule] = &[
    rule(&["norm.weight"], &["output_norm.weight"], "n").value(ONE),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").value(ONE),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n").value(ONE),
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "d").value(ONE),
    rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "d").value(ONE),
    rule(&["layers.{l}.self_attn.g_proj.weight"], &["blk.{l}.attn_gate.weight"], "h n").may(),
    rule(&["layers.{l}.mlp.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n").layers(DENSE),
    rule(&["layers.{l}.mlp.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n").layers(DENSE),
    rule(&["layers.{l}.mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff").layers(DENSE),
    rule(&["layers.{l}.moe.gate.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n").layers(SPARSE),
    rule(&["layers.{l}.moe.router_bias"], &["blk.{l}.exp_probs_b.bias"], "e").may().layers(SPARSE),
    rule(&["layers.{l}.moe.gate_proj.weight"], &["blk.{l}.ffn_gate_exps.weight"], "e eff n").layers(SPARSE),
    rule(&["layers.{l}.moe.up_proj.weight"], &["blk.{l}.ffn_up_exps.weight"], "e eff n").layers(SPARSE),
    rule(&["layers.{l}.moe.down_proj.weight"], &["blk.{l}.ffn_down_exps.weight"], "e n eff").layers(SPARSE),
    rule(&["layers.{l}.share_expert.gate_proj.weight"], &["blk.{l}.ffn_gate_shexp.weight"], "shared n")
        .layers(SPARSE),
    rule(&["layers.{l}.share_expert.up_proj.weight"], &["blk.{l}.ffn_up_shexp.weight"], "shared n")
        .layers(SPARSE),
    rule(&["layers.{l}.share_expert.down_proj.weight"], &["blk.{l}.ffn_down_shexp.weight"], "n shared")
        .layers(SPARSE),
    rule(&["layers.{l}.eh_proj.weight"], &["blk.{l}.nextn.eh_proj.weight"], "n (two m)").layers(MTP),
    rule(&["layers.{l}.enorm.weight"], &["blk.{l}.nextn.enorm.weight"], "n").value(ONE).layers(MTP),
    rule(&["layers.{l}.hnorm.weight"], &["blk.{l}.nextn.hnorm.weight"], "n").value(ONE).layers(MTP),
    rule(&["layers.{l}.embed_tokens.weight"], &["blk.{l}.nextn.embed_tokens.weight"], "vocab n")
        .may()
        .layers(MTP),
    rule(&["layers.{l}.shared_head.head.weight"], &["blk.{l}.nextn.shared_head_head.weight"], "vocab n")
        .may()
        .layers(MTP),
    rule(&["layers.{l}.shared_head.norm.weight"], &["blk.{l}.nextn.shared_head_norm.weight"], "n")
        .value(ONE)
        .may()
        .layers(MTP),
];
