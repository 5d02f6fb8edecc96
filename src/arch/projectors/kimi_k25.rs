//! Kimi K2.5 and GLM-5.2 Vision (MoonViT of three dimensions): places in a grid and in time; the pairs of heads that rotate
//! by height and by width are laid apart; squares are projected by two layers.
//! Specification: `KimiK25Model`, `Glm5vModel` of llama.cpp's converter.

use super::kimi::KIMI_VL;
use super::siglip::TEXT;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make, positive};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Result, Value};

pub const KIMI_K25: Arch = Arch {
    classes: &["KimiK25ForConditionalGeneration"],
    gguf: "clip",
    base: Some(&TOWER),
    rules: &[
        rule(&["^mm_projector.proj.0.weight"], &["mm.1.weight"], "hidden square").bias(Need::Must),
        rule(&["^mm_projector.proj.2.weight"], &["mm.2.weight"], "text square").bias(Need::Must),
    ],
    ..NONE
};

pub const GLM5V: Arch = Arch {
    classes: &["Glm5vForConditionalGeneration"],
    gguf: "clip",
    base: Some(&TOWER),
    rules: &[
        rule(&["^mm_projector.linear_1.weight"], &["mm.1.weight"], "hidden square").bias(Need::Must),
        rule(&["^mm_projector.linear_2.weight"], &["mm.2.weight"], "text square").bias(Need::Must),
    ],
    ..NONE
};

const TOWER: Arch = Arch {
    base: Some(&KIMI_VL),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    without: WITHOUT,
    ignored: TEXT,
    ..NONE
};

const WITHOUT: &[&str] = &[
    "projector_type",
    "use_gelu",
    "vision.projector.scale_factor",
    "vision.attention.layer_norm_epsilon",
    "v.blk.{l}.attn_q.weight",
];

const HIGH: &[&str] = &["vision_config.init_pos_emb_height", "vision_config.pos_emb_height"];
const WIDE: &[&str] = &["vision_config.init_pos_emb_width", "vision_config.pos_emb_width"];
const LONG: &[&str] = &["vision_config.init_pos_emb_time", "vision_config.pos_emb_time"];

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("kimik25")),
    count("^vision.pos_emb_height", HIGH).or(Fixed::Count(64)),
    count("^vision.pos_emb_width", WIDE).or(Fixed::Count(64)),
    count("^vision.pos_emb_time", LONG).or(Fixed::Count(4)),
    make("use_gelu", |params| {
        let told = params.config.text("vision_config.projector_hidden_act")?;
        Ok(Some(Value::Bool(told.is_none_or(|told| told == "gelu"))))
    }),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.projector_ln_eps"])
        .or(Fixed::Number(1e-5)),
    make("vision.projector.scale_factor", |params| merge(params).map(|n| Some(Value::U32(n as u32)))),
    make("vision.image_min_pixels", |params| pixels(params, 8.0)),
    make("vision.image_max_pixels", |params| {
        let told = params.config.optional_number("preprocessor_config.in_patch_limit")?;
        pixels(params, told.unwrap_or(16384.0))
    }),
];

/// How many patches a token sees in either direction.
fn merge(params: &Params<'_>) -> Result<u64> {
    const KEY: &str = "vision_config.merge_kernel_size";
    Ok(params.config.get(KEY).map_or(Ok(None), |_| params.config.whole_at(KEY, 0))?.unwrap_or(2).into())
}

/// The pixels of so many patches.
fn pixels(params: &Params<'_>, patches: f64) -> Result<Option<Value>> {
    let patch = params.size("patch", 0)?;
    Ok(Some(Value::U32((patches as u64).saturating_mul(patch * patch).try_into().unwrap_or(u32::MAX))))
}

const AXES: &[Axis] = &[
    axis("patch", Size::Or(&["vision_config.patch_size"], &Size::Is(14))),
    axis("high", Size::Or(HIGH, &Size::Is(64))),
    axis("wide", Size::Or(WIDE, &Size::Is(64))),
    axis("long", Size::Or(LONG, &Size::Is(4))),
    axis("image", Size::Mul("high", "patch")),
    axis("pair", Size::Is(2)),
    axis("quarter", Size::Div("d", "four")).or("d", "a multiple of four"),
    axis("merge", Size::Make(|params, _| merge(params))),
    axis("squared", Size::Mul("merge", "merge")),
    axis("square", Size::Mul("squared", "n")),
];

const RULES: &[Rule] = &[
    rule(&["patch_embed.pos_emb.weight"], &["v.position_embd.weight"], "high wide n"),
    rule(&["patch_embed.pos_emb.time_weight"], &["v.position_embd.time_weight"], "long 1 n -> long n").may(),
    rule(
        &["encoder.blocks.{l}.wqkv.weight"],
        &["v.blk.{l}.attn_qkv.weight"],
        "[(h quarter two pair)|(h quarter two pair)|(h d)] n -> [(h two quarter pair)|(h two quarter pair)|(h d)] n",
    )
    .bias(Need::Must),
    rule(&["^mm_projector.pre_norm.weight"], &["mm.input_norm.weight"], "n").bias(Need::Must),
];
