//! What of a plan's weights does not lie on this machine: from where, how much, and how often it is fetched.

use super::{Content, Plan};
use crate::arrange::Arrange;
use ggraft_formats::Tensor;
use ggraft_formats::source::{is_elsewhere, planned};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

/// Weights of one model, or of one file, that are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The folder of the model.
    pub from: PathBuf,
    pub bytes: u64,
}

impl Plan {
    /// What is going to be fetched, by the model that it is of. Each is fetched `passes` times.
    pub fn fetched(&self) -> Vec<Fetched> {
        if !is_elsewhere() {
            return Vec::new();
        }
        let tensors: Vec<&Tensor> = match &self.content {
            Content::Gguf { model, .. } => model.tensors.iter().collect(),
            Content::Directory { directory, .. } => directory.tensors.iter().map(|t| &t.tensor).collect(),
        };
        let all = |t: &Tensor| t.prefetch(0..usize::try_from(t.shape().rows()).unwrap_or(usize::MAX));
        let spans = planned(|| tensors.into_iter().for_each(all));
        let mut files: BTreeMap<PathBuf, Vec<Range<u64>>> = BTreeMap::new();
        for span in spans {
            files.entry(span.object.path().to_path_buf()).or_default().push(span.bytes);
        }
        let mut models: BTreeMap<PathBuf, u64> = BTreeMap::new();
        for (file, ranges) in files {
            *models.entry(file.parent().map(PathBuf::from).unwrap_or(file)).or_default() += together(ranges);
        }
        models.into_iter().map(|(from, bytes)| Fetched { from, bytes }).collect()
    }
}

/// The bytes of ranges that may overlap.
fn together(mut ranges: Vec<Range<u64>>) -> u64 {
    ranges.arrange_by_key(|range| range.start);
    let (mut sum, mut end) = (0u64, 0u64);
    for range in ranges {
        sum = sum.saturating_add(range.end.saturating_sub(range.start.max(end)));
        end = end.max(range.end);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_counts_once() {
        assert_eq!(together(vec![4..8, 0..2, 1..3, 5..6]), 7);
        assert_eq!(together(Vec::new()), 0);
    }
}
