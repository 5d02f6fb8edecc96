//! The folder of a model: its files by their paths, here or elsewhere. What lies elsewhere has paths too, such as
//! `hf://org/name@commit/config.json`, by which people are told of it.

use super::container::Container;
use crate::error::{Error, Result};
use crate::mmap::Mapping;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Files of a model that lie elsewhere, by the paths that people see.
pub trait Remote: Send + Sync {
    /// Whether there is such a file.
    fn has(&self, path: &Path) -> bool;

    /// A whole file, which is not one of weights; `None` if there is none.
    fn whole(&self, path: &Path) -> Result<Option<Mapping>>;

    /// A file of weights.
    fn container(&self, path: &Path) -> Result<Container>;
}

/// Where the files of a model lie.
#[derive(Clone, Default)]
pub struct Folder(Option<Arc<dyn Remote>>);

impl Folder {
    /// Files that lie elsewhere.
    pub fn elsewhere(files: Arc<dyn Remote>) -> Folder {
        Folder(Some(files))
    }

    /// Whether it is a directory of this machine.
    pub fn is_here(&self) -> bool {
        self.0.is_none()
    }

    /// Whether there is such a file.
    pub fn has(&self, path: &Path) -> bool {
        match &self.0 {
            None => path.is_file(),
            Some(files) => files.has(path),
        }
    }

    /// A whole file that lies beside the weights; `None` if there is none.
    pub fn whole(&self, path: &Path) -> Result<Option<Mapping>> {
        if let Some(files) = &self.0 {
            return files.whole(path);
        }
        match std::fs::metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(&e, path)),
            Ok(_) => Mapping::open(path).map(Some),
        }
    }

    /// A file of weights.
    pub fn container(&self, path: &Path) -> Result<Container> {
        match &self.0 {
            None => Container::open(path),
            Some(files) => files.container(path),
        }
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "elsewhere" } else { "here" })
    }
}
