//! What the fine search does to the tensors of an output: the plan tells it, and the metadata.

use super::idle;
use crate::ftype::{Assignment, Ftype};
use ggraft_formats::quant::Search;
use ggraft_formats::{DType, Metadata, Tensor};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which tensors are searched for finely.
pub(super) struct Searched {
    is_any: bool,
    pub notes: Vec<String>,
}

impl Searched {
    /// Those of the tensors that are going to be encoded, by these importance weights.
    pub fn of(
        (tensors, assignments): (&[Tensor], &[Assignment]),
        weights: &[Option<Arc<[f32]>>],
        search: Search,
        ftype: &Ftype,
    ) -> Searched {
        if search == Search::Exact {
            return Searched { is_any: false, notes: Vec::new() };
        }
        let (mut fine, mut exact) = (BTreeMap::new(), BTreeMap::new());
        for ((tensor, given), weights) in tensors.iter().zip(assignments).zip(weights) {
            if given.dtype.is_quantized() && given.dtype != tensor.dtype() {
                let is_searched = given.dtype.has_fine_search(weights.is_some());
                let counts = if is_searched { &mut fine } else { &mut exact };
                let needs_none = !is_searched && given.dtype.has_fine_search(false);
                *counts.entry((given.dtype, needs_none)).or_insert(0) += 1;
            }
        }
        let is_any = !fine.is_empty();
        let notes = match (is_any, exact.is_empty()) {
            (false, _) => idle(&["--search"], ftype.name),
            (true, true) => vec![format!("fine search: {}", counted(&fine))],
            (true, false) => {
                vec![format!("fine search: {}; there is none for {}", counted(&fine), counted(&exact))]
            }
        };
        Searched { is_any, notes }
    }

    /// Tells the metadata, if there are any.
    pub fn stamp(&self, metadata: &mut Metadata) {
        if self.is_any {
            tell(metadata);
        }
    }
}

/// Says in an output how its blocks were searched for.
pub(crate) const SEARCH: &str = "ggraft.search";

/// Tells the metadata that there was a fine search.
pub(super) fn tell(metadata: &mut Metadata) {
    metadata.set_last(SEARCH, "fine");
}

/// How many tensors there are of each dtype, and whether it is their importance that keeps them from being searched for.
fn counted(all: &BTreeMap<(DType, bool), usize>) -> String {
    let word = |((dtype, needs_none), n): (&(DType, bool), &usize)| {
        let tensors = if *n == 1 { "tensor" } else { "tensors" };
        let by = if *needs_none { " with importance" } else { "" };
        format!("{n} {tensors} as {dtype}{by}")
    };
    all.iter().map(word).collect::<Vec<_>>().join(", ")
}
