//! GLM-4.1V, GLM-4.5V and GLM-OCR: patches of two frames, gated feed-forward parts, a convolution that gathers squares, and
//! a gated projector.
//! Specification: `Glm4VVisionModel` of llama.cpp's converter.

use super::llava::activation_if;
use super::qwen::{FRAMES, FUSED, QWEN2, is_of};
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make, number, positive};
use crate::arch::params::{Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Error, Result, Value};

pub const GLM4V: Arch = Arch {
    classes: CLASSES,
    gguf: "clip",
    applies: Some(|config| is_of(config, &["glm4v", "glm4v_moe"])),
    base: Some(&GLM),
    axes: &[axis("mlp", Size::Of(&["vision_config.out_hidden_size"]))],
    ..NONE
};

pub const GLM_OCR: Arch =
    Arch { classes: CLASSES, gguf: "clip", base: Some(&GLM), axes: &[axis("mlp", Size::Same("ff"))], ..NONE };

/// GLM 5.3 Flash: no places, and no norm of the patches.
pub const GLM5_NEXT: Arch = Arch {
    classes: &["Glm5NextForConditionalGeneration"],
    gguf: "clip",
    base: Some(&GLM),
    keys: GLM5_KEYS,
    axes: &[
        axis("mlp", Size::Same("ff")),
        axis("wider", Size::Or(&["vision_config.projection_intermediate_size"], &Size::Same("ff"))),
    ],
    rules: &[
        rule(&["merger.gate_proj.weight"], &["mm.gate.weight"], "wider out"),
        rule(&["merger.up_proj.weight"], &["mm.up.weight"], "wider out"),
        rule(&["merger.down_proj.weight"], &["mm.down.weight"], "out wider"),
    ],
    without: &["v.position_embd.weight", "v.norm_embd.weight"],
    ..NONE
};

const GLM5_KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("glm5v")),
    count("vision.spatial_merge_size", &["vision_config.spatial_merge_size"]).or(Fixed::Count(2)),
    number("vision.swiglu_clamp", &["vision_config.swiglu_limit"]),
    make("vision.image_min_pixels", |params| pixels(params, "preprocessor_config.min_image_tokens")),
    make("vision.image_max_pixels", |params| pixels(params, "preprocessor_config.max_image_tokens")),
];

/// The pixels of so many tokens as `key` says.
fn pixels(params: &Params<'_>, key: &str) -> Result<Option<Value>> {
    let config = params.config;
    let Some(tokens) = config.optional_count(key)? else { return Ok(None) };
    let told = |key, absent| Ok::<_, Error>(u64::from(config.optional_count(key)?.unwrap_or(absent)));
    let side = told("preprocessor_config.patch_size", 14)? * told("preprocessor_config.merge_size", 2)?;
    let all = side.saturating_mul(side).saturating_mul(tokens.into());
    Ok(Some(Value::U32(all.try_into().unwrap_or(u32::MAX))))
}

const CLASSES: &[&str] =
    &["Glm4vForConditionalGeneration", "Glm4vMoeForConditionalGeneration", "GlmOcrForConditionalGeneration"];

const GLM: Arch = Arch {
    base: Some(&QWEN2),
    prefixes: &["model.visual.", "visual."],
    keys: KEYS,
    axes: &[
        axis("image", Size::Of(&["vision_config.image_size"])),
        axis("out", Size::Of(&["vision_config.out_hidden_size"])),
        axis("in", Size::Same("out")),
        axis("high", Size::Same("merge")),
        axis("wide", Size::Same("merge")),
    ],
    rules: RULES,
    without: &["mm.0.weight", "mm.2.weight", "v.blk.{l}.attn_q.weight"],
    ignored: &["model.visual.rotary_pos_emb.*"],
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("glm4v")),
    make("use_gelu", |params| activation_if(params, "gelu")),
    make("use_silu", |params| activation_if(params, "silu")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.rms_norm_eps"]).or(Fixed::Number(1e-5)),
];

const BIASED: Need = Need::If("vision_config.attention_bias");

const RULES: &[Rule] = &[
    FRAMES,
    rule(&["patch_embed.proj.bias"], &["v.patch_embd.bias"], "n"),
    rule(&["embeddings.position_embedding.weight"], &["v.position_embd.weight"], "places n").may(),
    rule(&["post_conv_layernorm.weight"], &["v.norm_embd.weight"], "n").may(),
    FUSED.bias(BIASED),
    rule(&["blocks.{l}.attn.proj.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)").bias(BIASED),
    rule(&["blocks.{l}.attn.q_norm.weight"], &["v.blk.{l}.attn_q_norm.weight"], "d").may(),
    rule(&["blocks.{l}.attn.k_norm.weight"], &["v.blk.{l}.attn_k_norm.weight"], "d").may(),
    rule(&["blocks.{l}.mlp.gate_proj.weight"], &["v.blk.{l}.ffn_gate.weight"], "mlp n").bias(Need::May),
    rule(&["blocks.{l}.mlp.up_proj.weight"], &["v.blk.{l}.ffn_up.weight"], "mlp n").bias(Need::May),
    rule(&["blocks.{l}.mlp.down_proj.weight"], &["v.blk.{l}.ffn_down.weight"], "n mlp").bias(Need::May),
    rule(&["post_layernorm.weight"], &["v.post_ln.weight"], "n"),
    rule(&["downsample.weight"], &["mm.patch_merger.weight"], "out n high wide"),
    rule(&["downsample.bias"], &["mm.patch_merger.bias"], "out"),
    rule(&["merger.proj.weight"], &["mm.model.fc.weight"], "out in"),
    rule(&["merger.post_projection_norm.weight"], &["mm.post_norm.weight"], "out").bias(Need::Must),
    rule(&["merger.gate_proj.weight"], &["mm.gate.weight"], "ff out"),
    rule(&["merger.up_proj.weight"], &["mm.up.weight"], "ff out"),
    rule(&["merger.down_proj.weight"], &["mm.down.weight"], "out ff"),
];
