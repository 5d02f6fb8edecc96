//! Command R and Aya; Command R7B, A and Aya 2, which alternate layers with a window and layers without positions. One
//! norm before attention and feed-forward, which run side by side; the head is the table of tokens.
//! Specification: `CommandR2Model`, `Cohere2Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::experts::{self, DENSE, SPARSE};
use super::{Arch, NONE, partial, windows};
use crate::arch::keys::{Fixed, Key, count, flag, is, make, number, size};
use crate::arch::params::{Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Result, Value};

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

/// North: with experts, of which some are for all tokens.
pub const COHERE2_MOE: Arch = Arch {
    classes: &["Cohere2MoeForCausalLM"],
    gguf: "cohere2moe",
    base: Some(&COHERE2),
    keys: MOE_KEYS,
    axes: &[axis("eff", Size::Same("ff")), axis("shared_ff", Size::Mul("eff", "shared"))],
    shares: &[
        &experts::dense(DENSE),
        &experts::routed(SPARSE),
        &experts::shared(SPARSE, Need::May),
        &experts::correction(SPARSE),
    ],
    without: &["attention.sliding_window", "vocab_size", "rope.dimension_count", "rope.scaling.type"],
    ..NONE
};

const MOE_KEYS: &[Key] = &[
    // The class knows the key of leading dense layers, which the converter asks for first, even if it says nothing.
    count("feed_forward_length", &["prefix_dense_intermediate_size"]),
    count("attention.sliding_window", &["sliding_window"]).must(),
    make("attention.sliding_window_pattern", |params| windows::pattern(params, 4)),
    size("vocab_size", "vocab"),
    size("expert_feed_forward_length", "eff"),
    size("leading_dense_block_count", "dense"),
    flag("expert_weights_norm", &["norm_topk_prob"]).or(Fixed::Flag(false)),
    make("expert_shared_count", |params| shared(params, "shared")),
    make("expert_shared_feed_forward_length", |params| shared(params, "shared_ff")),
    size("rope.dimension_count", "d"),
    is("rope.scaling.type", Fixed::Text("none")),
];

/// A size of the experts for all tokens, if there are any.
fn shared(params: &Params<'_>, axis: &str) -> Result<Option<Value>> {
    let n = params.count("shared", 0)?;
    if n == 0 { Ok(None) } else { params.count(axis, 0).map(|n| Some(Value::U32(n))) }
}

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
