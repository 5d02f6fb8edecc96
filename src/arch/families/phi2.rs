//! Phi 1, 1.5 and 2: one norm before attention and feed-forward, which run side by side; biases everywhere, also on the
//! head; a share of each head rotates.
//! Specification: `Phi2Model` of llama.cpp's converter.

use super::decoder::NAMES;
use super::{Arch, NONE, partial};
use crate::arch::keys::{Fixed, Key, count, is, make, positive, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::Value;

pub const PHI2: Arch = Arch {
    classes: &["PhiForCausalLM"],
    gguf: "phi2",
    base: Some(&NAMES),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    without: &["blk.{l}.ffn_norm.weight", "blk.{l}.ffn_gate.weight"],
    ..NONE
};

const KEYS: &[Key] = &[
    count("context_length", &["n_positions", "max_position_embeddings"]).must(),
    size("embedding_length", "n"),
    make("feed_forward_length", |params| {
        let (ff, n) = (params.count("ff", 0)?, params.size("n", 0)?);
        if u64::from(ff) != 4 * n {
            params.tell(format!(
                "feed_forward_length is {ff}, as the tensors are (convert_hf_to_gguf writes {})",
                4 * n
            ));
        }
        Ok(Some(Value::U32(ff)))
    }),
    size("block_count", "l"),
    size("attention.head_count", "h"),
    size("attention.head_count_kv", "g"),
    positive("attention.layer_norm_epsilon", &["layer_norm_epsilon", "layer_norm_eps"]).must(),
    size("rope.dimension_count", "rotating"),
    is("^tokenizer.ggml.add_bos_token", Fixed::Flag(false)),
];

const AXES: &[Axis] = &[axis("rotating", Size::Make(partial::of_width))];

const RULES: &[Rule] = &[
    rule(&["final_layernorm.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.dense.weight"], &["blk.{l}.attn_output.weight"], "n (h d)").bias(Need::Must),
    rule(&["layers.{l}.mlp.fc1.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["layers.{l}.mlp.fc2.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n")
        .need(Need::Unless("tie_word_embeddings"))
        .bias(Need::Unless("tie_word_embeddings")),
];
