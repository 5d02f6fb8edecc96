//! The two dialects in which models are kept: a `Checkpoint` has the trainer's tensor names and JSON files
//! beside them (Hugging Face), a `Model` has GGUF's names and typed metadata.

use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::mmap::Mapping;
use crate::stamp::Reads;
use crate::tensor::Tensor;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What `open` found.
#[derive(Debug)]
pub enum Input {
    Checkpoint(Checkpoint),
    Model(Model),
}

/// Tensors under the trainer's names, in the order of the containers, and the files that lie beside them.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// The directory, where `config.json` and the tokenizer's files are.
    pub dir: PathBuf,
    /// The files that hold tensors, in order.
    pub containers: Vec<PathBuf>,
    pub tensors: Vec<Tensor>,
    /// Every file that was read: the containers, and those of the directory that were asked for.
    pub reads: Reads,
}

impl Checkpoint {
    /// A file of the directory as bytes, `None` if there is none.
    pub fn bytes(&self, name: &str) -> Result<Option<Mapping>> {
        let path = self.dir.join(name);
        match std::fs::metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(&e, &path)),
            Ok(_) => {
                let file = Mapping::open(&path)?;
                self.reads.add(file.stamp().clone());
                Ok(Some(file))
            }
        }
    }

    /// A text file of the directory, `None` if there is none.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(file) = self.bytes(name)? else { return Ok(None) };
        match std::str::from_utf8(file.bytes()) {
            Ok(text) => Ok(Some(text.to_string())),
            Err(e) => {
                Err(Error::invalid("this is not UTF-8").file(file.path()).offset(e.valid_up_to() as u64))
            }
        }
    }

    /// A JSON file of the directory, `None` if there is none. serde_json bounds the nesting depth.
    pub fn json(&self, name: &str) -> Result<Option<Value>> {
        let Some(file) = self.bytes(name)? else { return Ok(None) };
        parse_json(file.bytes(), file.path()).map(Some)
    }

    /// A JSON file that must be there.
    pub fn required_json(&self, name: &str) -> Result<Value> {
        self.json(name)?.ok_or_else(|| {
            Error::invalid("this file is missing")
                .file(&self.dir.join(name))
                .mend("copy it from the model's repository")
        })
    }
}

/// Parses the JSON text of `path`; an error names the line and column.
pub fn parse_json(text: &[u8], path: &Path) -> Result<Value> {
    serde_json::from_slice(text)
        .map_err(|e| Error::invalid(format!("this is not valid JSON: {e}")).file(path))
}

/// Tensors under GGUF's names and the metadata that describes them.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub metadata: Metadata,
    pub tensors: Vec<Tensor>,
    /// The files that it was read from, in order; none for a model made here.
    pub containers: Vec<PathBuf>,
    /// Every file that was read for it.
    pub reads: Reads,
}

impl Model {
    /// `general.architecture`, if it is there.
    pub fn architecture(&self) -> Option<&str> {
        self.metadata.str("general.architecture")
    }

    /// The value of `{architecture}.{key}`.
    pub fn hparam(&self, key: &str) -> Option<u64> {
        self.metadata.u64(&format!("{}.{key}", self.architecture()?))
    }
}
