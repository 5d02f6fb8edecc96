//! StarCoder 1 and SantaCoder (GPT-BigCode): GPT-2 with one key and one value for all queries, and matrices that are not
//! transposed.
//! Specification: `StarCoderModel` of llama.cpp's converter.

use super::gpt2::GPT2;
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, positive, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::Result;

pub const STARCODER: Arch = Arch {
    classes: &["GPTBigCodeForCausalLM"],
    gguf: "starcoder",
    base: Some(&NAMES),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ..NONE
};

const NAMES: Arch = Arch { keys: &[], ..GPT2 };

const KEYS: &[Key] = &[
    // The name of `n_positions` in transformers, whose value wins there.
    count("context_length", &["max_position_embeddings", "n_positions"]).must(),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("block_count", "l"),
    size("attention.head_count", "h"),
    is("attention.head_count_kv", Fixed::Count(1)),
    positive("attention.layer_norm_epsilon", &["layer_norm_epsilon"]).must(),
];

const AXES: &[Axis] = &[
    axis("d", Size::Div("n", "h")).or("n", "a multiple of {h} heads"),
    axis("kv", Size::Mul("two", "d")),
    axis("two", Size::Is(2)),
    axis(
        "qkv",
        Size::Make(|params, layer| -> Result<u64> {
            if params.config.optional_flag("multi_query")? == Some(false) {
                let error = params
                    .config
                    .unsupported("multi_query")
                    .expected("true: one key and value for all queries");
                return Err(error.found("false"));
            }
            Ok(params.size("n", layer)? + params.size("kv", layer)?)
        }),
    ),
];

const RULES: &[Rule] = &[
    rule(&["h.{l}.attn.c_attn.weight"], &["blk.{l}.attn_qkv.weight"], "qkv n").bias(Need::Must),
    rule(&["h.{l}.attn.c_proj.weight"], &["blk.{l}.attn_output.weight"], "n m").bias(Need::Must),
    rule(&["h.{l}.mlp.c_fc.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["h.{l}.mlp.c_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
];
