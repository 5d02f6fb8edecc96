//! What a model is called: `general` writes `general.*` from the model card (`card`) and from what its names tell (`id`);
//! `merged` says what a merge is called.

mod card;
mod general;
mod id;
mod merged;

pub(super) use general::metadata;
pub(crate) use merged::{mark, rename};
