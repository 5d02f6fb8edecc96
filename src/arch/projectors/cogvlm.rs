//! CogVLM: a tower with a class token; a gated projector behind a matrix and a norm; embeddings that stand around an image.
//! Specification: `CogVLMVisionModel` of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::{VISION, rows};
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, positive};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};

pub const COGVLM: Arch = Arch {
    classes: &["CogVLMForCausalLM"],
    gguf: "clip",
    base: Some(&VISION),
    prefixes: &["model.vision."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: TEXT,
    ..NONE
};

const KEYS: &[Key] = &[
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-6)),
    is("projector_type", Fixed::Text("cogvlm")),
];

const AXES: &[Axis] = &[
    axis("one", Size::Is(1)),
    axis("patches", Size::Mul("grid", "grid")),
    axis("places", Size::Add("patches", "one")),
    axis("hidden", Size::Same("text")),
    axis("wide", Size::Make(|params, _| rows(params, "linear_proj.gate_proj.weight"))),
];

const RULES: &[Rule] = &[
    rule(&["patch_embedding.cls_embedding"], &["v.class_embd"], "1 n"),
    rule(&["patch_embedding.proj.weight"], &["v.patch_embd.weight"], "n channels row column"),
    rule(&["patch_embedding.proj.bias"], &["v.patch_embd.bias"], "n"),
    rule(&["patch_embedding.position_embedding.weight"], &["v.position_embd.weight"], "places n"),
    rule(
        &["transformer.layers.{l}.attention.query_key_value.weight"],
        &["v.blk.{l}.attn_qkv.weight"],
        "[(h d)|(h d)|(h d)] n",
    )
    .bias(Need::Must),
    rule(&["transformer.layers.{l}.attention.dense.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)")
        .bias(Need::Must),
    rule(&["transformer.layers.{l}.input_layernorm.weight"], &["v.blk.{l}.ln1.weight"], "n").bias(Need::Must),
    rule(&["transformer.layers.{l}.post_attention_layernorm.weight"], &["v.blk.{l}.ln2.weight"], "n")
        .bias(Need::Must),
    rule(&["transformer.layers.{l}.mlp.fc1.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["transformer.layers.{l}.mlp.fc2.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
    rule(&["linear_proj.linear_proj.weight"], &["mm.model.fc.weight"], "text n"),
    rule(&["linear_proj.norm1.weight"], &["mm.post_fc_norm.weight"], "text").bias(Need::Must),
    rule(&["linear_proj.gate_proj.weight"], &["mm.gate.weight"], "wide text"),
    rule(&["linear_proj.dense_h_to_4h.weight"], &["mm.up.weight"], "wide text"),
    rule(&["linear_proj.dense_4h_to_h.weight"], &["mm.down.weight"], "text wide"),
    rule(&["boi"], &["v.boi"], "1 1 text"),
    rule(&["eoi"], &["v.eoi"], "1 1 text"),
];
