//! The names under which the weights of a directory are usually found.

use std::fmt;
use std::path::{Path, PathBuf};

/// What a model of one file is called, and the index of one in shards.
pub(crate) struct Usual {
    pub single: &'static str,
    pub index: &'static str,
}

pub(crate) const SAFETENSORS: Usual =
    Usual { single: "model.safetensors", index: "model.safetensors.index.json" };
/// Mistral's own.
pub(crate) const MISTRAL: Usual =
    Usual { single: "consolidated.safetensors", index: "consolidated.safetensors.index.json" };
pub(crate) const PYTORCH: Usual =
    Usual { single: "pytorch_model.bin", index: "pytorch_model.bin.index.json" };

impl Usual {
    /// The index, or else the file.
    pub fn find(&self, dir: &Path) -> Option<PathBuf> {
        [self.index, self.single].map(|name| dir.join(name)).into_iter().find(|path| path.is_file())
    }

    pub fn is_in(&self, dir: &Path) -> bool {
        self.find(dir).is_some()
    }
}

impl fmt::Display for Usual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} or {}", self.single, self.index)
    }
}
