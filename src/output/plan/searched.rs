//! What the fine search does to the tensors of an output: the plan tells it, and the metadata.

use super::idle;
use crate::ftype::{Assignment, Ftype, search_of};
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
        let is_guided = weights.iter().any(Option::is_some);
        let (mut fine, mut exact) = (BTreeMap::new(), BTreeMap::new());
        for ((tensor, given), weights) in tensors.iter().zip(assignments).zip(weights) {
            if given.dtype.is_quantized() && given.dtype != tensor.dtype() {
                let has = given.dtype.has_fine_search(weights.is_some());
                let is_searched = has && search_of(search, is_guided, weights.is_some()) == Search::Fine;
                let counts = if is_searched { &mut fine } else { &mut exact };
                let why = match (has, is_searched) {
                    (_, true) => "",
                    (true, false) => " without importance",
                    (false, _) if given.dtype.has_fine_search(false) => " with importance",
                    (false, _) => "",
                };
                *counts.entry((given.dtype, why)).or_insert(0) += 1;
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

/// How many tensors there are of each dtype, and what keeps them from being searched for.
fn counted(all: &BTreeMap<(DType, &str), usize>) -> String {
    let word = |((dtype, why), n): (&(DType, &str), &usize)| {
        let tensors = if *n == 1 { "tensor" } else { "tensors" };
        format!("{n} {tensors} as {dtype}{why}")
    };
    all.iter().map(word).collect::<Vec<_>>().join(", ")
}
