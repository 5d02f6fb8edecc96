//! What a model is called: `general` writes `general.*` from the model card (`card`) and from what its names tell (`id`);
//! `adapter` that of an adapter; `merged` says what a merge is called.

mod adapter;
mod card;
mod general;
mod id;
mod merged;
mod pooling;

pub(crate) use adapter::adapter;
pub(super) use general::metadata;
pub(super) use id::Size;
pub(crate) use merged::{mark, rename};
pub(super) use pooling::pooling;
