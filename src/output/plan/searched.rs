//! What the fine search does to the tensors of an output: the plan tells it, and the metadata.

use super::idle;
use crate::ftype::{Assignment, Ftype};
use ggraft_formats::quant::Search;
use ggraft_formats::{DType, Metadata, Tensor};
use std::collections::BTreeMap;

/// Which tensors are searched for finely.
pub(super) struct Searched {
    is_any: bool,
    pub notes: Vec<String>,
}

impl Searched {
    /// Those of the tensors that are going to be encoded.
    pub fn of(tensors: &[Tensor], assignments: &[Assignment], search: Search, ftype: &Ftype) -> Searched {
        if search == Search::Exact {
            return Searched { is_any: false, notes: Vec::new() };
        }
        let (mut fine, mut exact) = (BTreeMap::new(), BTreeMap::new());
        for (tensor, given) in tensors.iter().zip(assignments) {
            if given.dtype.is_quantized() && given.dtype != tensor.dtype() {
                let counts = if given.dtype.has_fine_search() { &mut fine } else { &mut exact };
                *counts.entry(given.dtype).or_insert(0) += 1;
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

fn counted(all: &BTreeMap<DType, usize>) -> String {
    let words: Vec<String> = all
        .iter()
        .map(|(dtype, n)| format!("{n} {} as {dtype}", if *n == 1 { "tensor" } else { "tensors" }))
        .collect();
    words.join(", ")
}
