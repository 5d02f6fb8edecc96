//! The only room of the house, beside the file mapping, that may hold `unsafe`: calls into llama.cpp. What it gives out
//! is safe to use; what it takes on trust is that a library which calls itself one of `KNOWN`, and whose defaults are
//! theirs, keeps to their headers. Specification: `llama.h`, `ggml.h` and `ggml-backend.h` of llama.cpp v0.5.0.

mod context;
mod functions;
mod layout;
mod library;
mod model;
mod watch;

pub use context::Context;
pub use layout::KNOWN;
pub use library::Library;
pub use model::Model;
