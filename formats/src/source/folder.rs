//! The folder of a model: its files by their paths, here or elsewhere. What lies elsewhere has paths too, such as
//! `hf://org/name@commit/config.json`, by which people are told of it.

use super::container::Container;
use super::crew::together;
use crate::error::{Error, Result};
use crate::mmap::Mapping;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files of a model that lie elsewhere, by the paths that people see.
pub trait Remote: Send + Sync {
    /// Whether there is such a file.
    fn has(&self, path: &Path) -> bool;

    /// A whole file, which is not one of weights; `None` if there is none.
    fn whole(&self, path: &Path) -> Result<Option<Mapping>>;

    /// A file of weights.
    fn container(&self, path: &Path) -> Result<Container>;

    /// How many files are opened at a time.
    fn hands(&self) -> usize;
}

/// Where the files of a model lie.
#[derive(Clone, Default)]
pub struct Folder {
    elsewhere: Option<Arc<dyn Remote>>,
    /// Files that count instead of those of their paths.
    instead: Vec<Mapping>,
}

impl Folder {
    /// Files that lie elsewhere.
    pub fn elsewhere(files: Arc<dyn Remote>) -> Folder {
        Folder { elsewhere: Some(files), instead: Vec::new() }
    }

    /// The same folder, with `file` instead of what lies at its path.
    pub fn with(mut self, file: Mapping) -> Folder {
        self.instead.push(file);
        self
    }

    /// Whether what counts at this path is no file, but follows from others that are read.
    pub fn is_made(&self, path: &Path) -> bool {
        self.instead(path).is_some()
    }

    fn instead(&self, path: &Path) -> Option<&Mapping> {
        self.instead.iter().find(|file| file.path() == path)
    }

    /// Whether it is a directory of this machine.
    pub fn is_here(&self) -> bool {
        self.elsewhere.is_none()
    }

    /// Whether there is such a file.
    pub fn has(&self, path: &Path) -> bool {
        match &self.elsewhere {
            _ if self.instead(path).is_some() => true,
            None => path.is_file(),
            Some(files) => files.has(path),
        }
    }

    /// A whole file that lies beside the weights; `None` if there is none.
    pub fn whole(&self, path: &Path) -> Result<Option<Mapping>> {
        if let Some(file) = self.instead(path) {
            return Ok(Some(file.clone()));
        }
        if let Some(files) = &self.elsewhere {
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
        match &self.elsewhere {
            None => Container::open(path),
            Some(files) => files.container(path),
        }
    }

    /// Files of weights, in this order: of what lies elsewhere many are asked for at a time.
    pub fn containers(&self, paths: &[PathBuf]) -> Vec<Result<Container>> {
        let hands = self.elsewhere.as_ref().map_or(1, |files| files.hands());
        together(paths, hands, |path| self.container(path))
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.elsewhere.is_some() { "elsewhere" } else { "here" })
    }
}
