//! Qwen 3 Next and Qwen 3.5: three of four layers remember in a state (gated delta net) instead of attending, the others
//! gate what they attend to; norms multiply with 1 + w. Where there are more heads of values than of keys, Qwen 3.5's are
//! put in the order in which ggml repeats keys. A layer for predicting two tokens may follow.
//! Specification: `Qwen3NextModel`, `Qwen3_5TextModel`, `Qwen3_5MoeTextModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::qwen_vl::SEEING;
use super::{Arch, NONE, experts, mtp, partial, qwen_moe};
use crate::arch::keys::{Fixed, Key, count, make, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use crate::arch::values;
use ggraft_formats::{Array, Result, Value};

pub const QWEN35: Arch = Arch {
    classes: &[
        "Qwen3_5ForCausalLM",
        "Qwen3_5ForConditionalGeneration",
        "MiniCPMV4_6ForConditionalGeneration",
    ],
    gguf: "qwen35",
    base: Some(&HYBRID),
    keys: &[make("rope.dimension_sections", sections)],
    rules: TILED,
    ..NONE
};

pub const QWEN35_MOE: Arch = Arch {
    classes: &["Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"],
    gguf: "qwen35moe",
    base: Some(&HYBRID_MOE),
    keys: &[make("rope.dimension_sections", sections)],
    rules: TILED,
    ..NONE
};

pub const QWEN3_NEXT: Arch = Arch {
    classes: &["Qwen3NextForCausalLM"],
    gguf: "qwen3next",
    base: Some(&HYBRID_MOE),
    rules: GROUPED,
    ..NONE
};

const HYBRID: Arch = Arch {
    base: Some(&DECODER),
    renamed: mtp::RENAMED,
    published: mtp::PUBLISHED,
    prefixes: &["model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    without: &["blk.{l}.ffn_norm.weight"],
    ignored: SEEING,
    ..NONE
};

const HYBRID_MOE: Arch = Arch {
    base: Some(&HYBRID),
    shares: &[&experts::routed(Layers::All), &qwen_moe::shared(Layers::All)],
    without: experts::NO_DENSE,
    ..NONE
};

const KEYS: &[Key] = &[
    count("expert_feed_forward_length", &["moe_intermediate_size"]),
    count("expert_shared_feed_forward_length", &["shared_expert_intermediate_size"]),
    make("nextn_predict_layers", mtp::some),
    size("ssm.conv_kernel", "conv"),
    size("ssm.state_size", "kd"),
    size("ssm.group_count", "kh"),
    size("ssm.time_step_rank", "vh"),
    size("ssm.inner_size", "values"),
    make("attention.recurrent_layers", |params| {
        let all: Result<Vec<bool>> =
            (0..params.count("l", 0)?).map(|layer| LINEAR.hold(params, layer)).collect();
        Ok(Some(Value::Array(Array::Bool(all?))))
    }),
    count("full_attention_interval", &["full_attention_interval"]).or(Fixed::Count(4)),
    make("rope.dimension_count", partial::of_quarter_head),
];

/// The parts of a position, which the runtime must be told; where the config does not tell them they are the published.
fn sections(params: &Params<'_>) -> Result<Option<Value>> {
    let rope = params.config.get("rope_parameters").or_else(|| params.config.get("rope_scaling"));
    let told = rope.is_some_and(|rope| rope.get("mrope_section").is_some());
    Ok((!told).then(|| Value::Array(Array::I32(vec![11, 11, 10, 0]))))
}

const AXES: &[Axis] = &[
    axis("main", Size::Of(&["num_hidden_layers"])),
    axis("mtp", Size::Make(mtp::held)),
    axis("l", Size::Add("main", "mtp")),
    axis("conv", Size::Of(&["linear_conv_kernel_dim"])),
    axis("kh", Size::Of(&["linear_num_key_heads"])),
    axis("vh", Size::Of(&["linear_num_value_heads"])),
    axis("r", Size::Div("vh", "kh")).or("vh", "a multiple of {kh} heads of keys"),
    axis("kd", Size::Of(&["linear_key_head_dim"])),
    axis("vd", Size::Of(&["linear_value_head_dim"])),
    axis("values", Size::Mul("vh", "vd")),
    axis("shared", Size::Of(&["shared_expert_intermediate_size"])),
];

/// The layers that attend.
pub fn attends(params: &Params<'_>, layer: u32) -> Result<bool> {
    if u64::from(layer) >= params.size("main", 0)? {
        return Ok(true);
    }
    if let Some(kinds) = params.config.texts("layer_types")? {
        let kind = kinds.get(layer as usize);
        return Ok(kind.is_some_and(|kind| ["full_attention", "indexed_attention"].contains(kind)));
    }
    let every = params.config.optional_count("full_attention_interval")?.unwrap_or(4);
    Ok((layer + 1).is_multiple_of(every))
}

const FULL: Layers = Layers::When(attends);
const LINEAR: Layers = Layers::When(|params, layer| attends(params, layer).map(|attends| !attends));

const ONE: values::Value = values::Value::Plus(1.0);
const BIASED: Need = Need::If("attention_bias");

const RULES: &[Rule] = &[
    rule(&["norm.weight"], &["output_norm.weight"], "n").value(ONE),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").value(ONE),
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h two d) n")
        .bias(BIASED)
        .layers(FULL),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n")
        .bias(BIASED)
        .layers(FULL),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n")
        .bias(BIASED)
        .layers(FULL),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)")
        .bias(BIASED)
        .layers(FULL),
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "d")
        .value(ONE)
        .layers(FULL),
    rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "d")
        .value(ONE)
        .layers(FULL),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n")
        .value(ONE),
    rule(&["layers.{l}.linear_attn.norm.weight"], &["blk.{l}.ssm_norm.weight"], "vd").layers(LINEAR),
    rule(&["layers.{l}.eh_proj.weight"], &["blk.{l}.nextn.eh_proj.weight"], "n (two m)").layers(MTP),
    rule(&["layers.{l}.enorm.weight"], &["blk.{l}.nextn.enorm.weight"], "n").value(ONE).layers(MTP),
    rule(&["layers.{l}.hnorm.weight"], &["blk.{l}.nextn.hnorm.weight"], "n").value(ONE).layers(MTP),
    rule(&["layers.{l}.shared_head.norm.weight"], &["blk.{l}.nextn.shared_head_norm.weight"], "n")
        .value(ONE)
        .layers(MTP),
];

const MTP: Layers = Layers::From("main");

const TILED: &[Rule] = &[
    rule(
        &["layers.{l}.linear_attn.in_proj_qkv.weight"],
        &["blk.{l}.attn_qkv.weight"],
        "[(kh kd)|(kh kd)|(kh r vd)] n -> [(kh kd)|(kh kd)|(r kh vd)] n",
    )
    .layers(LINEAR),
    rule(
        &["layers.{l}.linear_attn.in_proj_z.weight"],
        &["blk.{l}.attn_gate.weight"],
        "(kh r vd) n -> (r kh vd) n",
    )
    .layers(LINEAR),
    rule(&["layers.{l}.linear_attn.in_proj_a.weight"], &["blk.{l}.ssm_alpha.weight"], "(kh r) n -> (r kh) n")
        .layers(LINEAR),
    rule(&["layers.{l}.linear_attn.in_proj_b.weight"], &["blk.{l}.ssm_beta.weight"], "(kh r) n -> (r kh) n")
        .layers(LINEAR),
    rule(&["layers.{l}.linear_attn.A_log"], &["blk.{l}.ssm_a"], "(kh r) -> (r kh)")
        .value(values::Value::NegExp)
        .layers(LINEAR),
    rule(&["layers.{l}.linear_attn.dt_bias"], &["blk.{l}.ssm_dt.bias"], "(kh r) -> (r kh)").layers(LINEAR),
    rule(
        &["layers.{l}.linear_attn.conv1d.weight"],
        &["blk.{l}.ssm_conv1d.weight"],
        "[(kh kd)|(kh kd)|(kh r vd)] 1 conv -> [(kh kd)|(kh kd)|(r kh vd)] conv",
    )
    .layers(LINEAR),
    rule(
        &["layers.{l}.linear_attn.out_proj.weight"],
        &["blk.{l}.ssm_out.weight"],
        "n (kh r vd) -> n (r kh vd)",
    )
    .layers(LINEAR),
];

const GROUPED: &[Rule] = &[
    rule(
        &["layers.{l}.linear_attn.in_proj_qkvz.weight"],
        &["blk.{l}.attn_qkv.weight", "blk.{l}.attn_gate.weight"],
        "(kh [kd|kd|(r vd)|(r vd)]) n -> [(kh kd)|(kh kd)|(kh r vd)] n ; (kh r vd) n",
    )
    .layers(LINEAR),
    rule(&["layers.{l}.linear_attn.in_proj_ba.weight"], &["blk.{l}.ssm_ba.weight"], "(two vh) n")
        .layers(LINEAR),
    rule(&["layers.{l}.linear_attn.A_log"], &["blk.{l}.ssm_a"], "vh")
        .value(values::Value::NegExp)
        .layers(LINEAR),
    rule(&["layers.{l}.linear_attn.dt_bias"], &["blk.{l}.ssm_dt.bias"], "vh").layers(LINEAR),
    rule(
        &["layers.{l}.linear_attn.conv1d.weight"],
        &["blk.{l}.ssm_conv1d.weight"],
        "[(kh kd)|(kh kd)|(kh r vd)] 1 conv -> [(kh kd)|(kh kd)|(kh r vd)] conv",
    )
    .layers(LINEAR),
    rule(&["layers.{l}.linear_attn.out_proj.weight"], &["blk.{l}.ssm_out.weight"], "n (vh vd)")
        .layers(LINEAR),
];
