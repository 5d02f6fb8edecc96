//! What is asked for and what comes out: `target` is what a user may ask for with `--type`, `split` into how many files
//! it goes, `plan` what one output is going to be.

pub mod plan;
pub mod split;
pub mod target;
