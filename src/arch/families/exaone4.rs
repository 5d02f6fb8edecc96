//! EXAONE 4: norms after attention and feed-forward, none before, and norms of queries and keys; most layers attend within
//! a window. K-EXAONE: with experts, and norms before.
//! Specification: `Exaone4Model`, `ExaoneMoEModel` of llama.cpp's converter.

use super::decoder::{DECODER, ROPE_FREQS};
use super::experts::{self, DENSE, SPARSE};
use super::qwen::NORMED;
use super::{Arch, NONE, mtp, windows};
use crate::arch::keys::{Fixed, Key, count, flag, is, make, number, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};

pub const EXAONE4: Arch = Arch {
    classes: &["Exaone4ForCausalLM"],
    gguf: "exaone4",
    base: Some(&DECODER),
    keys: KEYS,
    rules: RULES,
    shares: &[NORMED],
    without: &["blk.{l}.attn_norm.weight", "blk.{l}.ffn_norm.weight"],
    made: &[ROPE_FREQS],
    ..NONE
};

pub const EXAONE_MOE: Arch = Arch {
    classes: &["ExaoneMoeForCausalLM", "ExaoneMoEForCausalLM"],
    gguf: "exaone-moe",
    base: Some(&DECODER),
    keys: MOE_KEYS,
    axes: AXES,
    shares: &[
        NORMED,
        &experts::dense(DENSE),
        &experts::routed(SPARSE),
        &experts::shared(SPARSE, Need::IfSet("num_shared_experts")),
        &experts::correction(SPARSE),
        mtp::RULES,
    ],
    renamed: mtp::RENAMED,
    published: mtp::PUBLISHED,
    made: &[ROPE_FREQS],
    ..NONE
};

const WINDOW: Key = count("attention.sliding_window", &["sliding_window"]);
const PATTERN: Key = make("attention.sliding_window_pattern", |params| {
    if params.config.get("sliding_window").is_none() { Ok(None) } else { windows::pattern(params, 4) }
});

const KEYS: &[Key] = &[size("vocab_size", "vocab"), WINDOW, PATTERN];

const MOE_KEYS: &[Key] = &[
    size("vocab_size", "vocab"),
    WINDOW,
    PATTERN,
    size("expert_feed_forward_length", "eff"),
    size("expert_shared_count", "shared"),
    size("expert_shared_feed_forward_length", "shared_ff"),
    number("expert_weights_scale", &["routed_scaling_factor"]).must(),
    flag("expert_weights_norm", &["norm_topk_prob"]).must(),
    size("leading_dense_block_count", "dense"),
    size("nextn_predict_layers", "mtp"),
    is("rope.scaling.type", Fixed::Text("none")),
];

const AXES: &[Axis] = &[
    axis("main", Size::Of(&["num_hidden_layers"])),
    axis("mtp", Size::Make(mtp::held)),
    axis("l", Size::Add("main", "mtp")),
    axis("shared_ff", Size::Mul("eff", "shared")),
];

const RULES: &[Rule] = &[
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n"),
    rule(&["layers.{l}.post_feedforward_layernorm.weight"], &["blk.{l}.post_ffw_norm.weight"], "n"),
];
