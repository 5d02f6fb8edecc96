//! Step 3 VL: CLIP's tower with a scale of each part's output; two convolutions halve the grid of patches, and one matrix
//! projects.
//! Specification: `Step3VLVisionModel` of llama.cpp's converter.

use super::vision::{VISION, of_colours};
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, make, positive};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Array, DType, Result, Value};

pub const STEP3_VL: Arch = Arch {
    classes: &["StepVLForConditionalGeneration", "Step3p7ForConditionalGeneration"],
    gguf: "clip",
    base: Some(&VISION),
    prefixes: &["vision_model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: &["model.*", "lm_head.*", "language_model.*"],
    ..NONE
};

const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const DEVIATION: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

const KEYS: &[Key] = &[
    make("vision.image_mean", |params| colours(params, "preprocessor_config.image_mean", MEAN)),
    make("vision.image_std", |params| colours(params, "preprocessor_config.image_std", DEVIATION)),
    is("projector_type", Fixed::Text("step3vl")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-5)),
    make("vision.projector.scale_factor", |params| {
        let stride = params.config.count("understand_projector_stride")?;
        Ok(Some(Value::U32(stride.saturating_mul(stride))))
    }),
    is("vision.preproc_image_size", Fixed::Count(3024)),
];

/// CLIP's numbers, if no others are told.
fn colours(params: &Params<'_>, key: &str, absent: [f32; 3]) -> Result<Option<Value>> {
    match params.config.get(key) {
        Some(_) => of_colours(params, key, f64::MIN),
        None => Ok(Some(Value::Array(Array::F32(absent.to_vec())))),
    }
}

const AXES: &[Axis] = &[
    axis("ff", Size::Or(&["vision_config.intermediate_size"], &Size::Make(widened))),
    axis("four", Size::Is(4)),
    axis("twice", Size::Mul("n", "two")),
    axis("wide", Size::Mul("n", "four")),
    axis("high", Size::Is(3)),
    axis("across", Size::Is(3)),
];

/// The width of the feed-forward part, as a ratio tells it.
fn widened(params: &Params<'_>, _: u32) -> Result<u64> {
    let ratio = params.config.optional_number("vision_config.mlp_ratio")?.unwrap_or(8960.0 / 1536.0);
    Ok((params.size("n", 0)? as f64 * ratio).round_ties_even() as u64)
}

const RULES: &[Rule] = &[
    rule(&["conv1.weight"], &["v.patch_embd.weight"], "n channels row column"),
    rule(&["positional_embedding"], &["v.position_embd.weight"], "places n").stored(DType::F32),
    rule(&["ln_pre.weight"], &["v.pre_ln.weight"], "n").bias(Need::Must),
    rule(&["transformer.resblocks.{l}.ln_1.weight"], &["v.blk.{l}.ln1.weight"], "n").bias(Need::Must),
    rule(&["transformer.resblocks.{l}.ln_2.weight"], &["v.blk.{l}.ln2.weight"], "n").bias(Need::Must),
    rule(
        &["transformer.resblocks.{l}.attn.in_proj_weight"],
        &["v.blk.{l}.attn_qkv.weight"],
        "[(h d)|(h d)|(h d)] n",
    ),
    rule(
        &["transformer.resblocks.{l}.attn.in_proj_bias"],
        &["v.blk.{l}.attn_qkv.bias"],
        "[(h d)|(h d)|(h d)]",
    ),
    rule(&["transformer.resblocks.{l}.attn.out_proj.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)")
        .bias(Need::Must),
    rule(&["transformer.resblocks.{l}.ls_1.gamma"], &["v.blk.{l}.ls1.weight"], "n"),
    rule(&["transformer.resblocks.{l}.ls_2.gamma"], &["v.blk.{l}.ls2.weight"], "n"),
    rule(&["transformer.resblocks.{l}.mlp.c_fc.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n")
        .bias(Need::Must),
    rule(&["transformer.resblocks.{l}.mlp.c_proj.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff")
        .bias(Need::Must),
    rule(&["vit_downsampler1.weight"], &["mm.0.weight"], "twice n high across"),
    rule(&["vit_downsampler1.bias"], &["mm.0.bias"], "twice"),
    rule(&["vit_downsampler2.weight"], &["mm.1.weight"], "wide twice high across"),
    rule(&["vit_downsampler2.bias"], &["mm.1.bias"], "wide"),
    rule(&["^vit_large_projector.weight"], &["mm.model.fc.weight"], "text wide"),
];
