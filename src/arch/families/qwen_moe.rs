//! Qwen 2 and Qwen 3 with experts: each token goes to some of them, in Qwen 2 also to one that all share. Layers may be
//! dense. Trainers keep each expert's three matrices as tensors of their own; transformers 5 keeps them stacked, gate and
//! up in one.
//! Specification: `Qwen2MoeModel`, `Qwen3MoeModel` of llama.cpp's converter; `conversion_mapping` of transformers 5.

use super::decoder::DECODER;
use super::qwen::NORMED;
use super::{Arch, NONE};
use crate::arch::keys::{Axis, Key, Params, Size, axis, count};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::Result;

pub const QWEN2_MOE: Arch =
    Arch { classes: &["Qwen2MoeForCausalLM"], gguf: "qwen2moe", base: Some(&MOE), rules: SHARED, ..NONE };

pub const QWEN3_MOE: Arch =
    Arch { classes: &["Qwen3MoeForCausalLM"], gguf: "qwen3moe", base: Some(&MOE), rules: NORMED, ..NONE };

/// What both have in common.
const MOE: Arch = Arch { base: Some(&DECODER), keys: KEYS, axes: AXES, rules: RULES, ..NONE };

const KEYS: &[Key] = &[
    count("expert_feed_forward_length", &["moe_intermediate_size"]),
    count("expert_shared_feed_forward_length", &["shared_expert_intermediate_size"]),
];

const AXES: &[Axis] = &[
    axis("eff", Size::Of(&["moe_intermediate_size"])),
    axis("shared", Size::Of(&["shared_expert_intermediate_size"])),
];

/// Whether this layer has experts.
fn is_sparse(params: &Params<'_>, layer: u32) -> Result<bool> {
    let dense = params.config.get("mlp_only_layers").and_then(|v| v.as_array());
    let listed = dense.is_some_and(|all| all.iter().any(|n| n.as_u64() == Some(layer.into())));
    let step = params.config.optional_count("decoder_sparse_step")?.unwrap_or(1);
    Ok(!listed && (layer + 1).is_multiple_of(step))
}

const SPARSE: Layers = Layers::When(is_sparse);
const DENSE: Layers = Layers::When(|params, layer| is_sparse(params, layer).map(|sparse| !sparse));

const RULES: &[Rule] = &[
    rule(&["layers.{l}.mlp.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n").layers(DENSE),
    rule(&["layers.{l}.mlp.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n").layers(DENSE),
    rule(&["layers.{l}.mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff").layers(DENSE),
    rule(&["layers.{l}.mlp.gate.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n").layers(SPARSE),
    rule(
        &["layers.{l}.mlp.experts.{e}.gate_proj.weight"],
        &["blk.{l}.ffn_gate_exps.weight"],
        "eff n -> e eff n",
    )
    .layers(SPARSE),
    rule(&["layers.{l}.mlp.experts.{e}.up_proj.weight"], &["blk.{l}.ffn_up_exps.weight"], "eff n -> e eff n")
        .layers(SPARSE),
    rule(
        &["layers.{l}.mlp.experts.{e}.down_proj.weight"],
        &["blk.{l}.ffn_down_exps.weight"],
        "n eff -> e n eff",
    )
    .layers(SPARSE),
    rule(
        &["layers.{l}.mlp.experts.gate_up_proj"],
        &["blk.{l}.ffn_{gate|up}_exps.weight"],
        "e [eff|eff] n -> e eff n ; e eff n",
    )
    .layers(SPARSE),
    rule(&["layers.{l}.mlp.experts.down_proj"], &["blk.{l}.ffn_down_exps.weight"], "e n eff").layers(SPARSE),
];

/// The expert that all tokens go to, and biases of the attention.
const SHARED: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n")
        .bias(Need::If("qkv_bias")),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n")
        .bias(Need::If("qkv_bias")),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n")
        .bias(Need::If("qkv_bias")),
    rule(&["layers.{l}.mlp.shared_expert_gate.weight"], &["blk.{l}.ffn_gate_inp_shexp.weight"], "1 n")
        .layers(SPARSE),
    rule(&["layers.{l}.mlp.shared_expert.gate_proj.weight"], &["blk.{l}.ffn_gate_shexp.weight"], "shared n")
        .layers(SPARSE),
    rule(&["layers.{l}.mlp.shared_expert.up_proj.weight"], &["blk.{l}.ffn_up_shexp.weight"], "shared n")
        .layers(SPARSE),
    rule(&["layers.{l}.mlp.shared_expert.down_proj.weight"], &["blk.{l}.ffn_down_shexp.weight"], "n shared")
        .layers(SPARSE),
];
