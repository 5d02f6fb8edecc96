//! Muse Glimmer: a tower whose heads have the rows of rotary embedding in pairs, as a GGUF has not; its patches are of
//! several frames, whose kernels are summed, for an image is the same in all. Three layers project.
//! Specification: `MuseGlimmerVisionModel` of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::VISION;
use crate::arch::axes::{Piece, Step};
use crate::arch::computed::{SUM, computed};
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, positive};
use crate::arch::moved::moved;
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Checkpoint, Result, Tensor};

pub const MUSE_GLIMMER: Arch = Arch {
    classes: &["MuseGlimmerForConditionalGeneration"],
    gguf: "clip",
    base: Some(&VISION),
    prefixes: &["model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: TEXT,
    prepared: summed,
    ..NONE
};

const PATCHES: &str = "model.vision_tower.patch_embedder.patch_embedding.weight";

/// The kernels of all frames of a patch as one.
fn summed(params: &Params<'_>, checkpoint: &Checkpoint) -> Result<Option<Checkpoint>> {
    let (n, frames) = (params.size("n", 0)?, params.size("frames", 0)?);
    let shape = ["n", "channels", "row", "column"].map(|axis| params.size(axis, 0));
    let shape = shape.into_iter().collect::<Result<Vec<u64>>>()?;
    let one = shape[1..].iter().fold(1u64, |all, n| all.saturating_mul(*n));
    let (all, row) = (one.saturating_mul(frames), shape[3].max(1));
    let sum = |tensor: &Tensor| -> Result<Tensor> {
        if *tensor.shape().ne() != [all, n] {
            return Ok(tensor.clone());
        }
        let frame = |at: u64| {
            let step = |size, from, to| Step { size, from, to, tensor: 0 };
            let steps = vec![step(n, all, one), step(one / row, row, row), step(row, 1, 1)];
            let piece = Piece { source: 0, from: at * one, to: 0, steps };
            moved(&tensor.name, &shape, vec![tensor.clone()], &[piece])
        };
        computed(&tensor.name, SUM, (0..frames).map(frame).collect::<Result<Vec<Tensor>>>()?)
    };
    let tensors = checkpoint.tensors.iter().map(|tensor| match tensor.name == PATCHES {
        true => sum(tensor),
        false => Ok(tensor.clone()),
    });
    Ok(Some(Checkpoint { tensors: tensors.collect::<Result<Vec<Tensor>>>()?, ..checkpoint.clone() }))
}

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("muse-glimmer")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"]).must(),
    count("vision.spatial_merge_size", &["vision_config.merge_size"]).must(),
];

const AXES: &[Axis] = &[
    axis("high", Size::Of(&["vision_config.pos_emb_height"])),
    axis("wide", Size::Of(&["vision_config.pos_emb_width"])),
    axis("places", Size::Mul("high", "wide")),
    axis("merge", Size::Of(&["vision_config.merge_size"])),
    axis("squared", Size::Mul("merge", "merge")),
    axis("merged", Size::Mul("squared", "n")),
    axis("merging", Size::Mul("patch", "merge")),
    // Images may have any size: this one is told.
    axis("image", Size::Mul("high", "merging")),
    axis("frames", Size::Of(&["vision_config.patch_temporal"])),
    axis("pair", Size::Div("d", "two")),
    axis("hidden", Size::Of(&["projector_hidden_size"])),
    axis("inner", Size::Same("hidden")),
];

const RULES: &[Rule] = &[
    rule(
        &["vision_tower.patch_embedder.patch_embedding.weight"],
        &["v.patch_embd.weight"],
        "n channels row column",
    ),
    rule(
        &["vision_tower.patch_embedder.position_embedding_table.weight"],
        &["v.position_embd.weight"],
        "places n",
    ),
    rule(&["vision_tower.ln_pre.weight"], &["v.pre_ln.weight"], "n").bias(Need::Must),
    rule(&["vision_tower.ln_post.weight"], &["v.post_ln.weight"], "n").bias(Need::Must),
    rule(&["vision_tower.layers.{l}.norm1.weight"], &["v.blk.{l}.ln1.weight"], "n").bias(Need::Must),
    rule(&["vision_tower.layers.{l}.norm2.weight"], &["v.blk.{l}.ln2.weight"], "n").bias(Need::Must),
    rule(
        &["vision_tower.layers.{l}.attn.q_proj.weight"],
        &["v.blk.{l}.attn_q.weight"],
        "(h two pair) n -> (h pair two) n",
    )
    .bias(Need::Must),
    rule(
        &["vision_tower.layers.{l}.attn.k_proj.weight"],
        &["v.blk.{l}.attn_k.weight"],
        "(h two pair) n -> (h pair two) n",
    )
    .bias(Need::Must),
    rule(&["vision_tower.layers.{l}.attn.v_proj.weight"], &["v.blk.{l}.attn_v.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["vision_tower.layers.{l}.attn.proj.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)")
        .bias(Need::Must),
    rule(&["vision_tower.layers.{l}.mlp.fc1.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["vision_tower.layers.{l}.mlp.fc2.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff")
        .bias(Need::Must),
    rule(&["vision_adapter.fc1.weight"], &["mm.0.weight"], "hidden merged").bias(Need::May),
    rule(&["vision_adapter.fc2.weight"], &["mm.1.weight"], "inner hidden").bias(Need::May),
    rule(&["vision_projection.weight"], &["mm.2.weight"], "text inner").bias(Need::May),
];
