//! BitNet b1.58: norms within attention and within the feed-forward; matrices of three values, which plain weights become here.
//! The runtime has no head of its own beside the table of tokens.
//! Specification: `BitnetModel` of llama.cpp's converter; `models/bitnet.cpp` of llama.cpp v0.5.0.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is};
use crate::arch::rule::{Rule, rule};
use crate::arch::values::Value;
use crate::arch::whole::Whole;

pub const BITNET: Arch = Arch {
    classes: &["BitnetForCausalLM", "BitNetForCausalLM"],
    // What the runtime computes without being told.
    regains: |_, _| vec![("hidden_act", "silu".into())],
    gguf: "bitnet",
    base: Some(&DECODER),
    prefixes: &["model."],
    keys: KEYS,
    rules: RULES,
    without: &["output.weight"],
    ..NONE
};

/// A scaling that changes nothing, as the runtime's converter writes it.
const KEYS: &[Key] =
    &[is("rope.scaling.type", Fixed::Text("linear")), is("rope.scaling.factor", Fixed::Number(1.0))];

const TERNARY: Value = Value::Whole(&Whole::TERNARY);

const RULES: &[Rule] = &[
    rule(
        &["layers.{l}.self_attn.inner_attn_ln.weight", "layers.{l}.self_attn.attn_sub_norm.weight"],
        &["blk.{l}.attn_sub_norm.weight"],
        "n",
    ),
    rule(
        &["layers.{l}.mlp.ffn_layernorm.weight", "layers.{l}.mlp.ffn_sub_norm.weight"],
        &["blk.{l}.ffn_sub_norm.weight"],
        "ff",
    ),
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n").value(TERNARY),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n").value(TERNARY),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n").value(TERNARY),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)").value(TERNARY),
    rule(&["layers.{l}.mlp.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n").value(TERNARY),
    rule(&["layers.{l}.mlp.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n").value(TERNARY),
    rule(&["layers.{l}.mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff").value(TERNARY),
];
