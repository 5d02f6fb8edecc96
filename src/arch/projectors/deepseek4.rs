//! DeepSeek V4 Flash Vision: a tower with gated feed-forward parts, whose sizes stand at the root of the config; squares are
//! projected by two layers, and four embeddings mark where images begin, end, break and are filled up.
//! Specification: `DeepseekV4FlashVisionModel` of llama.cpp's converter.

use super::vision::VISION;
use crate::arch::config::Config;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Array, Result, Value};

pub const DEEPSEEK4V: Arch = Arch {
    classes: &["DeepseekV4ForCausalLM"],
    gguf: "clip",
    applies: Some(is_as_built),
    base: Some(&VISION),
    prefixes: &["vision."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: &["layers.*", "embed.*", "norm.*", "head.*", "hc_head*", "mtp.*", "model.*", "lm_head.*"],
    ..NONE
};

const KEYS: &[Key] = &[
    make("vision.image_mean", |params| colours(params, "preprocessor_config.image_mean")),
    make("vision.image_std", |params| colours(params, "preprocessor_config.image_std")),
    is("projector_type", Fixed::Text("deepseek4v")),
    is("vision.attention.layer_norm_epsilon", Fixed::Number(1e-6)),
    is("use_silu", Fixed::Flag(true)),
    count("vision.projector.scale_factor", &["vision_downsample_ratio"]).must(),
    count("vision.image_min_pixels", &["vision_min_pixels"]).must(),
];

/// Refuses what the runtime's graph, which has these two built in, does not compute.
fn is_as_built(config: &Config) -> Result<bool> {
    for (key, value) in [("vision_max_n_token", 384), ("vision_max_wh_ratio", 8)] {
        let told = config.count(key)?;
        if told != value {
            return Err(config.unsupported(key).expected(value).found(told));
        }
    }
    Ok(true)
}

/// A half for each colour, if nothing is told.
fn colours(params: &Params<'_>, key: &str) -> Result<Option<Value>> {
    match params.config.get(key) {
        Some(_) => super::vision::of_colours(params, key, f64::MIN),
        None => Ok(Some(Value::Array(Array::F32(vec![0.5; 3])))),
    }
}

const AXES: &[Axis] = &[
    axis("l", Size::Of(&["vision_n_layers"])),
    axis("n", Size::Of(&["vision_dim"])),
    axis("h", Size::Of(&["vision_n_heads"])),
    axis("ff", Size::Of(&["vision_inter_dim"])),
    axis("patch", Size::Of(&["vision_patch_size"])),
    axis("ratio", Size::Of(&["vision_downsample_ratio"])),
    axis("sixteen", Size::Is(16)),
    axis("cell", Size::Mul("patch", "ratio")),
    axis("image", Size::Mul("cell", "sixteen")),
    axis("squared", Size::Mul("ratio", "ratio")),
    axis("square", Size::Mul("squared", "n")),
    axis("hidden", Size::Same("text")),
];

const RULES: &[Rule] = &[
    rule(
        &["patch_embed.proj.weight"],
        &["v.patch_embd.weight"],
        "n (channels row column) -> n channels row column",
    ),
    rule(&["patch_embed.proj.bias"], &["v.patch_embd.bias"], "n").may(),
    rule(&["blocks.{l}.norm1.weight"], &["v.blk.{l}.ln1.weight"], "n"),
    rule(&["blocks.{l}.norm2.weight"], &["v.blk.{l}.ln2.weight"], "n"),
    rule(&["blocks.{l}.attn.wqkv.weight"], &["v.blk.{l}.attn_qkv.weight"], "[(h d)|(h d)|(h d)] n")
        .bias(Need::May),
    rule(&["blocks.{l}.attn.wo.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)").bias(Need::May),
    rule(
        &["blocks.{l}.mlp.w1.weight"],
        &["v.blk.{l}.ffn_gate.weight", "v.blk.{l}.ffn_up.weight"],
        "[ff|ff] n -> ff n ; ff n",
    )
    .bias(Need::May),
    rule(&["blocks.{l}.mlp.w2.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff").bias(Need::May),
    rule(&["norm.weight"], &["v.post_ln.weight"], "n"),
    rule(&["^aligner.w1.weight"], &["mm.1.weight"], "hidden square").bias(Need::Must),
    rule(&["^aligner.w2.weight"], &["mm.2.weight"], "text hidden").bias(Need::Must),
    rule(&["^image_newline"], &["v.image_newline"], "text"),
    rule(&["^image_start"], &["v.token_embd.img_start"], "text"),
    rule(&["^image_end"], &["v.token_embd.img_end"], "text"),
    rule(&["^image_pad"], &["v.token_embd.img_pad"], "text"),
];
