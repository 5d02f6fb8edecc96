//! Models of which some layers attend and the others remember in a state of Mamba 2: Granite 4, Bamba. Granite 4 without
//! such a state is a Granite 3.
//! Specification: `GraniteHybridModel` of llama.cpp's converter.

use super::granite::{self, GRANITE, GRANITE_MOE};
use super::told::{Keys, Told};
use super::{Arch, NONE, mamba};
use crate::arch::config::Config;
use crate::arch::keys::{Fixed, Key, count, is, make, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Array, Model, Result, Value};
use serde_json::Value as Json;

pub const GRANITE_HYBRID: Arch = Arch {
    classes: HYBRID_CLASSES,
    gguf: "granitehybrid",
    regains: kinds,
    applies: Some(remembers),
    base: Some(&GRANITE_MOE),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[&mamba::mixer(STATE, &mamba::AMONG_OTHERS), ATTENTION],
    ..NONE
};

pub const GRANITE4: Arch = Arch {
    classes: HYBRID_CLASSES,
    gguf: "granite",
    regains: kinds,
    applies: Some(|config| {
        Ok(!remembers(config)? && config.whole_at("num_local_experts", 0)?.unwrap_or(0) == 0)
    }),
    base: Some(&GRANITE),
    keys: ATTENDING,
    axes: AXES,
    rules: PLAIN,
    ..NONE
};

pub const GRANITE4_MOE: Arch = Arch {
    classes: HYBRID_CLASSES,
    gguf: "granitemoe",
    regains: kinds,
    base: Some(&GRANITE_MOE),
    keys: ATTENDING,
    axes: AXES,
    ..NONE
};

/// Granite 4, and what hears with one.
const HYBRID_CLASSES: &[&str] = &[
    "GraniteMoeHybridForCausalLM",
    "GraniteSpeechForConditionalGeneration",
    "GraniteSpeechPlusForConditionalGeneration",
];

pub const BAMBA: Arch = Arch {
    classes: &["BambaForCausalLM"],
    gguf: "granitehybrid",
    regains: attending,
    base: Some(&GRANITE),
    keys: BAMBA_KEYS,
    axes: AXES,
    rules: BAMBA_RULES,
    shares: &[&mamba::mixer(STATE, &mamba::AMONG_OTHERS), ATTENTION],
    ..NONE
};

const KEYS: &[Key] = &[
    is("context_length", Fixed::Count(1 << 20)),
    make("attention.head_count_kv", heads),
    count("expert_count", &["num_local_experts"]),
    make("expert_used_count", |params| Ok(params.config.whole_at("num_experts_per_tok", 0)?.map(Value::U32))),
    size("ssm.conv_kernel", "conv"),
    size("ssm.state_size", "state"),
    size("ssm.group_count", "groups"),
    size("ssm.inner_size", "inner"),
    size("ssm.time_step_rank", "heads"),
    is("rope.scaling.finetuned", Fixed::Flag(false)),
];

/// Of a model that only attends: what it says of states that it does not have is written all the same.
const ATTENDING: &[Key] = &[
    make("attention.head_count_kv", heads),
    count("expert_count", &["num_local_experts"]),
    make("expert_used_count", |params| Ok(params.config.whole_at("num_experts_per_tok", 0)?.map(Value::U32))),
    granite::SHARED_WIDTH,
    size("ssm.conv_kernel", "conv"),
    size("ssm.state_size", "state"),
    size("ssm.group_count", "groups"),
    size("ssm.inner_size", "inner"),
    size("ssm.time_step_rank", "heads"),
    is("rope.scaling.finetuned", Fixed::Flag(true)),
];

const BAMBA_KEYS: &[Key] = &[
    make("attention.head_count_kv", heads),
    make("rope.dimension_count", |params| {
        let told = params.config.optional_count("attn_rotary_emb")?;
        told.map_or_else(|| params.count("d", 0), Ok).map(|n| Some(n.into()))
    }),
    size("ssm.conv_kernel", "conv"),
    size("ssm.state_size", "state"),
    size("ssm.group_count", "groups"),
    size("ssm.inner_size", "inner"),
    size("ssm.time_step_rank", "heads"),
    is("rope.scaling.finetuned", Fixed::Flag(true)),
];

const AXES: &[Axis] = &[
    axis("expand", Size::Or(&["mamba_expand", "expand"], &Size::Is(2))),
    axis("inner", Size::Mul("expand", "n")),
    axis("state", Size::Of(&["mamba_d_state"])),
    axis("heads", Size::Of(&["mamba_n_heads"])),
    axis("groups", Size::Of(&["mamba_n_groups"])),
    axis("group", Size::Div("inner", "groups")).or("inner", "a multiple of {groups} groups"),
    axis("conv", Size::Of(&["mamba_d_conv"])),
    axis("shared", Size::Or(&["shared_intermediate_size"], &Size::Same("ff"))),
    EXPERTS,
];

/// None, in a dense model.
const EXPERTS: Axis = axis(
    "e",
    Size::Make(|params, _| Ok(params.config.whole_at("num_local_experts", 0)?.unwrap_or(0).into())),
);

/// A tensor that only layers that attend have.
const QUERIES: &str = "attn_q.weight";

/// The kinds of the layers of a GGUF.
fn kinds(model: &Model, layers: u32) -> Keys {
    let told = Told::of(model, layers);
    vec![("layer_types", told.words(|layer| told.has(QUERIES, layer), ["attention", "mamba"]))]
}

/// The layers of a GGUF that attend, as Bamba counts them.
fn attending(model: &Model, layers: u32) -> Keys {
    let told = Told::of(model, layers);
    let those = (0..layers).filter(|layer| told.has(QUERIES, *layer)).map(Json::from);
    vec![("attn_layer_indices", those.collect())]
}

/// Whether a layer attends.
fn attends(config: &Config, layer: u32) -> Result<bool> {
    if let Some(kinds) = config.texts("layer_types")? {
        return Ok(kinds
            .get(layer as usize)
            .is_some_and(|kind| ["attention", "full_attention"].contains(kind)));
    }
    if let Some(listed) = config.get("attn_layer_indices").and_then(|v| v.as_array()) {
        return Ok(listed.iter().any(|n| n.as_u64() == Some(layer.into())));
    }
    let (period, offset) =
        (config.optional_count("attn_layer_period")?, config.whole_at("attn_layer_offset", 0)?);
    Ok(period.zip(offset).is_some_and(|(period, offset)| layer % period == offset))
}

/// Whether some layer does not attend.
fn remembers(config: &Config) -> Result<bool> {
    for layer in 0..config.count("num_hidden_layers")? {
        if !attends(config, layer)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The heads of keys and values of each layer; none of those that do not attend.
fn heads(params: &Params<'_>) -> Result<Option<Value>> {
    let of = |layer: u32| Ok(if attends(params.config, layer)? { params.count("g", 0)? as i32 } else { 0 });
    let all: Result<Vec<i32>> = (0..params.count("l", 0)?).map(of).collect();
    Ok(Some(Value::Array(Array::I32(all?))))
}

const FULL: Layers = Layers::When(|params, layer| attends(params.config, layer));
const STATE: Layers = Layers::When(|params, layer| attends(params.config, layer).map(|attends| !attends));

const ATTENTION: &[Rule] = &[
    rule(
        &["layers.{l}.self_attn.q_proj.weight"],
        &["blk.{l}.attn_q.weight"],
        "(h two pair) n -> (h pair two) n",
    )
    .bias(Need::If("attention_bias"))
    .layers(FULL),
    rule(
        &["layers.{l}.self_attn.k_proj.weight"],
        &["blk.{l}.attn_k.weight"],
        "(g two pair) n -> (g pair two) n",
    )
    .bias(Need::If("attention_bias"))
    .layers(FULL),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n")
        .bias(Need::If("attention_bias"))
        .layers(FULL),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)")
        .bias(Need::If("attention_bias"))
        .layers(FULL),
];

/// A dense model keeps its feed-forward under the name of the experts for all tokens.
const PLAIN: &[Rule] = &[
    rule(
        &["layers.{l}.shared_mlp.input_linear.weight"],
        &["blk.{l}.ffn_{gate|up}.weight"],
        "[shared|shared] n -> shared n ; shared n",
    )
    .layers(DENSE),
    rule(&["layers.{l}.shared_mlp.output_linear.weight"], &["blk.{l}.ffn_down.weight"], "n shared")
        .layers(DENSE),
];

const DENSE: Layers =
    Layers::When(|params, _| Ok(params.config.whole_at("num_local_experts", 0)?.unwrap_or(0) == 0));
const SPARSE: Layers =
    Layers::When(|params, _| Ok(params.config.whole_at("num_local_experts", 0)?.unwrap_or(0) > 0));

const RULES: &[Rule] = &[
    rule(&["layers.{l}.block_sparse_moe.router.layer.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n")
        .layers(SPARSE),
    rule(
        &["layers.{l}.block_sparse_moe.input_linear.weight"],
        &["blk.{l}.ffn_{gate|up}_exps.weight"],
        "e [ff|ff] n -> e ff n ; e ff n",
    )
    .layers(SPARSE),
    rule(&["layers.{l}.block_sparse_moe.output_linear.weight"], &["blk.{l}.ffn_down_exps.weight"], "e n ff")
        .layers(SPARSE),
    rule(
        &["layers.{l}.shared_mlp.input_linear.weight"],
        &["blk.{l}.ffn_{gate|up}_shexp.weight"],
        "[shared|shared] n -> shared n ; shared n",
    )
    .layers(SPARSE),
    rule(&["layers.{l}.shared_mlp.output_linear.weight"], &["blk.{l}.ffn_down_shexp.weight"], "n shared")
        .layers(SPARSE),
    rule(
        &["layers.{l}.shared_mlp.input_linear.weight"],
        &["blk.{l}.ffn_{gate|up}.weight"],
        "[shared|shared] n -> shared n ; shared n",
    )
    .layers(DENSE),
    rule(&["layers.{l}.shared_mlp.output_linear.weight"], &["blk.{l}.ffn_down.weight"], "n shared")
        .layers(DENSE),
];

const BAMBA_RULES: &[Rule] = &[
    rule(&["final_layernorm.weight"], &["output_norm.weight"], "n"),
    rule(&["layers.{l}.pre_ff_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.feed_forward.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n")
        .bias(Need::If("mlp_bias")),
    rule(&["layers.{l}.feed_forward.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n")
        .bias(Need::If("mlp_bias")),
    rule(&["layers.{l}.feed_forward.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff")
        .bias(Need::If("mlp_bias")),
];
