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
use crate::shards;
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

/// Opens another file `name` of the directory of `checkpoint`, which is no part of it.
pub fn beside(checkpoint: &Checkpoint, name: &str) -> Result<Checkpoint> {
    open_in(&checkpoint.folder, &checkpoint.dir.join(name))
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
        None => {
            let files = containers(dir)?;
            match shards::open(dir, &files, file::read)? {
                Some(checkpoint) => Ok(checkpoint),
                None => index::one(&here, own, &only(dir, files)?, file::read),
            }
        }
    }
}

/// The `.safetensors` files of a directory, in the order of their names.
fn containers(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(&e, dir))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    files.sort();
    Ok(files)
}

/// The one `.safetensors` file of a directory that has neither the usual file nor an index.
fn only(dir: &Path, mut files: Vec<PathBuf>) -> Result<PathBuf> {
    let none = Error::invalid("this directory holds no checkpoint").file(dir).expected(usual::SAFETENSORS);
    match (files.len(), files.pop()) {
        (1, Some(only)) => Ok(only),
        (0, _) if dir.join("adapter_config.json").is_file() => Err(none
            .found("an adapter (adapter_config.json)")
            .hint("merge the adapter into its base model first: ggraft merge --onto MODEL --adapter DIR")),
        (0, _) => Err(none.hint("give a Hugging Face model directory or a .gguf file")),
        (n, _) => Err(none
            .found(format!("{n} .safetensors files and no index"))
            .hint("copy the index file from the model's repository as well")),
    }
}
