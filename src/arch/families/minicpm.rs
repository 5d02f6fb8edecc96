//! MiniCPM: llama with three multipliers. MiniCPM 3: latent attention, as DeepSeek V2 has it, whose up-projection stays
//! whole.
//! Specification: `MiniCPMModel`, `MiniCPM3Model` of llama.cpp's converter.

use super::decoder::{DECODER, NAMES};
use super::{Arch, NONE, llama, phi3};
use crate::arch::keys::{Key, count, make, number, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Result, Value};

pub const MINICPM: Arch = Arch {
    classes: &["MiniCPMForCausalLM"],
    gguf: "minicpm",
    base: Some(&DECODER),
    keys: KEYS,
    axes: llama::AXES,
    rules: llama::RULES,
    made: phi3::FACTORS,
    ..NONE
};

pub const MINICPM3: Arch = Arch {
    classes: &["MiniCPM3ForCausalLM"],
    gguf: "minicpm3",
    base: Some(&NAMES),
    keys: KEYS3,
    axes: AXES3,
    rules: RULES3,
    without: &["blk.{l}.attn_q.weight", "blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"],
    made: phi3::FACTORS,
    ..NONE
};

const KEYS: &[Key] = &[
    number("embedding_scale", &["scale_emb"]).must(),
    make("residual_scale", |params| {
        let depth = params.config.number("scale_depth")?;
        Ok(Some(Value::F32((depth / (params.size("l", 0)? as f64).sqrt()) as f32)))
    }),
    make("logit_scale", |params| {
        let base = params.config.number("dim_model_base")?;
        Ok(Some(Value::F32((params.size("n", 0)? as f64 / base) as f32)))
    }),
];

const KEYS3: &[Key] = &[
    count("context_length", &["max_position_embeddings"]).must(),
    size("embedding_length", "n"),
    size("block_count", "l"),
    size("feed_forward_length", "ff"),
    size("attention.head_count", "h"),
    size("attention.head_count_kv", "g"),
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]).must(),
    size("vocab_size", "vocab"),
    count("attention.q_lora_rank", &["q_lora_rank"]),
    size("attention.kv_lora_rank", "r"),
    size("attention.key_length", "k_whole"),
    size("rope.dimension_count", "rope"),
];

const AXES3: &[Axis] = &[
    axis("k", Size::Of(&["qk_nope_head_dim"])),
    axis("v", Size::Make(value_width)),
    axis("r", Size::Of(&["kv_lora_rank"])),
    axis("qr", Size::Of(&["q_lora_rank"])),
    axis("rope", Size::Of(&["qk_rope_head_dim"])),
    axis("k_whole", Size::Add("k", "rope")),
    axis("latent", Size::Add("r", "rope")),
    axis("kv", Size::Add("k", "v")),
    axis("rotating", Size::Same("rope")),
];

/// The width of a value: older configs do not tell it.
fn value_width(params: &Params<'_>, layer: u32) -> Result<u64> {
    match params.config.optional_count("v_head_dim")? {
        Some(n) => Ok(n.into()),
        None => Ok(params.size("n", layer)? / params.size("h", layer)?.max(1)),
    }
}

const RULES3: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_a_proj.weight"], &["blk.{l}.attn_q_a.weight"], "qr n").bias(Need::May),
    rule(&["layers.{l}.self_attn.q_a_layernorm.weight"], &["blk.{l}.attn_q_a_norm.weight"], "qr"),
    rule(&["layers.{l}.self_attn.q_b_proj.weight"], &["blk.{l}.attn_q_b.weight"], "(h k_whole) qr"),
    rule(&["layers.{l}.self_attn.kv_a_proj_with_mqa.weight"], &["blk.{l}.attn_kv_a_mqa.weight"], "latent n")
        .bias(Need::May),
    rule(&["layers.{l}.self_attn.kv_a_layernorm.weight"], &["blk.{l}.attn_kv_a_norm.weight"], "r"),
    rule(&["layers.{l}.self_attn.kv_b_proj.weight"], &["blk.{l}.attn_kv_b.weight"], "(h kv) r"),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h v)").bias(Need::May),
];
