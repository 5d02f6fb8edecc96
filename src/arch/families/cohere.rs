//! Command R and Aya; Command R7B, A and Aya 2, which alternate layers with a window and layers without positions. One
//! norm before attention and feed-forward, which run side by side; the head is the table of tokens.
//! Specification: `CommandR2Model`, `Cohere2Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE, partial};
use crate::arch::keys::{Fixed, Key, count, is, make, number, size};
use crate::arch::rule::{Need, Rule, rule};

pub const COMMAND_R: Arch = Arch {
    classes: &["CohereForCausalLM"],
    gguf: "command-r",
    base: Some(&DECODER),
    keys: &[
        // Trained for more tokens than `max_position_embeddings` says.
        count("context_length", &["model_max_length", "max_position_embeddings"]).must(),
        number("logit_scale", &["logit_scale"]).must(),
        is("rope.scaling.type", Fixed::Text("none")),
    ],
    rules: NORMED,
    without: HEADLESS,
    ..NONE
};

pub const COHERE2: Arch = Arch {
    classes: &["Cohere2ForCausalLM"],
    gguf: "cohere2",
    base: Some(&DECODER),
    keys: KEYS,
    without: HEADLESS,
    ..NONE
};

const HEADLESS: &[&str] = &["output.weight", "blk.{l}.ffn_norm.weight"];

const KEYS: &[Key] = &[
    number("logit_scale", &["logit_scale"]).must(),
    count("attention.sliding_window", &["sliding_window"]).must(),
    size("vocab_size", "vocab"),
    make("rope.dimension_count", partial::of_plain_head),
    is("rope.scaling.type", Fixed::Text("none")),
];

const NORMED: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "h d")
        .need(Need::If("use_qk_norm")),
    rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "g d")
        .need(Need::If("use_qk_norm")),
];
