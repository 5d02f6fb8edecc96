//! Ling 3 VL: Qwen 3-VL's tower without a bias of its patches; squares are normed in the tower and projected outside of it.
//! Specification: `BailingMoeV3VLVisionModel` of llama.cpp's converter.

use super::qwen::{MERGED, QWEN3, TEXT_EPSILON};
use crate::arch::config::Config;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, is};
use crate::arch::params::{Size, axis};
use crate::arch::rule::{Need, rule};
use ggraft_formats::Result;

pub const LING3_VL: Arch = Arch {
    classes: &["BailingMoeV3VLForConditionalGeneration"],
    gguf: "clip",
    applies: Some(is_normed_only),
    base: Some(&QWEN3),
    keys: &[
        is("projector_type", Fixed::Text("ling3vl")),
        is("use_gelu", Fixed::Flag(true)),
        MERGED,
        TEXT_EPSILON,
    ],
    axes: &[axis("hidden", Size::Same("text"))],
    rules: &[
        rule(&["merger.norm.weight"], &["mm.input_norm.weight"], "n").bias(Need::Must),
        rule(&["^linear_proj.0.weight"], &["mm.0.weight"], "hidden merged").bias(Need::Must),
        rule(&["^linear_proj.2.weight"], &["mm.2.weight"], "text hidden").bias(Need::Must),
    ],
    without: &[
        "v.patch_embd.bias",
        "v.post_ln.weight",
        "v.deepstack.{l}.norm.weight",
        "v.deepstack.{l}.fc1.weight",
        "v.deepstack.{l}.fc2.weight",
    ],
    ignored: &["model.word_embeddings.*"],
    ..NONE
};

/// Refuses a merger that projects, too.
fn is_normed_only(config: &Config) -> Result<bool> {
    const KEY: &str = "vision_config.disable_merger_proj";
    match config.optional_flag(KEY)? {
        Some(true) => Ok(true),
        other => Err(config.unsupported(KEY).expected(true).found(other.unwrap_or_default())),
    }
}
