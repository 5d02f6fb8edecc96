//! InternVL: a tower with a class token and scaled residuals; patches are gathered in squares, normed and projected by two
//! layers. The names are the publisher's, or those of transformers (also Intern-S1).
//! Specification: `InternVisionModel` of llama.cpp's converter.

use super::llava::activation;
use super::siglip::TEXT;
use super::vision::{VISION, inverse};
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make, positive};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Result, Value};

pub const INTERNVL: Arch = Arch {
    classes: &["InternVisionModel", "InternVLForConditionalGeneration"],
    gguf: "clip",
    base: Some(&VISION),
    prefixes: &["vision_model.", "model.vision_tower."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: TEXT,
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("internvl")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"]).must(),
    make("use_silu", |params| activation(params, "silu")),
    make("use_gelu", |params| activation(params, "gelu")),
    make("vision.projector.scale_factor", |params| {
        inverse(params, "downsample_ratio").map(|n| Some(Value::U32(n as u32)))
    }),
    count("vision.preproc_min_tiles", &["min_dynamic_patch"]),
    count("vision.preproc_max_tiles", &["max_dynamic_patch"]),
];

const AXES: &[Axis] = &[
    axis("places", Size::Make(places)),
    axis("scale", Size::Make(|params, _| inverse(params, "downsample_ratio"))),
    axis("square", Size::Mul("scale", "scale")),
    axis("gathered", Size::Mul("square", "n")),
    axis("hidden", Size::Same("text")),
];

/// Those of the patches, and that of the class.
fn places(params: &Params<'_>, _: u32) -> Result<u64> {
    Ok(params.size("grid", 0)?.saturating_pow(2) + 1)
}

const RULES: &[Rule] = &[
    rule(&["embeddings.class_embedding", "embeddings.cls_token"], &["v.class_embd"], "1 1 n"),
    rule(
        &["embeddings.patch_embedding.weight", "embeddings.patch_embeddings.projection.weight"],
        &["v.patch_embd.weight"],
        "n channels row column",
    ),
    rule(
        &["embeddings.patch_embedding.bias", "embeddings.patch_embeddings.projection.bias"],
        &["v.patch_embd.bias"],
        "n",
    ),
    rule(
        &["embeddings.position_embedding", "embeddings.position_embeddings"],
        &["v.position_embd.weight"],
        "1 places n",
    ),
    rule(
        &["encoder.layers.{l}.norm1.weight", "encoder.layer.{l}.layernorm_before.weight"],
        &["v.blk.{l}.ln1.weight"],
        "n",
    )
    .bias(Need::May),
    rule(
        &["encoder.layers.{l}.norm2.weight", "encoder.layer.{l}.layernorm_after.weight"],
        &["v.blk.{l}.ln2.weight"],
        "n",
    )
    .bias(Need::May),
    rule(
        &["encoder.layers.{l}.attn.qkv.weight"],
        &["v.blk.{l}.attn_q.weight", "v.blk.{l}.attn_k.weight", "v.blk.{l}.attn_v.weight"],
        "[(h d)|(h d)|(h d)] n -> (h d) n ; (h d) n ; (h d) n",
    )
    .need(Need::Without("encoder.layer.{l}.attention.q_proj.weight"))
    .bias(Need::May),
    rule(&["encoder.layer.{l}.attention.q_proj.weight"], &["v.blk.{l}.attn_q.weight"], "(h d) n")
        .may()
        .bias(Need::May),
    rule(&["encoder.layer.{l}.attention.k_proj.weight"], &["v.blk.{l}.attn_k.weight"], "(h d) n")
        .may()
        .bias(Need::May),
    rule(&["encoder.layer.{l}.attention.v_proj.weight"], &["v.blk.{l}.attn_v.weight"], "(h d) n")
        .may()
        .bias(Need::May),
    rule(
        &["encoder.layers.{l}.attn.q_norm.weight", "encoder.layer.{l}.attention.q_norm.weight"],
        &["v.blk.{l}.attn_q_norm.weight"],
        "(h d)",
    )
    .may(),
    rule(
        &["encoder.layers.{l}.attn.k_norm.weight", "encoder.layer.{l}.attention.k_norm.weight"],
        &["v.blk.{l}.attn_k_norm.weight"],
        "(h d)",
    )
    .may(),
    rule(
        &["encoder.layers.{l}.attn.proj.weight", "encoder.layer.{l}.attention.projection_layer.weight"],
        &["v.blk.{l}.attn_out.weight"],
        "n (h d)",
    )
    .bias(Need::Must),
    rule(
        &["encoder.layers.{l}.mlp.fc1.weight", "encoder.layer.{l}.mlp.fc1.weight"],
        &["v.blk.{l}.ffn_up.weight"],
        "ff n",
    )
    .bias(Need::Must),
    rule(
        &["encoder.layers.{l}.mlp.fc2.weight", "encoder.layer.{l}.mlp.fc2.weight"],
        &["v.blk.{l}.ffn_down.weight"],
        "n ff",
    )
    .bias(Need::Must),
    rule(&["encoder.layers.{l}.ls1", "encoder.layer.{l}.lambda_1"], &["v.blk.{l}.ls1.weight"], "n"),
    rule(&["encoder.layers.{l}.ls2", "encoder.layer.{l}.lambda_2"], &["v.blk.{l}.ls2.weight"], "n"),
    rule(
        &["^mlp1.0.weight", "^model.multi_modal_projector.layer_norm.weight"],
        &["mm.model.mlp.0.weight"],
        "gathered",
    )
    .bias(Need::Must),
    rule(
        &["^mlp1.1.weight", "^model.multi_modal_projector.linear_1.weight"],
        &["mm.model.mlp.1.weight"],
        "text gathered",
    )
    .bias(Need::Must),
    rule(
        &["^mlp1.3.weight", "^model.multi_modal_projector.linear_2.weight"],
        &["mm.model.mlp.3.weight"],
        "text hidden",
    )
    .bias(Need::Must),
];
