//! Llama 4: a tower with a class token; an adapter of two layers, and a projection by one matrix.
//! Specification: `Llama4VisionModel` of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::{VISION, inverse};
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, make, positive};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::Value;

pub const LLAMA4: Arch = Arch {
    classes: &["Llama4ForConditionalGeneration"],
    gguf: "clip",
    base: Some(&VISION),
    prefixes: &["vision_model.", "model.vision_model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: TEXT,
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("llama4")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.norm_eps"]).must(),
    make("vision.projector.scale_factor", |params| {
        inverse(params, "vision_config.pixel_shuffle_ratio").map(|n| Some(Value::U32(n as u32)))
    }),
    make("use_gelu", |params| {
        params.tell(String::from(
            "v.blk.*.ln2 is the norm before the feed-forward part (convert_hf_to_gguf calls it attn_post_norm, and the runtime would norm the attention)",
        ));
        Ok(Some(Value::Bool(true)))
    }),
];

const AXES: &[Axis] = &[
    axis("places", Size::Make(|params, _| Ok(params.size("grid", 0)?.saturating_pow(2) + 1))),
    axis("in", Size::Of(&["vision_config.projector_input_dim"])),
    axis("out", Size::Of(&["vision_config.projector_output_dim"])),
    axis("seen", Size::Of(&["vision_config.vision_output_dim"])),
];

const RULES: &[Rule] = &[
    rule(&["class_embedding"], &["v.class_embd"], "n"),
    rule(&["positional_embedding_vlm"], &["v.position_embd.weight"], "places n"),
    rule(&["patch_embedding.linear.weight"], &["v.patch_embd.weight"], "n (channels row column)"),
    rule(&["layernorm_pre.weight"], &["v.pre_ln.weight"], "n").bias(Need::Must),
    rule(&["layernorm_post.weight"], &["v.post_ln.weight"], "n").bias(Need::Must),
    rule(&["model.layers.{l}.input_layernorm.weight"], &["v.blk.{l}.ln1.weight"], "n").bias(Need::Must),
    rule(&["model.layers.{l}.post_attention_layernorm.weight"], &["v.blk.{l}.ln2.weight"], "n")
        .bias(Need::Must),
    rule(&["model.layers.{l}.self_attn.q_proj.weight"], &["v.blk.{l}.attn_q.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["model.layers.{l}.self_attn.k_proj.weight"], &["v.blk.{l}.attn_k.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["model.layers.{l}.self_attn.v_proj.weight"], &["v.blk.{l}.attn_v.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["model.layers.{l}.self_attn.o_proj.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)")
        .bias(Need::Must),
    rule(&["model.layers.{l}.mlp.fc1.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["model.layers.{l}.mlp.fc2.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
    rule(&["vision_adapter.mlp.fc1.weight"], &["mm.model.mlp.1.weight"], "in ff"),
    rule(&["vision_adapter.mlp.fc2.weight"], &["mm.model.mlp.2.weight"], "out in"),
    rule(
        &["^multi_modal_projector.linear_1.weight", "^model.multi_modal_projector.linear_1.weight"],
        &["mm.model.fc.weight"],
        "text seen",
    ),
];
