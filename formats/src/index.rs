//! The index of a sharded checkpoint, `{"metadata": …, "weight_map": {tensor: file}}`. Its paths may not leave
//! the directory. Where it and the shards disagree is kept: it matters only for tensors that are used.

use crate::error::{Error, Result};
use crate::inside::stays_inside;
use crate::model::{Checkpoint, Disagreement, parse_json};
use crate::source::{Container, Folder};
use crate::stamp::Reads;
use crate::tensor::Tensor;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Reads the tensors of a shard; the checkpoint takes note of what is noticed of it.
pub(crate) type Read = fn(&Container, &mut Checkpoint) -> Result<Vec<Tensor>>;

/// Opens the checkpoint in `dir` that is one file.
pub(crate) fn one(folder: &Folder, dir: PathBuf, path: &Path, read: Read) -> Result<Checkpoint> {
    let mut checkpoint = Checkpoint { dir, folder: folder.clone(), ..Checkpoint::default() };
    let file = folder.container(path)?;
    checkpoint.reads.add(file.stamp());
    checkpoint.tensors = read(&file, &mut checkpoint)?;
    checkpoint.containers.push(file);
    Ok(checkpoint)
}

/// Opens the checkpoint in `dir` whose index is `path`.
pub(crate) fn open(folder: &Folder, path: &Path, dir: PathBuf, read: Read) -> Result<Checkpoint> {
    let reads = Reads::default();
    let index = {
        let file = folder.whole(path)?.ok_or_else(|| Error::invalid("this file is missing").file(path))?;
        reads.add(file.stamp().clone());
        parse_json(file.bytes(), path)?
    };
    let shards = weight_map(&index, path)?;
    let missing: Vec<Error> = shards
        .keys()
        .map(|name| dir.join(name))
        .filter(|shard| !folder.has(shard))
        .map(|shard| {
            Error::invalid("this shard is missing")
                .file(&shard)
                .hint("download it, or delete the index if the model has one file")
        })
        .collect();
    if let Some(e) = Error::all(missing) {
        return Err(e);
    }
    let mut checkpoint = Checkpoint { dir, reads, folder: folder.clone(), ..Checkpoint::default() };
    let paths: Vec<PathBuf> = shards.keys().map(|name| checkpoint.dir.join(name)).collect();
    let mapped: Vec<&BTreeSet<String>> = shards.values().collect();
    add(folder, &paths, read, &mut checkpoint, |checkpoint, shard, tensors| {
        let held: BTreeSet<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
        let mapped = mapped.get(shard).copied();
        let told = mapped.map_or(Vec::new(), |mapped| disagreements(&paths[shard], mapped, &held));
        checkpoint.disagreements.extend(told);
    })?;
    Ok(checkpoint)
}

/// Adds what the shards `paths` hold; `told` is called with the checkpoint, the number of each and its tensors.
///
/// # Errors
/// All that is wrong with any of the shards.
pub(crate) fn add(
    folder: &Folder,
    paths: &[PathBuf],
    read: Read,
    checkpoint: &mut Checkpoint,
    told: impl Fn(&mut Checkpoint, usize, &[Tensor]),
) -> Result<()> {
    let mut problems = Vec::new();
    for (shard, opened) in folder.containers(paths).into_iter().enumerate() {
        let read = opened.and_then(|file| {
            checkpoint.reads.add(file.stamp());
            Ok((read(&file, checkpoint)?, file))
        });
        match read {
            Ok((tensors, file)) => {
                told(checkpoint, shard, &tensors);
                checkpoint.tensors.extend(tensors);
                checkpoint.containers.push(file);
            }
            Err(e) => problems.push(e),
        }
    }
    Error::all(problems).map_or(Ok(()), Err)
}

/// The shards in the order of their names, each with the tensors that the index puts there.
fn weight_map(index: &Value, path: &Path) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let map = index.get("weight_map").and_then(Value::as_object).ok_or_else(|| {
        Error::invalid("the index has no 'weight_map'").file(path).hint("download the index again")
    })?;
    let mut shards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (tensor, shard) in map {
        let shard = shard.as_str().filter(|s| stays_inside(s)).ok_or_else(|| {
            Error::invalid("the index points outside its directory")
                .file(path)
                .tensor(tensor)
                .expected("a file name in the same directory")
                .found(shard)
        })?;
        shards.entry(shard.to_string()).or_default().insert(tensor.clone());
    }
    if shards.is_empty() {
        return Err(Error::invalid("the index names no tensors").file(path));
    }
    Ok(shards)
}

fn disagreements(shard: &Path, mapped: &BTreeSet<String>, held: &BTreeSet<&str>) -> Vec<Disagreement> {
    let one = |name: &str, is_held| Disagreement { tensor: name.into(), shard: shard.into(), is_held };
    let absent = mapped.iter().filter(|name| !held.contains(name.as_str())).map(|name| one(name, false));
    let extra = held.iter().filter(|name| !mapped.contains(**name)).map(|name| one(name, true));
    absent.chain(extra).collect()
}
