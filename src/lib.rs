//! ggraft grafts a chat vector onto a continually pre-trained model and ships it as GGUF, in one streaming pass:
//! `out = CP + w * (chat - base)`.
//!
//! The map: `pipeline` is the line (open, adopt, merge, assign, write); `arch` knows architectures, `vocab`
//! tokenizers, `merge` what becomes of each tensor, `ftype` which dtype it gets, `report` what people look at,
//! `recipe` all that decides a merge, `cli` the words they type. Containers, dtypes and codecs live in the crate `ggraft_formats`.

#![forbid(unsafe_code)]

pub mod arch;
pub mod cli;
pub mod ftype;
pub mod merge;
pub mod pipeline;
pub mod recipe;
pub mod report;
pub mod vocab;
