//! GLM-4.1V, GLM-4.5V and GLM-OCR: patches of two frames, gated feed-forward parts, a convolution that gathers squares, and
//! a gated projector.
//! Specification: `Glm4VVisionModel` of llama.cpp's converter.

use super::llava::activation_if;
use super::qwen::{FRAMES, FUSED, QWEN2, is_of};
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, make, positive};
use crate::arch::params::{Size, axis};
use crate::arch::rule::{Need, Rule, rule};

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
