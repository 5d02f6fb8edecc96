//! Nemotron Nano that sees: RADIO, whose places are resized to those of the one size of images that the runtime uses, and two
//! layers that project four patches at a time. What hears beside it has a room of its own (`parakeet`).
//! Specification: `NemotronNanoV2VLModel` of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::{VISION, inverse, of_colours, rows};
use crate::arch::computed::resized;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, make};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Array, Checkpoint, Result, Tensor, Value};

pub const NEMOTRON: Arch = Arch {
    classes: CLASSES,
    gguf: "clip",
    base: Some(&RADIO),
    early: &[is("projector_type", Fixed::Text("nemotron_v2_vl"))],
    keys: SEEING,
    prepared: fewer,
    ..NONE
};

pub const CLASSES: &[&str] = &["NemotronH_Nano_VL_V2", "RADIOModel"];

/// The tower, with or without one that hears beside it.
pub const RADIO: Arch = Arch {
    base: Some(&VISION),
    prefixes: &["vision_model.radio_model.model."],
    keys: COLOURS,
    axes: AXES,
    rules: RULES,
    ignored: &["*input_conditioner*", "*patch_generator.video_embedder*", "*summary_idxs", TEXT[0]],
    ..NONE
};

/// The places of an image of the size that is used.
pub fn fewer(params: &Params<'_>, checkpoint: &Checkpoint) -> Result<Option<Checkpoint>> {
    let side = params.size("grid", 0)?;
    let tensors = checkpoint.tensors.iter().map(|tensor| {
        let is = tensor.name.ends_with("patch_generator.pos_embed");
        if is { resized(tensor.clone(), side) } else { Ok(tensor.clone()) }
    });
    Ok(Some(Checkpoint { tensors: tensors.collect::<Result<Vec<Tensor>>>()?, ..checkpoint.clone() }))
}

const COLOURS: &[Key] = &[
    make("vision.image_mean", |params| colours(params, "image_mean", f64::MIN, [0.485, 0.456, 0.406])),
    make("vision.image_std", |params| colours(params, "image_std", 0.0, [0.229, 0.224, 0.225])),
];

pub const SEEING: &[Key] = &[
    is("vision.attention.layer_norm_epsilon", Fixed::Number(1e-6)),
    is("use_gelu", Fixed::Flag(true)),
    make("vision.projector.scale_factor", |params| Ok(Some(Value::U32(scale(params)? as u32)))),
];

/// What is told of the colours, else RADIO's own.
fn colours(params: &Params<'_>, key: &str, least: f64, own: [f32; 3]) -> Result<Option<Value>> {
    let key = format!("preprocessor_config.{key}");
    match params.config.get(&key) {
        Some(_) => of_colours(params, &key, least),
        None => Ok(Some(Value::Array(Array::F32(own.to_vec())))),
    }
}

/// Patches along the side of those that are projected together.
fn scale(params: &Params<'_>) -> Result<u64> {
    const KEY: &str = "downsample_ratio";
    if params.config.get(KEY).is_some() { inverse(params, KEY) } else { Ok(2) }
}

/// RADIO v2.5-h's, where the config does not tell them.
const AXES: &[Axis] = &[
    axis("l", Size::Or(&["vision_config.num_hidden_layers"], &Size::Is(32))),
    axis("n", Size::Or(&["vision_config.hidden_size"], &Size::Is(1280))),
    axis("ff", Size::Or(&["vision_config.intermediate_size"], &Size::Is(5120))),
    axis("h", Size::Or(&["vision_config.num_attention_heads"], &Size::Is(16))),
    axis("image", Size::Or(&["force_image_size"], &Size::Is(512))),
    axis("classes", Size::Make(classes)),
    axis("scale", Size::Make(|params, _| scale(params))),
    axis("squared", Size::Mul("scale", "scale")),
    axis("merged", Size::Mul("squared", "n")),
    axis("hidden", Size::Or(&["projector_hidden_size"], &Size::Same("text"))),
];

/// Tokens in front of the patches: of several teachers, and registers.
fn classes(params: &Params<'_>, _: u32) -> Result<u64> {
    match params.checkpoint() {
        Some(_) => rows(params, "patch_generator.cls_token.token"),
        None => Ok(10),
    }
}

const RULES: &[Rule] = &[
    rule(&["patch_generator.cls_token.token"], &["v.class_embd"], "classes n"),
    rule(
        &["patch_generator.embedder.weight"],
        &["v.patch_embd.weight"],
        "n (channels row column) -> n channels row column",
    ),
    rule(&["patch_generator.pos_embed"], &["v.position_embd.weight"], "1 places n"),
    rule(&["blocks.{l}.norm1.weight"], &["v.blk.{l}.ln1.weight"], "n").bias(Need::Must),
    rule(&["blocks.{l}.norm2.weight"], &["v.blk.{l}.ln2.weight"], "n").bias(Need::Must),
    rule(&["blocks.{l}.attn.qkv.weight"], &["v.blk.{l}.attn_qkv.weight"], "[(h d)|(h d)|(h d)] n")
        .bias(Need::Must),
    rule(&["blocks.{l}.attn.proj.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)").bias(Need::Must),
    rule(&["blocks.{l}.mlp.fc1.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["blocks.{l}.mlp.fc2.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
    rule(&["^mlp1.0.weight"], &["mm.model.mlp.0.weight"], "merged").bias(Need::May),
    rule(&["^mlp1.1.weight"], &["mm.model.mlp.1.weight"], "hidden merged").bias(Need::May),
    rule(&["^mlp1.3.weight"], &["mm.model.mlp.3.weight"], "text hidden").bias(Need::May),
];
