//! MiMo V2: layers within a window have heads of keys and values of their own number, and sinks; values are narrower than
//! keys; leading dense layers, then experts; layers for predicting more tokens, which the config does not count.
//! Specification: `MimoV2Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::experts;
use super::told::{Keys, Told, share, some};
use super::{Arch, NONE, mtp};
use crate::arch::keys::{Fixed, Key, count, make, number, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rope::Rope;
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Array, Model, Result, Value};
use serde_json::{Value as Json, json};

pub const MIMO2: Arch = Arch {
    classes: &["MiMoV2FlashForCausalLM", "MiMoV2ForCausalLM"],
    gguf: "mimo2",
    regains,
    base: Some(&DECODER),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[&experts::dense(DENSE), &experts::routed(SPARSE), &experts::correction(SPARSE), mtp::RULES],
    published: &[("model.mtp.layers.{l}.", "model.layers.{l+main}.")],
    ignored: &["visual.*", "audio_encoder.*", "*speech_embeddings.*"],
    ..NONE
};

const KEYS: &[Key] = &[
    make("attention.head_count_kv", |params| {
        let all = (0..params.count("l", 0)?).map(|layer| params.count("g", layer).map(|n| n as i32));
        Ok(Some(Value::Array(Array::I32(all.collect::<Result<_>>()?))))
    }),
    count("attention.sliding_window", &["sliding_window"]).must(),
    make("attention.sliding_window_pattern", |params| {
        let all = (0..params.count("l", 0)?).map(|layer| within_window(params, layer).map(i32::from));
        Ok(Some(Value::Array(Array::I32(all.collect::<Result<_>>()?))))
    }),
    size("attention.value_length", "v"),
    size("expert_count", "e"),
    size("expert_feed_forward_length", "eff"),
    make("rope.dimension_count", |params| {
        let rope = Rope::read(params.config)?;
        let share = rope.partial()?.map(|(share, _, _)| share);
        let share = share.ok_or_else(|| params.config.missing("partial_rotary_factor", "a number"))?;
        Ok(Some(Value::U32((params.size("d", 0)? as f64 * share) as u32)))
    }),
    positive("attention.layer_norm_rms_epsilon", &["layernorm_epsilon"]).or(Fixed::Number(1e-5)),
    number("attention.value_scale", &["attention_value_scale"]),
    make("nextn_predict_layers", mtp::some),
];

/// What a GGUF says of layers of two kinds.
fn regains(model: &Model, layers: u32) -> Keys {
    const GROUPS: &str = "attention.head_count_kv";
    let told = Told::of(model, layers);
    let main = told.main();
    let slides = |layer: u32| told.flag("attention.sliding_window_pattern", layer);
    let groups = |layer: Option<u32>| told.at(GROUPS, layer?).map(|n| json!(n));
    let of_main = |is: &dyn Fn(u32) -> bool| -> Json { (0..main).map(|l| json!(u8::from(is(l)))).collect() };
    let sinks = |within: bool| {
        Some(json!(told.first(|l| slides(l) == within && told.has("attn_sinks.weight", l)).is_some()))
    };
    let full = told.first(|layer| !slides(layer));
    let rotates = told.number("rope.dimension_count").zip(told.number("attention.key_length"));
    some([
        ("num_hidden_layers", Some(json!(main))),
        ("hybrid_layer_pattern", Some(of_main(&slides))),
        ("moe_layer_freq", Some(of_main(&|layer| told.has("ffn_gate_inp.weight", layer)))),
        ("num_key_value_heads", groups(full.or(Some(0)))),
        ("swa_num_key_value_heads", groups(told.first(slides).or(Some(0)))),
        ("add_swa_attention_sink_bias", sinks(true)),
        ("add_full_attention_sink_bias", sinks(false)),
        ("partial_rotary_factor", rotates.map(|(some, all)| json!(share(some, all)))),
    ])
}

/// The most layers for predicting more tokens that are published.
const MOST: u64 = 3;

/// How many of those layers the checkpoint holds.
fn held(params: &Params<'_>, _layer: u32) -> Result<u64> {
    let main = params.size("main", 0)?;
    let of = |i: &u64| {
        let starts = [format!("mtp.layers.{i}."), format!("layers.{}.", main + i)];
        params.counts(|name| starts.iter().any(|start| name.contains(start.as_str()))).is_none_or(|n| n > 0)
    };
    Ok((0..MOST).take_while(of).count() as u64)
}

/// Whether a layer attends within a window; those that predict more tokens do.
fn within_window(params: &Params<'_>, layer: u32) -> Result<bool> {
    if u64::from(layer) >= params.size("main", 0)? {
        return Ok(true);
    }
    Ok(params.config.whole_at("hybrid_layer_pattern", layer)? == Some(1))
}

/// Whether a layer has experts.
fn is_sparse(params: &Params<'_>, layer: u32) -> Result<bool> {
    Ok(u64::from(layer) < params.size("main", 0)?
        && params.config.whole_at("moe_layer_freq", layer)?.unwrap_or(0) > 0)
}

const SPARSE: Layers = Layers::When(is_sparse);
const DENSE: Layers = Layers::When(|params, layer| is_sparse(params, layer).map(|sparse| !sparse));

/// The layers whose heads have sinks.
const SINKS: Layers = Layers::When(|params, layer| {
    let key = match within_window(params, layer)? {
        true => "add_swa_attention_sink_bias",
        false => "add_full_attention_sink_bias",
    };
    Ok(u64::from(layer) < params.size("main", 0)? && params.config.flag(key)?)
});

const AXES: &[Axis] = &[
    axis("main", Size::Of(&["num_hidden_layers"])),
    axis("mtp", Size::Make(held)),
    axis("l", Size::Add("main", "mtp")),
    axis("d", Size::Of(&["head_dim"])),
    axis("v", Size::Of(&["v_head_dim"])),
    axis(
        "g",
        Size::Make(|params, layer| {
            let key =
                if within_window(params, layer)? { "swa_num_key_value_heads" } else { "num_key_value_heads" };
            params.config.count(key).map(u64::from)
        }),
    ),
];

/// Later models keep queries, keys and values in one.
const APART: Need = Need::Without("layers.{l}.self_attn.qkv_proj.weight");

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n").need(APART),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n").need(APART),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g v) n").need(APART),
    rule(
        &["layers.{l}.self_attn.qkv_proj.weight"],
        &["blk.{l}.attn_qkv.weight"],
        "[(h d)|(g d)|(g v)] n -> [(h d)|(g d)|(g v)] n",
    )
    .may(),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h v)"),
    rule(&["layers.{l}.self_attn.attention_sink_bias"], &["blk.{l}.attn_sinks.weight"], "h").layers(SINKS),
    rule(
        &["layers.{l}.post_attention_layernorm.weight", "layers.{l}.pre_mlp_layernorm.weight"],
        &["blk.{l}.ffn_norm.weight"],
        "n",
    ),
    rule(&["layers.{l}.final_layernorm.weight"], &["blk.{l}.layer_output_norm.weight"], "n")
        .layers(Layers::From("main")),
];
