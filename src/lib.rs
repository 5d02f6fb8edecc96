//! ggraft grafts a chat vector onto a continually pre-trained model and ships it as GGUF, in one streaming pass:
//! `out = CP + w * (chat - base)`.
//!
//! The map: `pipeline` is the line (open, adopt, merge, assign, write); `arch` knows architectures, `vocab`
//! tokenizers, `checkpoint` turns both back into a Hugging Face directory, `merge` says what becomes of each tensor,
//! `ftype` which dtype it gets (`budget`: by what it costs), `target` what may be asked for, `division` into how many
//! files, `recipe` all that decides a merge, `hash` what tells weights from others, `report` is what people look at,
//! `cli` the words they type. Containers, dtypes and codecs live in the crate `ggraft_formats`.

#![forbid(unsafe_code)]

pub mod arch;
pub mod budget;
pub mod checkpoint;
pub mod cli;
pub mod difference;
pub mod division;
pub mod figures;
pub mod ftype;
pub mod hash;
pub mod merge;
pub mod meta;
pub mod meter;
pub mod nearest;
pub mod pipeline;
pub mod plan;
pub mod recipe;
pub mod report;
pub mod target;
pub mod vocab;
