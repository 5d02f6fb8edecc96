//! Dream: a Qwen 2 that fills in masked tokens (diffusion), so each token attends to all.
//! Specification: `DreamModel` of llama.cpp's converter.

use super::qwen::QWEN2;
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, count, is};

pub const DREAM: Arch = Arch {
    classes: &["DreamModel"],
    gguf: "dream",
    base: Some(&QWEN2),
    keys: &[
        is("attention.causal", Fixed::Flag(false)),
        count("^tokenizer.ggml.mask_token_id", &["mask_token_id"]),
    ],
    ..NONE
};
