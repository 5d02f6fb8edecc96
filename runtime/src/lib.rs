//! The room that runs models: llama.cpp's own shared library, loaded at run time from a folder. A GGUF goes in, and the
//! tokens of a text come out, the logits after each, and what every weight is multiplied by on the way.
//! It knows nothing of what is measured with them. Serves `ggraft measure` and `ggraft imatrix`.
//! Specification: `llama.h`, `ggml.h` and `ggml-backend.h` of the versions that `KNOWN` lists.

#![deny(unsafe_code)]

mod batch;
#[allow(unsafe_code)]
mod ffi;
mod find;
mod seen;

pub use batch::{Batch, Reading};
pub use ffi::{Context, KNOWN, Library, Model};
pub use find::{VARIABLE, find};
pub use seen::{Chosen, Operand, Product, Watch};
