//! Hunyuan VL and OCR: two convolutions and a matrix between norms, and the embeddings that stand around an image and at the
//! ends of its lines. The place of a class token is left out.
//! Specification: `HunyuanVLVisionModel` of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::VISION;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, positive};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};

pub const HUNYUAN_VL: Arch = Arch {
    classes: &["HunYuanVLForConditionalGeneration"],
    gguf: "clip",
    base: Some(&VISION),
    prefixes: &["vit."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: TEXT,
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("hunyuanvl")),
    is("use_gelu", Fixed::Flag(true)),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.rms_norm_eps"]).or(Fixed::Number(1e-5)),
    count("vision.spatial_merge_size", &["vision_config.spatial_merge_size"]).or(Fixed::Count(2)),
    count("vision.image_min_pixels", &["preprocessor_config.min_pixels"]).must(),
    count("vision.image_max_pixels", &["preprocessor_config.max_pixels"]).must(),
];

const AXES: &[Axis] = &[
    axis("image", Size::Or(&["vision_config.image_size", "vision_config.max_image_size"], &Size::Is(2048))),
    axis("one", Size::Is(1)),
    axis("patches", Size::Mul("grid", "grid")),
    axis("places", Size::Add("patches", "one")),
    axis("high", Size::Or(&["vision_config.spatial_merge_size"], &Size::Is(2))),
    axis("wide", Size::Same("high")),
    axis("twice", Size::Mul("two", "n")),
    axis("gathered", Size::Mul("two", "twice")),
];

const RULES: &[Rule] = &[
    rule(&["embeddings.patch_embedding.weight"], &["v.patch_embd.weight"], "n channels row column"),
    rule(&["embeddings.patch_embedding.bias"], &["v.patch_embd.bias"], "n"),
    rule(&["embeddings.position_embedding.weight"], &["v.position_embd.weight"], "places n").after("one"),
    rule(&["layers.{l}.input_layernorm.weight"], &["v.blk.{l}.ln1.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["v.blk.{l}.ln2.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["v.blk.{l}.attn_q.weight"], "(h d) n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["v.blk.{l}.attn_k.weight"], "(h d) n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["v.blk.{l}.attn_v.weight"], "(h d) n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)").bias(Need::Must),
    rule(&["layers.{l}.mlp.dense_h_to_4h.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["layers.{l}.mlp.dense_4h_to_h.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
    rule(&["perceive.before_rms.weight"], &["mm.pre_norm.weight"], "n"),
    rule(&["perceive.proj.0.weight"], &["mm.0.weight"], "twice n high wide"),
    rule(&["perceive.proj.0.bias"], &["mm.0.bias"], "twice"),
    rule(&["perceive.proj.2.weight"], &["mm.2.weight"], "gathered twice 1 1"),
    rule(&["perceive.proj.2.bias"], &["mm.2.bias"], "gathered"),
    rule(&["perceive.mlp.weight"], &["mm.model.fc.weight"], "text gathered").bias(Need::Must),
    rule(&["perceive.after_rms.weight"], &["mm.post_norm.weight"], "text"),
    rule(&["perceive.image_newline"], &["v.image_newline"], "gathered"),
    rule(&["perceive.image_sep"], &["v.view_seperator"], "text").may(),
    rule(&["perceive.image_begin"], &["mm.image_begin"], "text"),
    rule(&["perceive.image_end"], &["mm.image_end"], "text"),
];
