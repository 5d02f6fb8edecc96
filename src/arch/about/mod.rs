//! What a model is called: `general` writes `general.*` from the model card (`card`) and from what its names tell (`id`).

mod card;
mod general;
mod id;
mod pooling;
mod weights;

pub(super) use general::metadata;
pub(super) use pooling::pooling;
pub(super) use weights::Weights;
