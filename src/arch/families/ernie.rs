//! ERNIE 4.5, dense and with experts: a llama whose heads stay as they are; Baidu's own files keep queries, keys and values
//! in one tensor, gate and up in one.
//! Specification: `Ernie4_5Model`, `Ernie4_5MoeModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE, experts};
use crate::arch::keys::{Key, count, make};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Result, Value};

pub const ERNIE4_5: Arch = Arch {
    classes: &["Ernie4_5_ForCausalLM", "Ernie4_5ForCausalLM"],
    gguf: "ernie4_5",
    base: Some(&DECODER),
    prefixes: &["model.", "ernie."],
    rules: DENSE,
    ..NONE
};

pub const ERNIE4_5_MOE: Arch = Arch {
    classes: &["Ernie4_5_MoeForCausalLM"],
    gguf: "ernie4_5-moe",
    base: Some(&ERNIE4_5),
    keys: KEYS,
    axes: AXES,
    rules: MOE,
    shares: &[&experts::routed(SPARSE), &experts::shared(SPARSE, Need::IfSet("moe_num_shared_experts"))],
    ignored: &[
        "model.mtp_block.*",
        "model.mtp_emb_norm.*",
        "model.mtp_hidden_norm.*",
        "model.mtp_linear_proj.*",
    ],
    ..NONE
};

const BIASED: Need = Need::If("use_bias");

const DENSE: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n").bias(BIASED),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n").bias(BIASED),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n").bias(BIASED),
    rule(
        &["layers.{l}.self_attn.qkv_proj.weight"],
        &["blk.{l}.attn_q.weight", "blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"],
        "[(h d)|(g d)|(g d)] n -> (h d) n ; (g d) n ; (g d) n",
    ),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)").bias(BIASED),
    rule(&["layers.{l}.mlp.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n")
        .bias(BIASED)
        .layers(PLAIN),
    rule(&["layers.{l}.mlp.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(BIASED).layers(PLAIN),
    rule(
        &["layers.{l}.mlp.up_gate_proj.weight"],
        &["blk.{l}.ffn_{gate|up}.weight"],
        "[ff|ff] n -> ff n ; ff n",
    )
    .layers(PLAIN),
    rule(&["layers.{l}.mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff")
        .bias(BIASED)
        .layers(PLAIN),
];

const KEYS: &[Key] = &[
    count("expert_count", &["moe_num_experts"]).must(),
    count("expert_used_count", &["moe_k"]).must(),
    count("interleave_moe_layer_step", &["moe_layer_interval"]).must(),
    count("leading_dense_block_count", &["moe_layer_start_index"]).must(),
    count("expert_feed_forward_length", &["moe_intermediate_size"]),
    count("expert_shared_count", &["moe_num_shared_experts"]),
    make("expert_shared_feed_forward_length", |params| {
        let shared = params.config.whole_at("moe_num_shared_experts", 0)?.unwrap_or(0);
        // What the converter writes; the runtime asks the tensors.
        let width = params.size("ff", 0)? / params.size("g", 0)?.max(1);
        Ok((shared > 0).then_some(Value::U32(width as u32)))
    }),
];

const AXES: &[Axis] = &[axis("e", Size::Of(&["moe_num_experts"]))];

/// Whether a layer has experts: those between a first and a last one, every so many; none of a dense model has.
fn sparse(params: &Params<'_>, layer: u32) -> Result<bool> {
    let config = params.config;
    if config.get("moe_num_experts").is_none() {
        return Ok(false);
    }
    let whole =
        |key: &str, absent: u32| Ok::<_, ggraft_formats::Error>(config.whole_at(key, 0)?.unwrap_or(absent));
    let (first, every) = (whole("moe_layer_start_index", 0)?, whole("moe_layer_interval", 1)?.max(1));
    // -1 is the last layer of all.
    let last = config.optional_number("moe_layer_end_index")?.filter(|end| *end >= 0.0);
    let within = layer >= first && last.is_none_or(|end| f64::from(layer) <= end);
    Ok(within && layer.checked_add(1).is_some_and(|n| n.is_multiple_of(every)))
}

const SPARSE: Layers = Layers::When(sparse);
const PLAIN: Layers = Layers::When(|params, layer| sparse(params, layer).map(|sparse| !sparse));

const MOE: &[Rule] =
    &[rule(&["layers.{l}.mlp.moe_statics.e_score_correction_bias"], &["blk.{l}.exp_probs_b.bias"], "1 e")
        .layers(SPARSE)
        .may()];
