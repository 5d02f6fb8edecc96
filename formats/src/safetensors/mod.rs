//! safetensors: one file, the shards of a `model.safetensors.index.json`, or a Hugging Face directory.
//! The `safetensors` crate checks a header (no holes, no overlaps, exact length); what it lets pass,
//! duplicate names and dtypes that GGUF cannot follow, is checked here. Pickles are never read.

mod file;
mod index;
mod write;

pub use file::header;
pub use write::{Directory, Named, SHARD, plan};

use crate::error::{Error, Result};
use crate::model::Checkpoint;
use crate::stamp::Reads;
use std::path::{Path, PathBuf};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Opens a checkpoint: a directory, an index file or a `.safetensors` file.
pub fn open(path: &Path) -> Result<Checkpoint> {
    if path.is_dir() {
        return open_directory(path);
    }
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf();
    if path.extension().is_some_and(|e| e == "json") {
        return index::open(path, dir);
    }
    single(dir, path.to_path_buf())
}

fn open_directory(dir: &Path) -> Result<Checkpoint> {
    let index = dir.join(INDEX);
    if index.is_file() {
        return index::open(&index, dir.to_path_buf());
    }
    let path = match dir.join(SINGLE) {
        path if path.is_file() => path,
        _ => only_container(dir)?,
    };
    single(dir.to_path_buf(), path)
}

/// A checkpoint of one file.
fn single(dir: PathBuf, path: PathBuf) -> Result<Checkpoint> {
    let reads = Reads::default();
    Ok(Checkpoint {
        dir,
        tensors: file::read(&path, &reads)?,
        containers: vec![path],
        reads,
        ..Checkpoint::default()
    })
}

/// The one `.safetensors` file of a directory that has neither the usual file nor an index.
fn only_container(dir: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(&e, dir))?;
    let mut names: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    names.sort();
    let has = |ending: &str| names.iter().filter(|p| p.extension().is_some_and(|e| e == ending)).count();
    let none = Error::invalid("this directory holds no checkpoint").file(dir);
    match has("safetensors") {
        0 if dir.join("adapter_config.json").is_file() => {
            Err(none.expected(format!("{SINGLE} or {INDEX}")).found("an adapter (adapter_config.json)").hint(
                "merge the adapter into its base model first (in PEFT: merge_and_unload, save_pretrained)",
            ))
        }
        1 => Ok(names
            .into_iter()
            .find(|p| p.extension().is_some_and(|e| e == "safetensors"))
            .unwrap_or_default()),
        0 if has("bin") + has("pth") + has("pt") > 0 => Err(none
            .expected(format!("{SINGLE} or {INDEX}"))
            .found("only PyTorch pickles, which can run code and are never read")
            .hint("save the model as safetensors first")),
        0 => Err(none
            .expected(format!("{SINGLE} or {INDEX}"))
            .hint("give a Hugging Face model directory or a .gguf file")),
        n => Err(none
            .expected(format!("{SINGLE} or {INDEX}"))
            .found(format!("{n} .safetensors files and no index"))
            .hint("copy the index file from the model's repository as well")),
    }
}
