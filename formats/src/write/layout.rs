//! A container as it is planned: its files, and the place of every tensor in them.

use crate::error::Result;
use crate::identity::Identity;
use crate::metadata::Metadata;
use crate::mmap::Mapping;
use crate::quant::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::path::PathBuf;

/// A container as it is going to be: everything but the weights, and the place of every weight.
pub struct Layout<'a> {
    /// The final name, written over if it is there: of the only file, or of the directory that holds the files. Several
    /// files without a directory stand beside each other where this would.
    pub(crate) target: PathBuf,
    pub(crate) is_directory: bool,
    pub(crate) files: Vec<Planned>,
    pub(crate) tensors: Vec<Placed<'a>>,
    /// What the heads of the files tell of the model, where they tell it in keys and values.
    pub(crate) metadata: Option<&'a Metadata>,
    /// What the maker tells of it, for people who ask where two outputs differ.
    pub(crate) told: Vec<(String, String)>,
}

/// One file of a container.
pub(crate) struct Planned {
    /// Its name, in the directory or beside the target; empty for the only file of a container.
    pub name: String,
    /// What it starts with: a header, or all of a file without tensors.
    pub head: Vec<u8>,
    /// Bytes of the whole file.
    pub total: u64,
    /// Reads the finished file strictly: what it holds. None for files without tensors.
    pub read: Option<Reader>,
}

/// Reads a file strictly: the tensors that it holds.
pub(crate) type Reader = fn(&Mapping) -> Result<Vec<Held>>;

/// A tensor and where its rows go.
pub(crate) struct Placed<'a> {
    pub tensor: &'a Tensor,
    /// Its name in the file. Outputs share the work on tensors whose own names are equal.
    pub name: &'a str,
    /// Which of the files.
    pub file: usize,
    /// Where it starts in the file.
    pub offset: u64,
}

/// A tensor that a reader found.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    pub offset: u64,
    pub name: String,
    /// Without trailing ones.
    pub ne: Vec<u64>,
    pub dtype: String,
}

impl Held {
    pub fn new(name: &str, shape: &Shape, dtype: DType, offset: u64) -> Held {
        Held { offset, name: name.to_string(), ne: shape.significant().to_vec(), dtype: dtype.to_string() }
    }
}

impl Layout<'_> {
    /// Bytes of all files.
    pub fn total(&self) -> u64 {
        self.files.iter().map(|f| f.total).fold(0, u64::saturating_add)
    }

    /// The layout, of which this is told too where two outputs differ.
    pub fn telling(mut self, name: &str, value: &str) -> Self {
        self.told.push((name.to_string(), value.to_string()));
        self
    }

    /// The files as they will be called, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|f| self.path(f)).collect()
    }

    /// What stands in the files beside the weights, a fact each, so that people see where two outputs differ.
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        let metadata = self.metadata.into_iter().flat_map(Metadata::iter);
        let mut facts: Vec<(String, String)> = Vec::new();
        facts.extend(metadata.map(|(key, value)| (key.to_string(), crate::gguf::brief(value))));
        let files = self.files.iter().filter(|file| file.read.is_none());
        facts.extend(files.map(|file| {
            let mut hash = Identity::default();
            hash.add(&file.head);
            (file.name.clone(), format!("{} bytes, hash {}", file.total, hash.hash()))
        }));
        facts
    }

    pub(super) fn path(&self, file: &Planned) -> PathBuf {
        match (self.is_directory, file.name.is_empty()) {
            (true, _) => self.target.join(&file.name),
            (false, true) => self.target.clone(),
            (false, false) => self.target.with_file_name(&file.name),
        }
    }

    /// The files in order: what each is called, how many tensors it holds, and its bytes.
    pub fn parts(&self) -> Vec<Part> {
        let mut tensors = vec![0; self.files.len()];
        self.tensors.iter().for_each(|t| tensors[t.file] += 1);
        let part = |(file, tensors): (&Planned, usize)| {
            let path = self.path(file);
            let only =
                || path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let name = if file.name.is_empty() { only() } else { file.name.clone() };
            Part { name, path, tensors, bytes: file.total }
        };
        self.files.iter().zip(tensors).map(part).collect()
    }
}

/// One file of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// As it is called in its directory, with the folder that it lies in there, or beside the others.
    pub name: String,
    pub path: PathBuf,
    pub tensors: usize,
    pub bytes: u64,
}
