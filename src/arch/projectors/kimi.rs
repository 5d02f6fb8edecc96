//! Kimi-VL (MoonViT): places in a grid, queries, keys and values in one matrix; squares are projected by two layers.
//! Specification: `KimiVLModel` of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::VISION;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, positive};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};

pub const KIMI_VL: Arch = Arch {
    classes: &["KimiVLForConditionalGeneration"],
    gguf: "clip",
    base: Some(&VISION),
    prefixes: &["vision_tower."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: TEXT,
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("kimivl")),
    is("use_gelu", Fixed::Flag(true)),
    is("vision.projector.scale_factor", Fixed::Count(2)),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-5)),
];

const AXES: &[Axis] = &[
    axis("image", Size::Is(64 * 14)),
    axis("high", Size::Or(&["vision_config.init_pos_emb_height"], &Size::Is(64))),
    axis("wide", Size::Or(&["vision_config.init_pos_emb_width"], &Size::Is(64))),
    axis("four", Size::Is(4)),
    axis("square", Size::Mul("four", "n")),
    axis("hidden", Size::Same("square")),
];

const RULES: &[Rule] = &[
    rule(&["patch_embed.proj.weight"], &["v.patch_embd.weight"], "n channels row column"),
    rule(&["patch_embed.proj.bias"], &["v.patch_embd.bias"], "n"),
    rule(&["patch_embed.pos_emb.weight"], &["v.position_embd.weight"], "high wide n -> (high wide) n"),
    rule(&["encoder.blocks.{l}.norm0.weight"], &["v.blk.{l}.ln1.weight"], "n").bias(Need::Must),
    rule(&["encoder.blocks.{l}.norm1.weight"], &["v.blk.{l}.ln2.weight"], "n").bias(Need::Must),
    rule(
        &["encoder.blocks.{l}.wqkv.weight"],
        &["v.blk.{l}.attn_q.weight", "v.blk.{l}.attn_k.weight", "v.blk.{l}.attn_v.weight"],
        "[(h d)|(h d)|(h d)] n -> (h d) n ; (h d) n ; (h d) n",
    )
    .bias(Need::Must),
    rule(&["encoder.blocks.{l}.wo.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)").bias(Need::Must),
    rule(&["encoder.blocks.{l}.mlp.fc0.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["encoder.blocks.{l}.mlp.fc1.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
    rule(&["encoder.final_layernorm.weight"], &["v.post_ln.weight"], "n").bias(Need::Must),
    rule(&["^multi_modal_projector.pre_norm.weight"], &["mm.input_norm.weight"], "n").bias(Need::Must),
    rule(&["^multi_modal_projector.linear_1.weight"], &["mm.1.weight"], "hidden square").bias(Need::Must),
    rule(&["^multi_modal_projector.linear_2.weight"], &["mm.2.weight"], "text square").bias(Need::Must),
];
