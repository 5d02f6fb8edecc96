//! ggraft grafts a chat vector onto a model and ships it as GGUF.
#![forbid(unsafe_code)]

pub mod vocab;
