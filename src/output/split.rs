//! Into how many files a GGUF goes: one, as many as limits ask for, or as many as it came in. Serves the plan.

use crate::ftype::Prune;
use ggraft_formats::gguf::{self, Limits, Split};
use ggraft_formats::{Error, Model, Result};

/// Into how many files a GGUF goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Division {
    #[default]
    Whole,
    /// As many as these limits ask for; the weights of a directory obey that of bytes.
    Limited(Limits),
    /// As many as there were, with the same tensors each.
    Kept,
}

impl Division {
    /// How the tensors of these names are split, `None` for one file. `source` is the GGUF that they come from, `prune` the
    /// layers that it lost.
    pub fn split<'a>(
        self,
        source: Option<&Model>,
        names: impl Iterator<Item = &'a str>,
        prune: &Prune,
    ) -> Result<Option<Split>> {
        match (self, source) {
            (Division::Whole, _) => Ok(None),
            (Division::Limited(limits), _) => Ok(Some(Split::IfNeeded(limits))),
            (Division::Kept, Some(source)) => {
                gguf::keep(&source.containers, names, |name| prune.rename(name)).map(Some)
            }
            (Division::Kept, None) => {
                Err(Error::usage("--keep-split keeps the parts of a GGUF, and the input is none")
                    .hint("give --split-max-size or --split-max-tensors"))
            }
        }
    }

    /// The most bytes of weights in a file, if that is limited.
    pub fn bytes(self) -> Option<u64> {
        match self {
            Division::Limited(limits) => limits.bytes,
            _ => None,
        }
    }

    /// What was asked for that a directory of safetensors has not, as it is typed.
    pub fn not_of_directories(self) -> Vec<&'static str> {
        match self {
            Division::Whole => Vec::new(),
            Division::Kept => vec!["--keep-split"],
            Division::Limited(limits) => [
                ("--split-max-tensors", limits.tensors.is_some()),
                ("--no-tensor-first-split", limits.bare_first),
            ]
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(name, _)| name)
            .collect(),
        }
    }
}
