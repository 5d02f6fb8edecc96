//! Ling and Ring: queries, keys and values in one tensor, experts of which some serve all tokens. The first version has
//! llama's heads; the second keeps them together, norms them, and may predict two tokens. Sarvam is the second with heads that
//! rotate whole.
//! Specification: `BailingMoeModel`, `BailingMoeV2Model`, `SarvamMoEModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::experts::{self, DENSE, SPARSE};
use super::{Arch, NONE, llama, mtp, partial};
use crate::arch::keys::{Fixed, Key, count, flag, is, make, number, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use crate::arch::values::Value;
use crate::arch::whole::Whole;

pub const BAILING_MOE: Arch = Arch {
    classes: &["BailingMoeForCausalLM"],
    gguf: "bailingmoe",
    base: Some(&DECODER),
    keys: KEYS,
    axes: llama::AXES,
    rules: RULES,
    shares: &[&experts::routed(Layers::All), &experts::shared(Layers::All, Need::Must)],
    without: experts::NO_DENSE,
    ..NONE
};

pub const BAILING_MOE2: Arch = Arch {
    classes: &["BailingMoeV2ForCausalLM"],
    gguf: "bailingmoe2",
    base: Some(&DECODER),
    keys: KEYS2,
    axes: AXES2,
    rules: RULES2,
    shares: &[&experts::dense(DENSE), &experts::routed(SPARSE), mtp::RULES],
    without: &["blk.{l}.attn_q.weight", "blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"],
    ..NONE
};

/// What corrects the scores of its experts has a mean of zero.
pub const SARVAM: Arch = Arch {
    classes: &["SarvamMoEForCausalLM", "modeling_sarvam_moe.SarvamMoEForCausalLM"],
    gguf: "bailingmoe2",
    base: Some(&BAILING_MOE2),
    keys: &[size("rope.dimension_count", "d")],
    rules: CENTRED,
    ..NONE
};

const CENTRED: &[Rule] = &[rule(&["layers.{l}.mlp.gate.expert_bias"], &["blk.{l}.exp_probs_b.bias"], "e")
    .value(Value::Whole(&Whole::CENTRED))
    .may()
    .layers(SPARSE)];

const KEYS: &[Key] = &[
    size("rope.dimension_count", "d"),
    count("leading_dense_block_count", &["first_k_dense_replace"]).must(),
    size("vocab_size", "vocab"),
    size("expert_feed_forward_length", "eff"),
    is("expert_weights_scale", Fixed::Number(1.0)),
    count("expert_shared_count", &["num_shared_experts"]).must(),
    flag("expert_weights_norm", &["norm_topk_prob"]).must(),
];

const RULES: &[Rule] = &[
    rule(&["word_embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(
        &["layers.{l}.attention.query_key_value.weight"],
        &["blk.{l}.attn_q.weight", "blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"],
        "[(h two pair)|(g two pair)|(g d)] n -> (h pair two) n ; (g pair two) n ; (g d) n",
    ),
    rule(&["layers.{l}.attention.dense.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
];

const KEYS2: &[Key] = &[
    make("rope.dimension_count", partial::of_half_head),
    count("leading_dense_block_count", &["first_k_dense_replace"]).must(),
    size("vocab_size", "vocab"),
    size("expert_feed_forward_length", "eff"),
    size("expert_shared_feed_forward_length", "shared_ff"),
    number("expert_weights_scale", &["routed_scaling_factor"]).must(),
    count("expert_shared_count", &["num_shared_experts"]).must(),
    flag("expert_weights_norm", &["norm_topk_prob"]).must(),
    make("nextn_predict_layers", mtp::count),
];

const AXES2: &[Axis] = &[
    axis("main", Size::Of(&["num_hidden_layers"])),
    axis("mtp", Size::Make(mtp::held)),
    axis("l", Size::Add("main", "mtp")),
    axis("shared_ff", Size::Or(&["moe_shared_expert_intermediate_size"], &Size::Mul("eff", "shared"))),
];

const NORMS: Need = Need::If("use_qk_norm");
const BIAS: Need = Need::If("use_bias");

const RULES2: &[Rule] = &[
    rule(&["word_embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(
        &["layers.{l}.attention.query_key_value.weight"],
        &["blk.{l}.attn_qkv.weight"],
        "[(h d)|(g d)|(g d)] n -> [(h d)|(g d)|(g d)] n",
    )
    .bias(Need::If("use_qkv_bias")),
    rule(&["layers.{l}.attention.dense.weight"], &["blk.{l}.attn_output.weight"], "n (h d)").bias(BIAS),
    rule(&["layers.{l}.attention.query_layernorm.weight"], &["blk.{l}.attn_q_norm.weight"], "d").need(NORMS),
    rule(&["layers.{l}.attention.key_layernorm.weight"], &["blk.{l}.attn_k_norm.weight"], "d").need(NORMS),
    rule(&["layers.{l}.mlp.gate.expert_bias"], &["blk.{l}.exp_probs_b.bias"], "e").may().layers(SPARSE),
    rule(
        &["layers.{l}.mlp.shared_experts.gate_proj.weight"],
        &["blk.{l}.ffn_gate_shexp.weight"],
        "shared_ff n",
    )
    .layers(SPARSE),
    rule(&["layers.{l}.mlp.shared_experts.up_proj.weight"], &["blk.{l}.ffn_up_shexp.weight"], "shared_ff n")
        .layers(SPARSE),
    rule(
        &["layers.{l}.mlp.shared_experts.down_proj.weight"],
        &["blk.{l}.ffn_down_shexp.weight"],
        "n shared_ff",
    )
    .layers(SPARSE),
    rule(&["layers.{l}.final_layernorm.weight"], &["blk.{l}.layer_output_norm.weight"], "n")
        .layers(Layers::From("main")),
];
