//! Qwen 2 and Qwen 3 with experts: each token goes to some of them, in Qwen 2 also to one that all share. Layers may be
//! dense. RND1 is a Qwen 3 that fills in masked tokens (diffusion), so that each token attends to all.
//! Specification: `Qwen2MoeModel`, `Qwen3MoeModel`, `RND1Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::qwen::NORMED;
use super::{Arch, NONE, experts};
use crate::arch::keys::{Fixed, Key, count, is};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::Result;

pub const QWEN2_MOE: Arch = Arch {
    classes: &["Qwen2MoeForCausalLM"],
    gguf: "qwen2moe",
    base: Some(&MOE),
    rules: RULES,
    shares: &[&shared(SPARSE)],
    ..NONE
};

pub const QWEN3_MOE: Arch = Arch {
    classes: &["Qwen3MoeForCausalLM"],
    gguf: "qwen3moe",
    // The runtime always divides the weights of the chosen experts by their sum; transformers does not unless it is told.
    regains: |_, _| vec![("norm_topk_prob", true.into())],
    base: Some(&MOE),
    rules: NORMED,
    ..NONE
};

pub const RND1: Arch = Arch {
    classes: &["RND1"],
    gguf: "rnd1",
    base: Some(&QWEN3_MOE),
    keys: &[
        is("attention.causal", Fixed::Flag(false)),
        count("^tokenizer.ggml.mask_token_id", &["mask_token_id"]),
    ],
    ..NONE
};

/// What both have in common.
const MOE: Arch = Arch {
    base: Some(&DECODER),
    keys: KEYS,
    axes: AXES,
    shares: &[&experts::dense(DENSE), &experts::routed(SPARSE)],
    ..NONE
};

const KEYS: &[Key] = &[
    count("expert_feed_forward_length", &["moe_intermediate_size"]),
    count("expert_shared_feed_forward_length", &["shared_expert_intermediate_size"]),
];

const AXES: &[Axis] = &[axis("shared", Size::Of(&["shared_expert_intermediate_size"]))];

/// Whether this layer has experts.
pub fn is_sparse(params: &Params<'_>, layer: u32) -> Result<bool> {
    let dense = params.config.get("mlp_only_layers").and_then(|v| v.as_array());
    let listed = dense.is_some_and(|all| all.iter().any(|n| n.as_u64() == Some(layer.into())));
    let step = params.config.optional_count("decoder_sparse_step")?.unwrap_or(1);
    Ok(!listed && (layer + 1).is_multiple_of(step))
}

pub const SPARSE: Layers = Layers::When(is_sparse);
const DENSE: Layers = Layers::When(|params, layer| is_sparse(params, layer).map(|sparse| !sparse));

/// The expert that all tokens go to, as far as its gate lets them.
pub const fn shared(layers: Layers) -> [Rule; 4] {
    [
        rule(&["layers.{l}.mlp.shared_expert_gate.weight"], &["blk.{l}.ffn_gate_inp_shexp.weight"], "1 n")
            .layers(layers),
        rule(
            &["layers.{l}.mlp.shared_expert.gate_proj.weight"],
            &["blk.{l}.ffn_gate_shexp.weight"],
            "shared n",
        )
        .layers(layers),
        rule(&["layers.{l}.mlp.shared_expert.up_proj.weight"], &["blk.{l}.ffn_up_shexp.weight"], "shared n")
            .layers(layers),
        rule(
            &["layers.{l}.mlp.shared_expert.down_proj.weight"],
            &["blk.{l}.ffn_down_shexp.weight"],
            "n shared",
        )
        .layers(layers),
    ]
}

const BIASED: Need = Need::If("qkv_bias");

/// Biases of the attention.
const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n").bias(BIASED),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n").bias(BIASED),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n").bias(BIASED),
];
