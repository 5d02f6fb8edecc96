//! What a model is called: `general` writes `general.*` from the model card (`card`) and from what its names tell (`id`).

mod card;
mod general;
mod id;

pub(super) use general::metadata;
pub(super) use id::Size;
