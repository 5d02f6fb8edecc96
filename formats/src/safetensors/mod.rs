//! safetensors: one file, the shards of a `model.safetensors.index.json`, or a Hugging Face directory.
//! The `safetensors` crate checks a header (no holes, no overlaps, exact length); what it lets pass,
//! duplicate names and dtypes that GGUF cannot follow, is checked here.

mod file;
mod write;

pub use file::{header, told};
pub use write::{Directory, Named, SHARD, bytes, plan};

use crate::error::{Error, Printable, Result};
use crate::index;
use crate::model::Checkpoint;
use crate::source::Folder;
use crate::usual;
use std::path::{Path, PathBuf};

/// Opens a checkpoint: a directory, an index file or a `.safetensors` file.
pub fn open(path: &Path) -> Result<Checkpoint> {
    let here = Folder::default();
    let mut checkpoint = if path.is_dir() { open_directory(path)? } else { open_in(&here, path)? };
    checkpoint.format = "safetensors";
    if path.is_dir() && usual::PYTORCH.is_in(path) {
        checkpoint.notes.push(format!(
            "{} holds the weights twice: those of safetensors are read, those of PyTorch are not",
            Printable(&path.to_string_lossy())
        ));
    }
    Ok(checkpoint)
}

/// Opens an index or a `.safetensors` file of `folder`.
pub(crate) fn open_in(folder: &Folder, path: &Path) -> Result<Checkpoint> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf();
    let checkpoint = match path.extension().is_some_and(|e| e == "json") {
        true => index::open(folder, path, dir, file::read)?,
        false => index::one(folder, dir, path, file::read)?,
    };
    Ok(Checkpoint { format: "safetensors", ..checkpoint })
}

fn open_directory(dir: &Path) -> Result<Checkpoint> {
    let (here, own) = (Folder::default(), dir.to_path_buf());
    match usual::SAFETENSORS.find(dir).or_else(|| usual::MISTRAL.find(dir)) {
        Some(index) if index.extension().is_some_and(|e| e == "json") => {
            index::open(&here, &index, own, file::read)
        }
        Some(path) => index::one(&here, own, &path, file::read),
        None => index::one(&here, own, &only_container(dir)?, file::read),
    }
}

/// The one `.safetensors` file of a directory that has neither the usual file nor an index.
fn only_container(dir: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(&e, dir))?;
    let mut names: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    names.sort();
    let has = |ending: &str| names.iter().filter(|p| p.extension().is_some_and(|e| e == ending)).count();
    let none = Error::invalid("this directory holds no checkpoint").file(dir);
    match has("safetensors") {
        0 if dir.join("adapter_config.json").is_file() => Err(none
            .expected(usual::SAFETENSORS)
            .found("an adapter (adapter_config.json)")
            .hint("merge the adapter into its base model first: ggraft merge --onto MODEL --adapter DIR")),
        1 => Ok(names
            .into_iter()
            .find(|p| p.extension().is_some_and(|e| e == "safetensors"))
            .unwrap_or_default()),
        0 => {
            Err(none.expected(usual::SAFETENSORS).hint("give a Hugging Face model directory or a .gguf file"))
        }
        n => Err(none
            .expected(usual::SAFETENSORS)
            .found(format!("{n} .safetensors files and no index"))
            .hint("copy the index file from the model's repository as well")),
    }
}
