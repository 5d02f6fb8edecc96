//! EXAONE 3 and 3.5: a llama whose tensors have names of their own, and whose heads stay as they are.
//! Specification: `ExaoneModel` of llama.cpp's converter.

use super::decoder::{DECODER, ROPE_FREQS};
use super::{Arch, NONE, partial};
use crate::arch::keys::make;
use crate::arch::rule::{Rule, rule};

pub const EXAONE: Arch = Arch {
    classes: &["ExaoneForCausalLM"],
    gguf: "exaone",
    base: Some(&DECODER),
    prefixes: &["transformer."],
    keys: &[make("rope.dimension_count", partial::of_plain_head)],
    rules: RULES,
    made: &[ROPE_FREQS],
    ..NONE
};

const RULES: &[Rule] = &[
    rule(&["wte.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["ln_f.weight"], &["output_norm.weight"], "n"),
    rule(&["h.{l}.ln_1.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["h.{l}.attn.attention.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n"),
    rule(&["h.{l}.attn.attention.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n"),
    rule(&["h.{l}.attn.attention.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n"),
    rule(&["h.{l}.attn.attention.out_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["h.{l}.ln_2.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["h.{l}.mlp.c_fc_0.weight"], &["blk.{l}.ffn_gate.weight"], "ff n"),
    rule(&["h.{l}.mlp.c_fc_1.weight"], &["blk.{l}.ffn_up.weight"], "ff n"),
    rule(&["h.{l}.mlp.c_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
];
