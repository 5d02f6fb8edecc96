//! What a model is called: `general` writes `general.*` from the model card (`card`) and from what its names tell (`id`);
//! `adapter` that of an adapter; `merged` says what a merge is called, `back` reads `general` backward.

mod adapter;
mod back;
mod card;
mod general;
mod id;
mod merged;
mod pooling;

pub(crate) use adapter::adapter;
pub(crate) use back::{card_of, sampling_of};
pub use general::check as check_told;
pub(super) use general::metadata;
pub(crate) use id::Size;
pub(crate) use merged::{mark, rename};
pub(super) use pooling::pooling;
