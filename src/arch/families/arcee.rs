//! Arcee AFM: llama with a feed-forward without a gate.
//! Specification: `ArceeModel` of llama.cpp's converter.

use super::llama::LLAMA;
use super::{Arch, NONE};

pub const ARCEE: Arch = Arch {
    classes: &["ArceeForCausalLM"],
    gguf: "arcee",
    base: Some(&LLAMA),
    without: &["blk.{l}.ffn_gate.weight"],
    ..NONE
};
