//! Llamas and Qwens with little of their own: openPangu, Nanbeige 4, Maincoder, KORMo.
//! Specification: `PanguEmbeddedModel`, `NanbeigeModel`, `MaincoderModel`, `Qwen2Model` of llama.cpp's converter.

use super::decoder::{DECODER, UNTIED_HEAD};
use super::llama::LLAMA;
use super::qwen::NORMED;
use super::{Arch, NONE, Uses};
use crate::arch::keys::{Fixed, Key, count, flag, make, size};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::Value;

pub const PANGU: Arch = Arch {
    classes: &["PanguEmbeddedForCausalLM"],
    gguf: "pangu-embedded",
    base: Some(&DECODER),
    keys: PANGU_KEYS,
    rules: BIASED,
    shares: &[UNTIED_HEAD],
    ..NONE
};

/// A llama whose layers run more than once.
pub const NANBEIGE: Arch = Arch {
    classes: &["NanbeigeForCausalLM"],
    gguf: "nanbeige",
    base: Some(&LLAMA),
    keys: NANBEIGE_KEYS,
    ..NONE
};

pub const MAINCODER: Arch = Arch {
    classes: &["MaincoderForCausalLM"],
    gguf: "maincoder",
    base: Some(&DECODER),
    keys: &[count("rope.dimension_count", &["head_dim"])],
    rules: NORMED,
    ..NONE
};

pub const KORMO: Arch = Arch {
    classes: &["KORMoForCausalLM"],
    gguf: "qwen2",
    base: Some(&DECODER),
    rules: KORMO_RULES,
    uses: Uses::Pooled,
    ..NONE
};

const PANGU_KEYS: &[Key] = &[
    size("vocab_size", "vocab"),
    size("rope.dimension_count", "d"),
    size("attention.key_length", "d"),
    size("attention.value_length", "d"),
];

const NANBEIGE_KEYS: &[Key] = &[
    make("num_loops", |params| {
        let loops = params.config.whole_at("num_loops", 0)?.unwrap_or(1);
        Ok(Some(Value::U32(loops.max(1))))
    }),
    flag("skip_loop_final_norm", &["skip_loop_final_norm"]).or(Fixed::Flag(false)),
];

const BIAS: Need = Need::If("bias");

const BIASED: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n").bias(BIAS),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n").bias(BIAS),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n").bias(BIAS),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)").bias(BIAS),
];

const KORMO_RULES: &[Rule] = &[
    rule(&["layers.{l}.pre_attention_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["layers.{l}.pre_mlp_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
];
