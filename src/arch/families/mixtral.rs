//! Mixtral: llama with experts, which a GGUF calls llama too.
//! Specification: `LlamaModel` of llama.cpp's converter.

use super::llama::LLAMA;
use super::{Arch, NONE, experts};

pub const MIXTRAL: Arch = Arch {
    classes: &["MixtralForCausalLM"],
    gguf: "llama",
    base: Some(&LLAMA),
    without: experts::NO_DENSE,
    shares: &[experts::MIXTRAL],
    ..NONE
};
