//! Gemma 4: layers that attend to all have wider heads than those with a window, and fewer of keys; the last ones may take
//! over the keys of earlier ones; embeddings for each layer, or experts beside the feed-forward.
//! Specification: `Gemma4Model` of llama.cpp's converter.

use super::gemma3::GEMMA3;
use super::qwen_vl::SEEING;
use super::told::{Keys, Told, some};
use super::{Arch, Made, NONE, windows};
use crate::arch::back;
use crate::arch::keys::{Absent, From, Key, count, make, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rope::Rope;
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Array, Model, Result, Value};
use serde_json::json;

pub const GEMMA4: Arch = Arch {
    classes: &["Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"],
    gguf: "gemma4",
    regains,
    base: Some(&GEMMA3),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: SEEING,
    made: &[Made { name: "rope_freqs.weight", row: None, values: turning }],
    ..NONE
};

/// A draft of Gemma 4, which has its target's keys and values alone, and is told what the target made of the last token.
pub const ASSISTANT: Arch = Arch {
    classes: &["Gemma4AssistantForCausalLM", "Gemma4UnifiedAssistantForCausalLM"],
    gguf: "gemma4-assistant",
    base: Some(&GEMMA4),
    keys: &[
        count("embedding_length_out", &["backbone_hidden_size"]).must(),
        size("nextn_predict_layers", "l"),
    ],
    axes: &[axis("target", Size::Of(&["backbone_hidden_size"])), axis("rows", Size::Same("vocab"))],
    rules: &[
        rule(&["^pre_projection.weight"], &["nextn.pre_projection.weight"], "n (two target)"),
        rule(&["^post_projection.weight"], &["nextn.post_projection.weight"], "target n"),
    ],
    without: &["output.weight"],
    ignored: &["*lm_head.weight", "masked_embedding.*"],
    ..NONE
};

/// What a GGUF says of layers of two kinds, and of those that take over keys.
fn regains(model: &Model, layers: u32) -> Keys {
    const GROUPS: &str = "attention.head_count_kv";
    const WIDTH: &str = "feed_forward_length";
    let told = Told::of(model, layers);
    let slides = |layer: u32| told.flag("attention.sliding_window_pattern", layer);
    let groups = |layer: Option<u32>| told.at(GROUPS, layer?).map(|n| json!(n));
    let takes_keys = |layer: u32| told.has("attn_k.weight", layer) && !told.has("attn_v.weight", layer);
    let full = told.first(|layer| !slides(layer));
    let pairs = told.whole("rope_freqs.weight").and_then(|tensor| back::values(tensor).ok());
    let turning = pairs.map(|all| all.iter().filter(|x| **x == 1.0).count() as f64 / all.len().max(1) as f64);
    let ropes = json!({
        "full_attention": {"rope_type": "proportional", "rope_theta": told.json("rope.freq_base"),
            "partial_rotary_factor": turning},
        "sliding_attention": {"rope_type": "default", "rope_theta": told.json("rope.freq_base_swa")},
    });
    some([
        ("layer_types", Some(told.windows())),
        ("rope_parameters", Some(ropes)),
        ("global_head_dim", told.json("attention.key_length")),
        ("num_key_value_heads", groups(told.first(slides).or(full))),
        ("num_global_key_value_heads", groups(full.filter(|_| told.is_list(GROUPS)))),
        ("intermediate_size", told.at(WIDTH, 0).map(|n| json!(n))),
        ("use_double_wide_mlp", Some(json!(told.is_list(WIDTH)))),
        ("num_kv_shared_layers", told.json("attention.shared_kv_layers")),
        ("hidden_size_per_layer_input", told.json("embedding_length_per_layer_input")),
        ("num_experts", told.json("expert_count")),
        ("top_k_experts", told.json("expert_used_count")),
        ("moe_intermediate_size", told.json("expert_feed_forward_length")),
        ("attention_k_eq_v", Some(json!(told.first(takes_keys).is_some()))),
    ])
}

const KEYS: &[Key] = &[
    make("feed_forward_length", |params| per_layer(params, "ff")),
    make("attention.head_count_kv", |params| per_layer(params, "g")),
    Key { gguf: "rope", from: From::Rope(&["default", "linear", "proportional"]), absent: Absent::Omit },
    make("attention.key_length", |params| whole_head(params).map(|d| Some(Value::U32(d as u32)))),
    make("attention.value_length", |params| whole_head(params).map(|d| Some(Value::U32(d as u32)))),
    make("attention.shared_kv_layers", |params| {
        Ok(Some(Value::U32(params.config.whole_at("num_kv_shared_layers", 0)?.unwrap_or(0))))
    }),
    make("embedding_length_per_layer_input", |params| Ok(Some(Value::U32(params.count("pl", 0)?)))),
    make("attention.sliding_window_pattern", |params| {
        Ok(Some(Value::Array(Array::Bool(windows::layers(params, is_windowed)?))))
    }),
    count("attention.key_length_swa", &["head_dim"]).must(),
    count("attention.value_length_swa", &["head_dim"]).must(),
    count("expert_feed_forward_length", &["expert_intermediate_size", "moe_intermediate_size"]),
    make("rope.dimension_count", |params| whole_head(params).map(|d| Some(Value::U32(d as u32)))),
    size("rope.dimension_count_swa", "head"),
];

/// Every sixth layer attends to all.
fn is_windowed(layer: u32) -> bool {
    !(layer + 1).is_multiple_of(6)
}

fn attends_to_all(params: &Params<'_>, layer: u32) -> Result<bool> {
    Ok(windows::layers(params, is_windowed)?.get(layer as usize) == Some(&false))
}

/// A number of the layers that attend to all: of the whole config, or of the first such layer that says one.
fn of_whole(params: &Params<'_>, whole: &str, key: &str) -> Result<Option<u64>> {
    if let Some(n) = params.config.optional_count(whole)? {
        return Ok(Some(n.into()));
    }
    let told = params.config.get("per_layer_config").and_then(|v| v.as_object());
    for (layer, own) in told.into_iter().flatten() {
        let (Ok(layer), Some(n)) = (layer.parse(), own.get(key).and_then(|v| v.as_u64())) else { continue };
        if attends_to_all(params, layer)? {
            return Ok(Some(n));
        }
    }
    Ok(None)
}

/// The size of a head that attends to all.
fn whole_head(params: &Params<'_>) -> Result<u64> {
    let missing = || params.config.missing("global_head_dim", "the size of a head that attends to all");
    of_whole(params, "global_head_dim", "head_dim")?.ok_or_else(missing)
}

/// The size of an axis, or one for each layer if they differ or the config tells two.
fn per_layer(params: &Params<'_>, axis: &str) -> Result<Option<Value>> {
    let sizes: Result<Vec<u64>> = (0..params.count("l", 0)?).map(|layer| params.size(axis, layer)).collect();
    let sizes = sizes?;
    let listed = match axis {
        "ff" => params.config.flag("use_double_wide_mlp")?,
        _ => of_whole(params, "num_global_key_value_heads", "num_key_value_heads")?.is_some(),
    };
    match sizes.first() {
        Some(first) if !listed => Ok(Some(Value::U32(*first as u32))),
        _ => Ok(Some(Value::Array(Array::I32(sizes.iter().map(|n| *n as i32).collect())))),
    }
}

/// The pairs of a wide head that turn, and those that do not: they are stretched beyond any context.
pub fn turning(params: &Params<'_>) -> Result<Option<Vec<f32>>> {
    let half = whole_head(params)? / 2;
    let share = Rope::read(params.config)?.partial()?.map_or(0.25, |(share, _, _)| share);
    let turn = ((2 * half) as f64 * share / 2.0) as u64;
    Ok(Some((0..half).map(|pair| if pair < turn { 1.0 } else { 1e30 }).collect()))
}

/// The first layer that takes over keys and values.
fn own_keys(params: &Params<'_>, layer: u32) -> Result<bool> {
    let shared = params.config.whole_at("num_kv_shared_layers", 0)?.unwrap_or(0);
    Ok(u64::from(layer) + u64::from(shared) < params.size("l", 0)?)
}

const AXES: &[Axis] = &[
    axis("head", Size::Of(&["head_dim"])),
    axis(
        "d",
        Size::Make(|params, layer| {
            if attends_to_all(params, layer)? { whole_head(params) } else { params.size("head", layer) }
        }),
    ),
    axis(
        "g",
        Size::Make(|params, layer| {
            let own = params.config.count("num_key_value_heads")?.into();
            let whole = of_whole(params, "num_global_key_value_heads", "num_key_value_heads")?;
            Ok(whole.filter(|_| attends_to_all(params, layer).unwrap_or(false)).unwrap_or(own))
        }),
    ),
    axis(
        "ff",
        Size::Make(|params, layer| {
            let n = u64::from(params.config.count("intermediate_size")?);
            let double = params.config.flag("use_double_wide_mlp")? && !own_keys(params, layer)?;
            Ok(if double { 2 * n } else { n })
        }),
    ),
    axis(
        "pl",
        Size::Make(|params, _| {
            Ok(params.config.whole_at("hidden_size_per_layer_input", 0)?.unwrap_or(0).into())
        }),
    ),
    axis("rows", Size::Or(&["vocab_size_per_layer_input"], &Size::Same("vocab"))),
    axis("one", Size::Is(1)),
];

const OWN_KEYS: Layers = Layers::When(own_keys);
/// In some models the layers that attend to all take their keys for values.
const OWN_VALUES: Layers = Layers::When(|params, layer| {
    let same = params.config.flag("attention_k_eq_v")? && attends_to_all(params, layer)?;
    Ok(!same && own_keys(params, layer)?)
});
const BY_LAYER: Layers = Layers::When(|params, layer| Ok(params.size("pl", layer)? > 0));
const SPARSE: Need = Need::If("enable_moe_block");
const BIASED: Need = Need::If("attention_bias");

const RULES: &[Rule] = &[
    rule(&["embed_tokens_per_layer.weight"], &["per_layer_token_embd.weight"], "rows (l pl)")
        .layers(BY_LAYER),
    rule(&["per_layer_model_projection.weight"], &["per_layer_model_proj.weight"], "(l pl) n")
        .layers(BY_LAYER),
    rule(&["per_layer_projection_norm.weight"], &["per_layer_proj_norm.weight"], "pl").layers(BY_LAYER),
    rule(&["norm.weight"], &["output_norm.weight"], "n"),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "d"),
    rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "d").layers(OWN_KEYS),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n")
        .bias(BIASED)
        .layers(OWN_KEYS),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n")
        .bias(BIASED)
        .layers(OWN_VALUES),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n"),
    rule(&["layers.{l}.pre_feedforward_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.post_feedforward_layernorm.weight"], &["blk.{l}.post_ffw_norm.weight"], "n"),
    rule(&["layers.{l}.layer_scalar"], &["blk.{l}.layer_output_scale.weight"], "one"),
    rule(&["layers.{l}.per_layer_input_gate.weight"], &["blk.{l}.inp_gate.weight"], "pl n").layers(BY_LAYER),
    rule(&["layers.{l}.per_layer_projection.weight"], &["blk.{l}.proj.weight"], "n pl").layers(BY_LAYER),
    rule(&["layers.{l}.post_per_layer_input_norm.weight"], &["blk.{l}.post_norm.weight"], "n")
        .layers(BY_LAYER),
    rule(&["layers.{l}.pre_feedforward_layernorm_2.weight"], &["blk.{l}.pre_ffw_norm_2.weight"], "n")
        .need(SPARSE),
    rule(&["layers.{l}.post_feedforward_layernorm_1.weight"], &["blk.{l}.post_ffw_norm_1.weight"], "n")
        .need(SPARSE),
    rule(&["layers.{l}.post_feedforward_layernorm_2.weight"], &["blk.{l}.post_ffw_norm_2.weight"], "n")
        .need(SPARSE),
    rule(&["layers.{l}.router.proj.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n").need(SPARSE),
    rule(&["layers.{l}.router.scale"], &["blk.{l}.ffn_gate_inp.scale"], "n").need(SPARSE),
    rule(&["layers.{l}.router.per_expert_scale"], &["blk.{l}.ffn_down_exps.scale"], "e").need(SPARSE),
    rule(&["layers.{l}.experts.gate_up_proj"], &["blk.{l}.ffn_gate_up_exps.weight"], "e (two eff) n")
        .need(SPARSE),
    rule(&["layers.{l}.experts.down_proj"], &["blk.{l}.ffn_down_exps.weight"], "e n eff").need(SPARSE),
];
