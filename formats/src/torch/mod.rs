//! Checkpoints of PyTorch: one `.bin`, `.pt`, `.pth` or `.ckpt` file, the shards of a `pytorch_model.bin.index.json`,
//! or a directory that has these and no safetensors. A pickle is a program; here it is only read: a machine that knows
//! what state dicts need takes names, shapes and places from it and refuses all else, and the elements are mapped.

mod archive;
mod contents;
mod file;
mod legacy;
mod modules;
mod pickle;
mod state;
mod strided;

pub use file::{header, is_ours};

use crate::error::{Error, Result};
use crate::index;
use crate::model::Checkpoint;
use crate::shards;
use crate::source::Folder;
use crate::usual;
use std::path::{Path, PathBuf};

/// What checkpoints of PyTorch end with.
const ENDINGS: &[&str] = &["bin", "pt", "pth", "ckpt"];

/// What trainers leave beside a model: none of it is one.
const BESIDE: &[&str] =
    &["training_args", "optimizer", "scheduler", "scaler", "rng_state", "random_states", "adapter_model"];

/// Whether `path` is a file or an index of PyTorch, or a directory that holds no other weights.
pub(crate) fn recognises(path: &Path) -> bool {
    if path.is_dir() {
        return !safetensors_in(path) && (usual::PYTORCH.is_in(path) || !candidates(path).is_empty());
    }
    ends(path, ENDINGS) || path.to_string_lossy().ends_with(".bin.index.json")
}

/// Opens a checkpoint: a directory, an index or one file.
pub fn open(path: &Path) -> Result<Checkpoint> {
    if path.is_dir()
        && !usual::PYTORCH.is_in(path)
        && let Some(checkpoint) = shards::open(path, &candidates(path), file::read)?
    {
        return Ok(Checkpoint { format: "PyTorch", ..checkpoint });
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (dir, path) = match path.is_dir() {
        true => (path, container(path)?),
        false => (parent, path.to_path_buf()),
    };
    let dir = dir.to_path_buf();
    let checkpoint = match path.extension().is_some_and(|e| e == "json") {
        true => index::open(&Folder::default(), &path, dir, file::read)?,
        false => index::one(&Folder::default(), dir, &path, file::read)?,
    };
    Ok(Checkpoint { format: "PyTorch", ..checkpoint })
}

/// The index or the file that a directory is read by.
fn container(dir: &Path) -> Result<PathBuf> {
    if let Some(usual) = usual::PYTORCH.find(dir) {
        return Ok(usual);
    }
    let mut all = candidates(dir);
    match (all.len(), all.pop()) {
        (1, Some(only)) => Ok(only),
        (n, _) => Err(Error::invalid("this directory holds no checkpoint")
            .file(dir)
            .expected(usual::PYTORCH.to_string())
            .found(format!("{n} files of PyTorch and no index"))
            .hint("copy the index file from the model's repository as well, or name one of the files")),
    }
}

/// The files of `dir` that may be a model, in the order of their names.
fn candidates(dir: &Path) -> Vec<PathBuf> {
    let is_beside = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        BESIDE.iter().any(|beside| name.starts_with(beside))
    };
    let mut paths = files(dir);
    paths.retain(|path| ends(path, ENDINGS) && !is_beside(path));
    paths.sort();
    paths
}

/// Whether `dir` holds weights that are to be read instead: those of the usual names, or any if there are none of
/// PyTorch under its own.
fn safetensors_in(dir: &Path) -> bool {
    usual::SAFETENSORS.is_in(dir)
        || (!usual::PYTORCH.is_in(dir) && files(dir).iter().any(|path| ends(path, &["safetensors"])))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().filter_map(|e| e.ok().map(|e| e.path())).collect()
}

fn ends(path: &Path, endings: &[&str]) -> bool {
    path.extension().is_some_and(|e| endings.iter().any(|ending| e.eq_ignore_ascii_case(ending)))
}
