//! MiniMax M3: CLIP's tower on patches of two frames. A head's positions are of time, height and width, the two halves of
//! each of which are laid side by side; each patch is projected by two layers, and squares of them by two more.
//! Specification: `MiniMaxM3VisionModel` of llama.cpp's converter.

use super::siglip::{SIGLIP, TEXT};
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, positive};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};

pub const MINIMAX_M3: Arch = Arch {
    classes: &["MiniMaxM3SparseForConditionalGeneration", "MiniMaxM3VLForConditionalGeneration"],
    gguf: "clip",
    base: Some(&SIGLIP),
    prefixes: &["vision_tower.vision_model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    without: &["v.patch_embd.bias", "v.position_embd.weight"],
    ignored: TEXT,
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("minimax_m3")),
    is("use_gelu", Fixed::Flag(true)),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-5)),
    count("vision.spatial_merge_size", &["vision_config.img_token_compression_config.spatial_merge_size"])
        .or(Fixed::Count(2)),
];

const AXES: &[Axis] = &[
    axis("third", Size::Make(|params, _| Ok(params.size("d", 0)? / 2 * 2 / 3 / 2))),
    axis("three", Size::Is(3)),
    axis("six", Size::Is(6)),
    axis("turning", Size::Mul("six", "third")),
    axis("rest", Size::Sub("d", "turning")),
    axis("merge", Size::Or(&["vision_config.img_token_compression_config.spatial_merge_size"], &Size::Is(2))),
    axis("squared", Size::Mul("merge", "merge")),
    axis("square", Size::Mul("squared", "text")),
    axis("hidden", Size::Or(&["projector_hidden_size"], &Size::Same("text"))),
    axis("out", Size::Same("text")),
];

const APART: &str = "(h [(two three third)|rest]) n -> (h [(three two third)|rest]) n";

const RULES: &[Rule] = &[
    rule(
        &["embeddings.patch_embedding.weight"],
        &["v.patch_embd.weight", "v.patch_embd.weight.1"],
        "n channels [1|1] row column -> n channels row column ; n channels row column",
    ),
    rule(&["pre_layrnorm.weight"], &["v.pre_ln.weight"], "n").bias(Need::Must),
    rule(&["post_layernorm.weight"], &["v.post_ln.weight"], "n").may().bias(Need::May),
    rule(&["encoder.layers.{l}.self_attn.q_proj.weight"], &["v.blk.{l}.attn_q.weight"], APART)
        .bias(Need::Must),
    rule(&["encoder.layers.{l}.self_attn.k_proj.weight"], &["v.blk.{l}.attn_k.weight"], APART)
        .bias(Need::Must),
    rule(&["^multi_modal_projector.linear_1.weight"], &["mm.1.weight"], "hidden n").bias(Need::Must),
    rule(&["^multi_modal_projector.linear_2.weight"], &["mm.2.weight"], "text hidden").bias(Need::Must),
    rule(&["^patch_merge_mlp.linear_1.weight"], &["mm.merger.fc1.weight"], "hidden square").bias(Need::Must),
    rule(&["^patch_merge_mlp.linear_2.weight"], &["mm.merger.fc2.weight"], "out hidden").bias(Need::Must),
];
