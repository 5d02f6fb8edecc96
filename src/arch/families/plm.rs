//! PLM: keys and values by a latent, as DeepSeek V2 has them, whose up-projection stays whole; no gate.
//! Specification: `PLMModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::keys::{Key, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Rule, rule};

pub const PLM: Arch = Arch {
    classes: &["PLMForCausalLM"],
    gguf: "plm",
    base: Some(&DECODER),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    without: &["blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight", "blk.{l}.ffn_gate.weight"],
    ..NONE
};

const KEYS: &[Key] = &[
    size("vocab_size", "vocab"),
    size("attention.kv_lora_rank", "r"),
    size("attention.key_length", "k_whole"),
    size("attention.value_length", "v"),
    size("rope.dimension_count", "rope"),
];

const AXES: &[Axis] = &[
    axis("k", Size::Of(&["qk_nope_head_dim"])),
    axis("v", Size::Of(&["v_head_dim"])),
    axis("r", Size::Of(&["kv_lora_rank"])),
    axis("rope", Size::Of(&["qk_rope_head_dim"])),
    axis("k_whole", Size::Add("k", "rope")),
    axis("latent", Size::Add("r", "rope")),
    axis("kv", Size::Add("k", "v")),
];

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h k_whole) n"),
    rule(&["layers.{l}.self_attn.kv_a_proj_with_mqa.weight"], &["blk.{l}.attn_kv_a_mqa.weight"], "latent n"),
    rule(&["layers.{l}.self_attn.kv_a_layernorm.weight"], &["blk.{l}.attn_kv_a_norm.weight"], "r"),
    rule(&["layers.{l}.self_attn.kv_b_proj.weight"], &["blk.{l}.attn_kv_b.weight"], "(h kv) r"),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h v)"),
];
