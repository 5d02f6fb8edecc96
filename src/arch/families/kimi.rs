//! Kimi Linear: most layers remember in a state (Kimi delta attention), the others attend by a latent, as DeepSeek V2's do;
//! the first layer is dense, the others have experts.
//! Specification: `KimiLinearModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::experts::{DENSE, SPARSE};
use super::told::{Keys, Told, some};
use super::{Arch, NONE, experts};
use crate::arch::keys::{Key, count, make, number, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use crate::arch::values::Value;
use ggraft_formats::{Array, Result, Value as Said};
use serde_json::json;

pub const KIMI_LINEAR: Arch = Arch {
    classes: &["KimiLinearForCausalLM", "KimiLinearModel"],
    gguf: "kimi-linear",
    regains: |model, layers| states(&Told::of(model, layers)),
    base: Some(&DECODER),
    keys: KEYS,
    axes: AXES,
    rules: LATENT,
    shares: &[
        CONVOLVED,
        STATE,
        &experts::dense(DENSE),
        &experts::block_sparse(SPARSE),
        CORRECTION,
        &experts::block_shared(SPARSE, "(shared eff) n", "n (shared eff)"),
    ],
    ..NONE
};

const LINEAR: &str = "linear_attn_config";

/// A size of the layers that remember; transformers 5 calls it otherwise.
pub fn linear(params: &Params<'_>, key: &str, newer: &str) -> Result<u64> {
    if let Some(section) = params.config.section(LINEAR)? {
        return section.count(key).map(u64::from);
    }
    params.config.count(newer).map(u64::from)
}

/// What a GGUF says of layers that remember, in transformers' words.
pub fn states(told: &Told<'_>) -> Keys {
    let remembers = |layer: u32| told.has("ssm_a", layer);
    let heads = told.first(remembers).and_then(|layer| told.tensor("ssm_a", layer));
    some([
        ("layer_types", Some(told.words(remembers, ["linear_attention", "full_attention"]))),
        ("linear_head_dim", told.json("kda.head_dim")),
        ("linear_conv_kernel_dim", told.json("ssm.conv_kernel")),
        ("linear_num_heads", heads.map(|heads| json!(heads.shape().elements()))),
    ])
}

/// Whether a layer attends; the config counts layers from one.
fn attends(params: &Params<'_>, layer: u32) -> Result<bool> {
    if let Some(section) = params.config.section(LINEAR)? {
        let listed = section.get("full_attn_layers").and_then(|v| v.as_array());
        return Ok(listed.into_iter().flatten().any(|n| n.as_u64() == Some(u64::from(layer) + 1)));
    }
    let kinds = params.config.texts("layer_types")?.unwrap_or_default();
    Ok(kinds.get(layer as usize).is_some_and(|kind| *kind == "full_attention"))
}

pub const FULL: Layers = Layers::When(attends);
pub const REMEMBERS: Layers = Layers::When(|params, layer| attends(params, layer).map(|attends| !attends));

/// One head of keys where a layer attends, none where it remembers.
pub const GROUPS: Key = make("attention.head_count_kv", |params| {
    let all = (0..params.count("l", 0)?).map(|layer| attends(params, layer).map(i32::from));
    Ok(Some(Said::Array(Array::I32(all.collect::<Result<_>>()?))))
});

const KEYS: &[Key] = &[
    size("vocab_size", "vocab"),
    GROUPS,
    size("ssm.conv_kernel", "conv"),
    size("kda.head_dim", "kd"),
    count("attention.q_lora_rank", &["q_lora_rank"]),
    size("attention.kv_lora_rank", "r"),
    size("rope.dimension_count", "rope"),
    size("attention.key_length", "latent"),
    size("attention.key_length_mla", "k_whole"),
    size("attention.value_length_mla", "v"),
    size("expert_feed_forward_length", "eff"),
    size("expert_shared_count", "shared"),
    size("leading_dense_block_count", "dense"),
    number("expert_weights_scale", &["routed_scaling_factor"]).must(),
];

const AXES: &[Axis] = &[
    axis("k", Size::Of(&["qk_nope_head_dim"])),
    axis("v", Size::Of(&["v_head_dim"])),
    axis("r", Size::Of(&["kv_lora_rank"])),
    axis("rope", Size::Of(&["qk_rope_head_dim"])),
    axis("k_whole", Size::Add("k", "rope")),
    axis("latent", Size::Add("r", "rope")),
    axis("kh", Size::Make(|params, _| linear(params, "num_heads", "linear_num_heads"))),
    axis("kd", Size::Make(|params, _| linear(params, "head_dim", "linear_head_dim"))),
    axis("wide", Size::Same("kd")),
    axis("conv", Size::Make(|params, _| linear(params, "short_conv_kernel_size", "linear_conv_kernel_dim"))),
];

/// What attends by a latent.
pub const LATENT: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h k_whole) n")
        .need(Need::UnlessSet("q_lora_rank"))
        .layers(FULL),
    rule(&["layers.{l}.self_attn.kv_a_proj_with_mqa.weight"], &["blk.{l}.attn_kv_a_mqa.weight"], "latent n")
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

/// A convolution along the tokens, which some have as a matrix.
const CONV: &str = "(kh kd) 1 conv -> 1 (kh kd) 1 conv";
const CONV_MATRIX: &str = "(kh kd) conv -> 1 (kh kd) 1 conv";

/// What goes into a state, and comes out of it.
pub const CONVOLVED: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(kh kd) n").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(kh kd) n").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(kh kd) n").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (kh kd)")
        .layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.q_conv1d.weight"], &["blk.{l}.ssm_conv1d_q.weight"], CONV).layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.k_conv1d.weight"], &["blk.{l}.ssm_conv1d_k.weight"], CONV).layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.v_conv1d.weight"], &["blk.{l}.ssm_conv1d_v.weight"], CONV).layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.q_conv1d.weight"], &["blk.{l}.ssm_conv1d_q.weight"], CONV_MATRIX)
        .layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.k_conv1d.weight"], &["blk.{l}.ssm_conv1d_k.weight"], CONV_MATRIX)
        .layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.v_conv1d.weight"], &["blk.{l}.ssm_conv1d_v.weight"], CONV_MATRIX)
        .layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.dt_bias"], &["blk.{l}.ssm_dt.bias"], "(kh kd)").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.f_a_proj.weight"], &["blk.{l}.ssm_f_a.weight"], "kd n").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.f_b_proj.weight"], &["blk.{l}.ssm_f_b.weight"], "(kh wide) kd")
        .layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.b_proj.weight"], &["blk.{l}.ssm_beta.weight"], "kh n").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.o_norm.weight"], &["blk.{l}.ssm_norm.weight"], "kd").layers(REMEMBERS),
];

const STATE: &[Rule] = &[
    rule(&["layers.{l}.self_attn.A_log"], &["blk.{l}.ssm_a"], "1 1 kh 1")
        .value(Value::NegExp)
        .layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.g_a_proj.weight"], &["blk.{l}.ssm_g_a.weight"], "kd n").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.g_b_proj.weight"], &["blk.{l}.ssm_g_b.weight"], "(kh wide) kd")
        .layers(REMEMBERS),
];

/// What is added to the scores of experts when they are chosen.
pub const CORRECTION: &[Rule] = &[rule(
    &["layers.{l}.block_sparse_moe.gate.e_score_correction_bias"],
    &["blk.{l}.exp_probs_b.bias"],
    "e",
)
.need(Need::May)
.layers(SPARSE)];
