//! What may be merged, and what is told of it: vectors and their models, whether these have one parent and are in
//! their places, and where the output comes from.

mod kinship;
mod parents;
mod provenance;
mod swapped;

pub use kinship::{Allowed, Kinship};
pub use provenance::Origin;
pub(crate) use provenance::SLICE;
pub use swapped::paired;

pub(super) use kinship::{judge, measure, moved};
pub(crate) use parents::stackable;
pub(super) use parents::{congruent, parents};
pub(super) use provenance::Provenance;
pub(super) use swapped::Places;

use ggraft_formats::Model;

/// A direction of change: the difference between a chat model and its parent.
pub struct Vector {
    pub chat: Model,
    pub base: Model,
}

impl Vector {
    /// Whether it is an adapter: chat is CP as the adapter makes it, and says that it is one, and base is CP.
    pub fn is_adapter(&self) -> bool {
        self.chat.metadata.str("general.type") == Some("adapter")
    }
}
