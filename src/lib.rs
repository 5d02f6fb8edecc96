//! ggraft grafts a chat vector onto a continually pre-trained model and ships it as GGUF, in one streaming pass:
//! `out = CP + w * (chat - base)`.
//!
//! A merge in a few lines; no weight is read before the last of them, and the plan tells all that is going to be:
//!
//! ```
//! use ggraft::{Target, Type, Vector, Work, graft, merge::CHAT_VECTOR, open, write};
//! use std::path::Path;
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let out = folder.path().join("trio-Q4_K_M.gguf");
//! let trio = |name| open(&Path::new("fixtures/trio").join(name), &Default::default());
//! let (cp, chat, base) = (trio("cp")?, trio("chat")?, trio("base")?);
//! let vector = Vector { chat: chat.model, base: base.model };
//! let grafted = graft(cp, &[vector], CHAT_VECTOR)?;
//! let target = Target::new(Type::parse("Q4_K_M")?);
//! for plan in grafted.plans(&[vec![0.8]], &[target])? {
//!     println!("{} tensors, {} bytes", plan.steps.len(), plan.total);
//!     write(&[(plan, out.clone())], &Work::default(), &())?;
//! }
//! # assert_eq!(open(&out, &Default::default())?.model.tensors.len(), 30);
//! # Ok::<(), ggraft::Error>(())
//! ```
//!
//! The map of the house: `pipeline` is the line (open, adopt, merge, assign, write); `unpack` undoes the packing of
//! weights, `adapter` puts LoRA adapters on, `arch` knows architectures, `vocab` tokenizers, `chat` chat templates, `checkpoint` turns all back into a
//! Hugging Face directory, `merge` says what becomes of each tensor, `ftype` which dtype it gets (`budget`: by what it
//! costs), `output` what may be asked for and what comes out, `recipe` all that decides a merge. `device` knows what runs where, `predicting` the layers of a GGUF that guess tokens ahead. `measure` tells how near
//! weights are to others, `evaluate` how models do on a text, in llama.cpp itself, `hash` tells weights from others, `jobs` lets several machines carry
//! out one plan, `meta` edits what is said of them, `roles` knows what a tensor's name means, `stacking` opens models that are made of layers of
//! others, `stages` hears how the planning goes on. `report` is what people look at, `cli` the words they
//! type, `nearest` helps with those they mistype, `version` knows what versions of llama.cpp do otherwise and which can read a file, and `text` makes safe what comes from files. Containers, dtypes and
//! codecs live in the crate `ggraft_formats`, which is `formats` here.

#![forbid(unsafe_code)]

pub use ggraft_formats as formats;
pub use ggraft_formats::Error;
pub use merge::Vector;
pub use pipeline::{Grafted, Loaded, Plan, Target, Type, Work, convert, graft, open, write};

pub mod adapter;
pub mod arch;
mod arrange;
pub mod budget;
pub mod chat;
pub mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
pub mod device;
pub mod estimate;
#[cfg(feature = "runtime")]
pub mod evaluate;
pub mod ftype;
pub mod hash;
#[cfg(feature = "cli")]
pub mod jobs;
pub mod measure;
pub mod merge;
pub mod meta;
pub mod nearest;
pub mod output;
pub mod pipeline;
mod placed;
pub mod predicting;
pub mod recipe;
pub mod report;
pub mod roles;
pub mod stacking;
pub mod stages;
pub mod text;
pub mod unpack;
pub mod version;
pub mod vocab;
