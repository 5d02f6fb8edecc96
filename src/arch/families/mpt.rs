//! MPT: norms without biases, queries, keys and values in one tensor as they are, linear biases (ALiBi) for positions.
//! Specification: `MPTModel` of llama.cpp's converter.

use super::{Arch, NONE};
use crate::arch::config::Config;
use crate::arch::keys::{Fixed, Key, count, is, make, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Result, Value};

pub const MPT: Arch = Arch {
    classes: &["MPTForCausalLM"],
    gguf: "mpt",
    prefixes: &["transformer."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ..NONE
};

const KEYS: &[Key] = &[
    count("context_length", &["max_seq_len"]).must(),
    size("embedding_length", "n"),
    size("block_count", "l"),
    size("feed_forward_length", "ff"),
    size("attention.head_count", "h"),
    make("attention.head_count_kv", |params| {
        let told = attention(params)?.map(|a| a.optional_count("kv_n_heads")).transpose()?.flatten();
        Ok(told.map(Value::U32))
    }),
    is("attention.layer_norm_epsilon", Fixed::Number(1e-5)),
    make("attention.clamp_kqv", |params| number(params, "clip_qkv")),
    make("attention.max_alibi_bias", |params| {
        let used = attention(params)?.map(|a| a.flag("alibi")).transpose()?.unwrap_or(true);
        if used {
            Ok(number(params, "alibi_bias_max")?.or(Some(Value::F32(8.0))))
        } else {
            Ok(Some(Value::F32(0.0)))
        }
    }),
];

fn attention(params: &Params<'_>) -> Result<Option<Config>> {
    params.config.section("attn_config")
}

fn number(params: &Params<'_>, key: &str) -> Result<Option<Value>> {
    let told = attention(params)?.map(|a| a.optional_number(key)).transpose()?.flatten();
    Ok(told.map(|x| Value::F32(x as f32)))
}

const AXES: &[Axis] = &[
    axis("l", Size::Of(&["n_layers"])),
    axis("n", Size::Of(&["d_model"])),
    axis("h", Size::Of(&["n_heads"])),
    axis("vocab", Size::Of(&["vocab_size"])),
    axis("m", Size::Same("n")),
    axis("four", Size::Is(4)),
    axis("ff", Size::Mul("four", "n")),
    axis("d", Size::Div("n", "h")).or("n", "a multiple of {h} heads"),
    axis(
        "qkv",
        Size::Make(|params, layer| {
            let told = attention(params)?.map(|a| a.optional_count("kv_n_heads")).transpose()?.flatten();
            let heads = params.size("h", layer)? + 2 * told.map_or(params.size("h", layer)?, u64::from);
            Ok(heads * params.size("d", layer)?)
        }),
    ),
];

const RULES: &[Rule] = &[
    rule(&["wte.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["norm_f.weight"], &["output_norm.weight"], "n").bias(Need::May),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n").may(),
    rule(&["blocks.{l}.norm_1.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::May),
    rule(&["blocks.{l}.attn.Wqkv.weight"], &["blk.{l}.attn_qkv.weight"], "qkv n").bias(Need::May),
    rule(&["blocks.{l}.attn.q_ln.weight"], &["blk.{l}.attn_q_norm.weight"], "n").may().bias(Need::May),
    rule(&["blocks.{l}.attn.k_ln.weight"], &["blk.{l}.attn_k_norm.weight"], "n").may().bias(Need::May),
    rule(&["blocks.{l}.attn.out_proj.weight"], &["blk.{l}.attn_output.weight"], "n m").bias(Need::May),
    rule(&["blocks.{l}.norm_2.weight"], &["blk.{l}.ffn_norm.weight"], "n").bias(Need::May),
    rule(&["blocks.{l}.ffn.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(Need::May),
    rule(&["blocks.{l}.ffn.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(Need::May),
];
