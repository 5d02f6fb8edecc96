//! Where in its model each tensor of a checkpoint stands, as the rules of the family say: in which layer, and what GGUF
//! calls it.

use super::instances;
use crate::arch::families::Family;
use crate::arch::params::Params;
use ggraft_formats::{Checkpoint, Result};

/// A tensor of a checkpoint.
pub struct Placed {
    pub name: String,
    /// The first of the tensors of GGUF's that it becomes.
    pub to: String,
    /// Its layer, and the index of the rule that counts it; none outside the layers.
    pub layer: Option<(u64, &'static str)>,
}

/// Every tensor of `checkpoint` that a rule takes.
pub fn placed(family: &Family, params: &Params<'_>, checkpoint: &Checkpoint) -> Result<Vec<Placed>> {
    let mut all = Vec::with_capacity(checkpoint.tensors.len());
    for instance in instances(family, params, checkpoint)?.into_iter().filter(|instance| instance.found) {
        let layer = instance.rule.indices().first().map(|index| (u64::from(instance.layer), *index));
        let to = instance.to.first().cloned().unwrap_or_default();
        all.extend(instance.from.into_iter().map(|name| Placed { name, to: to.clone(), layer }));
    }
    Ok(all)
}
