//! What most decoders have in common: the names that llama gave its tensors, with heads in one order on both sides. No
//! model is of this family; others state their differences from it.

use super::{Arch, Made, NONE, experts};
use crate::arch::config::TIED;
use crate::arch::keys::TRANSFORMER;
use crate::arch::params::{AXES, Size, axis};
use crate::arch::rope;
use crate::arch::rule::{Layers, Need, Rule, rule};

pub const DECODER: Arch = Arch {
    base: Some(&ROOT),
    prefixes: &["model.", "model.language_model.", "language_model.model.", ""],
    keys: TRANSFORMER,
    axes: &[axis("dense", Size::Make(experts::leading)), axis("shared", Size::Make(experts::count_shared))],
    rules: RULES,
    ignored: &["*.attention.masked_bias", "*.attention.bias", "*.rotary_emb.inv_freq"],
    ..NONE
};

const ROOT: Arch = Arch { axes: AXES, ..NONE };

/// The same, for families whose keys the converter writes in an order of their own.
pub const NAMES: Arch = Arch { keys: &[], ..DECODER };

const RULES: &[Rule] = &[
    rule(&["embed_tokens.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["norm.weight"], &["output_norm.weight"], "n"),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n")
        .bias(Need::If("attention_bias")),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n")
        .bias(Need::If("attention_bias")),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n")
        .bias(Need::If("attention_bias")),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)")
        .bias(Need::If("attention_bias")),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.mlp.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n")
        .bias(Need::If("mlp_bias")),
    rule(&["layers.{l}.mlp.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(Need::If("mlp_bias")),
    rule(&["layers.{l}.mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff")
        .bias(Need::If("mlp_bias")),
    rule(&["^lm_head.weight", "^language_model.lm_head.weight"], &["output.weight"], "vocab n")
        .need(Need::Unless("tie_word_embeddings")),
];

/// A head of classes that leave it out where it is tied, though the checkpoint holds one.
pub const UNTIED_HEAD: &[Rule] =
    &[rule(&["^lm_head.weight", "^language_model.lm_head.weight"], &["output.weight"], "vocab n")
        .need(Need::Unless(TIED))
        .layers(Layers::When(|params, _| params.config.flag(TIED).map(|tied| !tied)))
        .or_spare()];

/// A head that the checkpoint need not hold, whatever its config says: it is of the model alone.
pub const ANY_HEAD: &[Rule] =
    &[rule(&["^lm_head.weight", "^language_model.lm_head.weight"], &["output.weight"], "vocab n").may()];

/// The factors by which Llama 3.1 stretches its wavelengths.
pub const ROPE_FREQS: Made = Made { name: "rope_freqs.weight", row: None, values: rope::llama3_factors };
