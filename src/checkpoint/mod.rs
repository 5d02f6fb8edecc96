//! A model as a Hugging Face directory: the tensors under the trainer's names, and the files of the checkpoint
//! that it came from, brought in line with what the merge decided (tokens, ids, chat template). The inverse of
//! `arch` and `vocab`. Files in which nothing changes are copied byte for byte.
//! Specification: the files that `save_pretrained` of transformers writes.

mod card;
mod config;
mod modules;
mod others;
mod regained;
mod template;
mod tokenizer;

pub use card::{Card, File, Publication, is_sealed, link};
pub use regained::{plain, source};

use crate::arch::{self, Released};
use crate::unpack;
use ggraft_formats::error::Result;
use ggraft_formats::safetensors::{Directory, Named};
use ggraft_formats::{Checkpoint, DType, Error, Metadata, Model, Tensor};
use serde_json::Value;

/// The checkpoint that an output gets its names and files from.
pub struct Source {
    pub checkpoint: Checkpoint,
    /// Its metadata as it was adopted.
    pub metadata: Metadata,
    /// Whether it is only what sees and hears of it.
    pub is_projector: bool,
    /// The tensors that have a dtype whatever is asked for.
    pub stored: Vec<(String, DType)>,
}

impl Source {
    /// The tensors of `model` as this checkpoint would hold them.
    pub fn release(&self, model: &Model) -> Result<Released> {
        if self.is_projector {
            return Err(Error::usage("--mmproj writes a GGUF")
                .expected("a type such as F16, BF16 or Q8_0")
                .found("a type of safetensors"));
        }
        unpack::check_release(&self.checkpoint)?;
        arch::release(model, &self.checkpoint)
    }

    /// The dtype that this checkpoint gives a tensor, if that can be written; else f32.
    pub fn dtype(&self, name: &str) -> DType {
        let held = self.checkpoint.tensors.iter().find(|t| t.name == name).map(Tensor::dtype);
        held.filter(|d| d.traits().encode.is_some()).unwrap_or(DType::F32)
    }

    /// The whole directory: `tensors`, and the files beside them that suit `metadata`. `dtype` is that of the
    /// weights, if they all have one.
    pub fn directory(
        &self,
        tensors: Vec<Named>,
        metadata: &Metadata,
        dtype: Option<DType>,
        card: Option<Card>,
    ) -> Result<Directory> {
        let vocabulary = tensors.iter().find(|t| t.tensor.name == "token_embd.weight");
        let rows = vocabulary.map(|t| t.tensor.shape().rows());
        let mut files =
            vec![config::config(self, metadata, rows, dtype)?, config::generation(self, metadata)?];
        files.extend(tokenizer::files(self, metadata)?);
        files.extend(template::files(self, metadata)?);
        files.extend(others::files(self)?);
        files.extend(modules::files(self)?);
        match card {
            Some(card) => files.push((CARD.to_string(), card.markdown().into_bytes())),
            None => files.extend(self.copy(CARD)?),
        }
        let told = metadata.iter().filter(|(key, _)| key.starts_with("ggraft."));
        let told = told.filter_map(|(key, value)| Some((key.to_string(), value.as_str()?.to_string())));
        Ok(Directory { tensors, metadata: told.collect(), files, shard: ggraft_formats::safetensors::SHARD })
    }

    /// What to say of files of the checkpoint that a directory goes without.
    pub fn left(&self) -> Result<Vec<String>> {
        others::left(self)
    }

    /// A file of the checkpoint as it is.
    fn copy(&self, name: &str) -> Result<Option<(String, Vec<u8>)>> {
        let file = self.checkpoint.bytes(name)?;
        Ok(file.map(|file| (name.to_string(), file.bytes().to_vec())))
    }
}

const CARD: &str = "README.md";

/// A JSON file as transformers writes it; `original` if `value` is what it says.
fn json_file(name: &str, value: &Value, original: Option<(&Value, &[u8])>) -> (String, Vec<u8>) {
    let content = match original {
        Some((old, bytes)) if old == value => bytes.to_vec(),
        _ => format!("{value:#}\n").into_bytes(),
    };
    (name.to_string(), content)
}

/// Removes the paths of the trainer's machine, which tools have left in some files.
fn without_paths(object: &mut Value) {
    const KEYS: [&str; 4] = ["_name_or_path", "name_or_path", "tokenizer_file", "special_tokens_map_file"];
    let is_path = |v: &Value| {
        v.as_str()
            .is_some_and(|s| s.contains('\\') || s.starts_with(['/', '.', '~']) || s.matches('/').count() > 1)
    };
    if let Some(object) = object.as_object_mut() {
        for key in KEYS {
            if object.get(key).is_some_and(is_path) {
                object.shift_remove(key);
            }
        }
    }
}
