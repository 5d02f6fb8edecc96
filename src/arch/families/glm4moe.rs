//! GLM-4.5 and later, with experts and a layer for predicting two tokens; Solar Open, without it; GLM-4.7 Flash, a
//! DeepSeek V2 by its tensors.
//! Specification: `Glm4MoeModel`, `Glm4MoeLiteModel`, `SolarOpenModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::deepseek::DEEPSEEK2;
use super::experts::{self, DENSE, SPARSE};
use super::{Arch, NONE, mtp, partial};
use crate::arch::keys::{Fixed, Key, count, flag, is, make, number};
use crate::arch::rule::{Layers, Need, Rule, rule};

pub const GLM4_MOE: Arch = Arch {
    classes: &["Glm4MoeForCausalLM", "Glm4vMoeForConditionalGeneration"],
    gguf: "glm4moe",
    base: Some(&DECODER),
    keys: KEYS,
    axes: mtp::AXES,
    rules: RULES,
    shares: &[
        &experts::dense(DENSE),
        &experts::routed(SPARSE),
        &experts::shared(SPARSE, Need::IfSet("n_shared_experts")),
        &experts::correction(SPARSE),
        mtp::RULES,
    ],
    without: &["blk.{l}.ffn_norm.weight"],
    ignored: &["model.visual.*", "visual.*"],
    ..NONE
};

pub const SOLAR_OPEN: Arch = Arch {
    classes: &["SolarOpenForCausalLM"],
    gguf: "glm4moe",
    base: Some(&GLM4_MOE),
    shares: &[&experts::dense(DENSE)],
    ..NONE
};

pub const GLM4_MOE_LITE: Arch = Arch {
    classes: &["Glm4MoeLiteForCausalLM"],
    gguf: "deepseek2",
    base: Some(&DEEPSEEK2),
    keys: &[make("nextn_predict_layers", mtp::some)],
    axes: mtp::AXES,
    shares: &[mtp::RULES],
    ..NONE
};

const KEYS: &[Key] = &[
    make("rope.dimension_count", partial::of_half_head),
    count("expert_feed_forward_length", &["moe_intermediate_size"]),
    count("expert_shared_count", &["n_shared_experts"]),
    count("leading_dense_block_count", &["first_k_dense_replace"]),
    is("expert_gating_func", Fixed::Count(2)),
    number("expert_weights_scale", &["routed_scaling_factor"]),
    flag("expert_weights_norm", &["norm_topk_prob"]),
    make("nextn_predict_layers", mtp::count),
];

const NORMS: Need = Need::If("use_qk_norm");

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "d").need(NORMS),
    rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "d").need(NORMS),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n")
        .layers(Layers::All),
];
