//! PLaMo, the first: attention and feed-forward read one norm. Heads that share keys and values lie apart in the checkpoint,
//! as its code repeats all keys in turn, and side by side in GGUF.
//! Specification: `PlamoModel` of llama.cpp's converter; `modeling_plamo.py` as published with plamo-13b.

use super::decoder::NAMES;
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, positive, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Rule, rule};

pub const PLAMO: Arch = Arch {
    classes: &["PlamoForCausalLM"],
    gguf: "plamo",
    base: Some(&NAMES),
    prefixes: &["model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    without: &["blk.{l}.ffn_norm.weight"],
    ..NONE
};

/// The context is that of the only published size, of which no config tells; nor do they tell the heads of keys rightly.
const KEYS: &[Key] = &[
    is("context_length", Fixed::Count(4096)),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("block_count", "l"),
    size("attention.head_count", "h"),
    size("attention.head_count_kv", "g"),
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]).must(),
];

const AXES: &[Axis] = &[
    axis("repeat", Size::Or(&["n_shared_head"], &Size::Is(8))),
    axis("g", Size::Div("h", "repeat")).or("h", "a multiple of the heads that share keys"),
    axis("d", Size::Div("n", "h")).or("n", "a multiple of {h} heads"),
];

const RULES: &[Rule] = &[
    rule(&["layers.layers.{l}.norm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(
        &["layers.layers.{l}.self_attn.q_proj.weight"],
        &["blk.{l}.attn_q.weight"],
        "(repeat g d) n -> (g repeat d) n",
    ),
    rule(&["layers.layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n"),
    rule(&["layers.layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n"),
    rule(
        &["layers.layers.{l}.self_attn.o_proj.weight"],
        &["blk.{l}.attn_output.weight"],
        "n (repeat g d) -> n (g repeat d)",
    ),
    rule(&["layers.layers.{l}.mlp.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n"),
    rule(&["layers.layers.{l}.mlp.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n"),
    rule(&["layers.layers.{l}.mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
];
