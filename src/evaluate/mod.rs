//! Running models over a text, in llama.cpp's own library: `windows` cuts the text as llama.cpp's programs do,
//! `divergence` tells how likely models find it and how far their guesses are from a reference's, `importance` what their
//! weights are multiplied by. Serves `ggraft measure` and `ggraft imatrix`. A feature of the build: `runtime`.

mod divergence;
mod importance;
mod windows;

pub use divergence::{Measured, Run, measure};
pub use ggraft_runtime::Library;
pub use importance::{Collected, Collector, collect};
pub use windows::{How, Text};
