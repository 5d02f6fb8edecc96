//! Kimi K3: Kimi Linear's states with a whole gate, and its latent, whose heads are gated; experts compute in a smaller space;
//! each part attends to what the parts before it have added, by scores that are products of a norm and a projection.
//! Specification: `KimiK3Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::experts::{self, DENSE, SPARSE};
use super::kimi::{self, FULL, REMEMBERS};
use super::qwen_vl::SEEING;
use super::{Arch, NONE};
use crate::arch::config::Config;
use crate::arch::keys::{Key, count, flag, number, size};
use crate::arch::moved::part;
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use crate::arch::values::Value;
use ggraft_formats::{Checkpoint, Result};
use serde_json::json;

pub const KIMI_K3: Arch = Arch {
    classes: &["KimiK3ForConditionalGeneration"],
    gguf: "kimi-k3",
    applies: Some(is_as_built),
    base: Some(&DECODER),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[
        kimi::CONVOLVED,
        kimi::LATENT,
        &experts::dense(DENSE),
        EXPERTS,
        &experts::block_shared(SPARSE, "(shared eff) n", "n (shared eff)"),
        kimi::CORRECTION,
    ],
    prepared: trimmed,
    products: &["self_attention_res", "mlp_res", "output_attn_res"],
    blocks: Some(".experts."),
    writes_chats: Some("encoding_k3.py"),
    late: &[count("^tokenizer.ggml.eos_token_id", &["eos_token_id"])],
    ignored: SEEING,
    ..NONE
};

/// With one decay for each head, where checkpoints have more.
fn trimmed(params: &Params<'_>, checkpoint: &Checkpoint) -> Result<Option<Checkpoint>> {
    let heads = params.size("kh", 0)?;
    let mut checkpoint = checkpoint.clone();
    let decays = checkpoint.tensors.iter_mut().filter(|t| t.name.ends_with(".self_attn.A_log"));
    for decay in decays.filter(|t| t.shape().ne().len() == 1 && t.shape().row() > heads) {
        *decay = part(decay, &[heads], 0)?;
    }
    Ok(Some(checkpoint))
}

/// Refuses what the graph of the runtime does not compute, and what the config does not say, for the trainer's defaults are others.
fn is_as_built(config: &Config) -> Result<bool> {
    let built = [
        ("mla_use_nope", json!(true)),
        ("hidden_act", json!("situ")),
        ("moe_router_activation_func", json!("sigmoid")),
    ];
    for (key, value) in built {
        let found = config.get(key);
        if found != Some(&value) {
            let found = found.map_or(String::from("nothing"), ToString::to_string);
            return Err(config.unsupported(key).expected(value).found(found));
        }
    }
    Ok(true)
}

const KEYS: &[Key] = &[
    size("vocab_size", "vocab"),
    kimi::GROUPS,
    size("ssm.conv_kernel", "conv"),
    size("kda.head_dim", "kd"),
    number("kda.gate_lower_bound", &["linear_attn_config.gate_lower_bound"]),
    count("attention.q_lora_rank", &["q_lora_rank"]),
    size("attention.kv_lora_rank", "r"),
    size("rope.dimension_count", "rope"),
    size("attention.key_length", "latent"),
    size("attention.value_length", "r"),
    size("attention.key_length_mla", "k_whole"),
    size("attention.value_length_mla", "v"),
    size("expert_feed_forward_length", "eff"),
    count("expert_shared_count", &["num_shared_experts"]).must(),
    size("leading_dense_block_count", "dense"),
    number("expert_weights_scale", &["routed_scaling_factor"]).must(),
    flag("expert_weights_norm", &["moe_renormalize"]).must(),
    count("expert_latent_length", &[LOW]),
    number("activation.situ_beta", &["activation_situ_beta"]).must(),
    number("activation.situ_linear_beta", &["activation_situ_linear_beta"]).must(),
    count("attn_res.block_size", &["attn_res_block_size"]).must(),
];

/// The width in which experts compute.
const LOW: &str = "routed_expert_hidden_size";

const AXES: &[Axis] = &[
    axis("k", Size::Of(&["qk_nope_head_dim"])),
    axis("v", Size::Of(&["v_head_dim"])),
    axis("r", Size::Of(&["kv_lora_rank"])),
    axis("qr", Size::Of(&["q_lora_rank"])),
    axis("rope", Size::Of(&["qk_rope_head_dim"])),
    axis("k_whole", Size::Add("k", "rope")),
    axis("latent", Size::Add("r", "rope")),
    axis("kh", Size::Same("h")),
    axis("kd", Size::Make(|params, _| kimi::linear(params, "head_dim", "linear_head_dim"))),
    axis("wide", Size::Same("kd")),
    axis(
        "conv",
        Size::Make(|params, _| kimi::linear(params, "short_conv_kernel_size", "linear_conv_kernel_dim")),
    ),
    axis("low", Size::Or(&[LOW], &Size::Same("n"))),
];

const LOW_RANK: Need = Need::IfSet("q_lora_rank");

/// What differs from Kimi Linear's: queries of low rank, gates in one matrix, and the scores.
const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attention_res.weight"], &["blk.{l}.attn_res_score.weight"], "n"),
    rule(&["layers.{l}.mlp_res.weight"], &["blk.{l}.ffn_res_score.weight"], "n"),
    rule(&["output_attn_res.weight"], &["output_res_score.weight"], "n"),
    rule(&["layers.{l}.self_attn.q_a_proj.weight"], &["blk.{l}.attn_q_a.weight"], "qr n")
        .need(LOW_RANK)
        .layers(FULL),
    rule(&["layers.{l}.self_attn.q_a_layernorm.weight"], &["blk.{l}.attn_q_a_norm.weight"], "qr")
        .need(LOW_RANK)
        .layers(FULL),
    rule(&["layers.{l}.self_attn.q_b_proj.weight"], &["blk.{l}.attn_q_b.weight"], "(h k_whole) qr")
        .need(LOW_RANK)
        .layers(FULL),
    rule(&["layers.{l}.self_attn.g_proj.weight"], &["blk.{l}.attn_gate.weight"], "(h v) n").layers(FULL),
    rule(&["layers.{l}.self_attn.g_proj.weight"], &["blk.{l}.ssm_g.weight"], "(kh kd) n").layers(REMEMBERS),
    rule(&["layers.{l}.self_attn.A_log"], &["blk.{l}.ssm_a"], "kh").value(Value::NegExp).layers(REMEMBERS),
];

/// A choice of experts, which compute between a matrix down and one up.
const EXPERTS: &[Rule] = &[
    rule(&["layers.{l}.block_sparse_moe.gate.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n")
        .layers(SPARSE),
    rule(
        &["layers.{l}.block_sparse_moe.experts.{e}.w1.weight"],
        &["blk.{l}.ffn_gate_exps.weight"],
        "eff low -> e eff low",
    )
    .layers(SPARSE),
    rule(
        &["layers.{l}.block_sparse_moe.experts.{e}.w3.weight"],
        &["blk.{l}.ffn_up_exps.weight"],
        "eff low -> e eff low",
    )
    .layers(SPARSE),
    rule(
        &["layers.{l}.block_sparse_moe.experts.{e}.w2.weight"],
        &["blk.{l}.ffn_down_exps.weight"],
        "low eff -> e low eff",
    )
    .layers(SPARSE),
    rule(
        &["layers.{l}.block_sparse_moe.routed_expert_down_proj.weight"],
        &["blk.{l}.ffn_routed_down.weight"],
        "low n",
    )
    .need(Need::IfSet(LOW))
    .layers(SPARSE),
    rule(
        &["layers.{l}.block_sparse_moe.routed_expert_up_proj.weight"],
        &["blk.{l}.ffn_routed_up.weight"],
        "n low",
    )
    .need(Need::IfSet(LOW))
    .layers(SPARSE),
    rule(
        &["layers.{l}.block_sparse_moe.routed_expert_norm.weight"],
        &["blk.{l}.ffn_routed_norm.weight"],
        "low",
    )
    .may()
    .layers(SPARSE),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_graph_computes_must_be_said() {
        let said =
            json!({"mla_use_nope": true, "hidden_act": "situ", "moe_router_activation_func": "sigmoid"});
        let applies = |json| is_as_built(&Config::new("config.json".into(), json).unwrap());
        assert!(applies(said.clone()).unwrap());
        for key in ["mla_use_nope", "hidden_act", "moe_router_activation_func"] {
            let mut less = said.clone();
            less.as_object_mut().unwrap().remove(key);
            let error = applies(less).unwrap_err().to_string();
            assert!(error.contains(&format!("'{key}' is not covered")), "{error}");
            assert!(error.contains("found nothing"), "{error}");
        }
    }
}
