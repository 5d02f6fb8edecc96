//! The two dialects in which models are kept: a `Checkpoint` has the trainer's tensor names and JSON files
//! beside them (Hugging Face), a `Model` has GGUF's names and typed metadata.

use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::mmap::Mapping;
use crate::nonfinite;
use crate::quant::DType;
use crate::source::{Container, Folder, hub_id};
use crate::stamp::Reads;
use crate::tensor::Tensor;
use serde_json::Value;
use std::collections::HashMap;
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
    /// Where that directory is.
    pub folder: Folder,
    /// The files that hold tensors, in order.
    pub containers: Vec<Container>,
    pub tensors: Vec<Tensor>,
    /// The name of its format in `FORMATS`.
    pub format: &'static str,
    /// Those that the files hold packed, and `tensors` as plain numbers: the name, and the dtype of the codes; none of numbers
    /// that were cast alone.
    pub packed: HashMap<String, Option<DType>>,
    /// What was noticed of the files, a sentence each.
    pub notes: Vec<String>,
    /// Where the index says otherwise than the shards.
    pub disagreements: Vec<Disagreement>,
    /// Every file that was read: the containers, and those of the directory that were asked for.
    pub reads: Reads,
}

/// A tensor that is in one place by the index of a checkpoint, and not there, or there against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    pub tensor: String,
    pub shard: PathBuf,
    /// Whether the shard holds it, and the index does not say so.
    pub is_held: bool,
}

impl Disagreement {
    /// The error, if the tensor matters.
    pub fn error(&self) -> Error {
        let what = match self.is_held {
            true => "the shard holds this tensor, but the index does not put it here",
            false => "the index puts this tensor here, but the shard does not hold it",
        };
        let e = Error::invalid(what).file(&self.shard).tensor(&self.tensor);
        e.hint("index and shards are of different versions: download both again")
    }
}

impl Checkpoint {
    /// Refuses a checkpoint whose index says otherwise than its shards.
    pub fn agrees(&self) -> Result<()> {
        let errors = self.disagreements.iter().map(Disagreement::error).collect();
        Error::all(errors).map_or(Ok(()), Err)
    }

    /// A file of the directory as bytes, `None` if there is none.
    pub fn bytes(&self, name: &str) -> Result<Option<Mapping>> {
        let path = self.dir.join(name);
        let file = self.folder.whole(&path)?;
        if let Some(file) = file.as_ref().filter(|_| !self.folder.is_made(&path)) {
            self.reads.add(file.stamp().clone());
        }
        Ok(file)
    }

    /// Whether there is such a file in the directory.
    pub fn has(&self, name: &str) -> bool {
        self.folder.has(&self.dir.join(name))
    }

    /// What the model is called by where it lies: `org/name` if that is the hub or its cache, else the name of the
    /// directory.
    pub fn place_name(&self) -> Option<String> {
        let real = std::path::absolute(&self.dir).ok();
        let hub = hub_id(&self.dir).or_else(|| real.and_then(|dir| hub_id(&dir)));
        hub.or_else(|| self.dir.file_name().map(|name| name.to_string_lossy().into_owned()))
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
                .hint("copy it from the model's repository")
        })
    }
}

/// The most values of a JSON file: a parsed one takes up to fifty times the two bytes that it may have in the text. The
/// largest tokenizers have three million.
const MOST_VALUES: usize = 6_000_000;

/// Parses the JSON text of `path`; an error names the line and column. Python's words for what is no number are read too.
pub fn parse_json(text: &[u8], path: &Path) -> Result<Value> {
    let values = text.iter().filter(|b| matches!(b, b',' | b'[' | b'{')).count();
    if values > MOST_VALUES {
        return Err(Error::invalid("this JSON holds too many values")
            .file(path)
            .expected(format!("at most {MOST_VALUES}"))
            .found(values));
    }
    let lenient = |e| serde_json::from_slice(&nonfinite::replaced(text)).map_err(|_| e);
    serde_json::from_slice(text)
        .or_else(lenient)
        .map_err(|e: serde_json::Error| Error::invalid(format!("this is not valid JSON: {e}")).file(path))
}

/// Tensors under GGUF's names and the metadata that describes them.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub metadata: Metadata,
    pub tensors: Vec<Tensor>,
    /// The files that it was read from, in order; none for a model made here.
    pub containers: Vec<Container>,
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
