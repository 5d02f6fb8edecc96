//! Opens a GGUF model: one file, or all parts of a split one by its first part.
//! Part names end in `-00001-of-00009.gguf`; the keys `split.no`, `split.count` and `split.tensors.count` must
//! agree with them, and only the first part has the model's metadata. `parts` cuts models.
//! Specification: llama.cpp `gguf-split`.

use super::read::Header;
use crate::error::{Error, Kind, Result};
use crate::metadata::Metadata;
use crate::model::Model;
use crate::source::{Container, Folder};
use crate::stamp::Reads;
use crate::tensor::Tensor;
use crate::twice;
use std::path::{Path, PathBuf};

/// The number of a part, from 0.
pub(super) const NO: &str = "split.no";
/// How many parts there are.
pub(super) const COUNT: &str = "split.count";
/// How many tensors all parts hold together.
pub(super) const TENSORS: &str = "split.tensors.count";

/// So many parts are looked for at a time.
const AT_ONCE: usize = 16;

/// Removes what the parts of a split model tell of themselves.
pub fn unsplit(metadata: &mut Metadata) {
    metadata.retain(|key| !key.starts_with("split."));
}

/// Whether the model was read from a file that says that it is part of a split one.
pub fn is_split(model: &Model) -> bool {
    model.containers.len() > 1 || model.metadata.u64(COUNT).is_some_and(|count| count > 0)
}

/// What the parts of `path` are called before `-00001-of-…`: its name without the ending.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.len().checked_sub(5).and_then(|at| name.split_at_checked(at)) {
        Some((stem, ending)) if ending.eq_ignore_ascii_case(".gguf") => stem.to_string(),
        _ => name.into_owned(),
    }
}

/// The name of part `no` (from 0) of `count`, of a model that as one file were `path`.
pub(super) fn part_name(path: &Path, no: usize, count: usize) -> String {
    file_name(&stem(path), no as u64, count as u64)
}

/// `STEM-00001-of-00009.gguf` for part 0 of 9.
fn file_name(stem: &str, no: u64, count: u64) -> String {
    format!("{stem}-{:05}-of-{count:05}.gguf", no.saturating_add(1))
}

/// The names of the tensors in `file`, in order.
pub(super) fn names(file: &Container) -> Result<Vec<String>> {
    let header = Header::of(file)?;
    Ok(header.tensors.into_iter().map(|t| t.name).collect())
}

/// Opens `path` and, if it is the first part of a split model, its other parts.
pub fn open(path: &Path) -> Result<Model> {
    open_in(&Folder::default(), path)
}

/// The same of a file of `folder`.
pub(crate) fn open_in(folder: &Folder, path: &Path) -> Result<Model> {
    let file = folder.container(path)?;
    let (first, tensors) = read(&file)?;
    let count = first.metadata.u64(COUNT).unwrap_or(0);
    let mut model =
        Model { metadata: first.metadata, tensors, containers: vec![file.clone()], reads: Reads::default() };
    model.reads.add(file.stamp());
    if count > 1 {
        check_key(&model, path, NO, 0)?;
        // What a header says of their number may be anything: few are named before they are looked for.
        for first in (1..count).step_by(AT_ONCE) {
            let numbers = first..count.min(first.saturating_add(AT_ONCE as u64));
            let paths = numbers.clone().map(|no| sibling(path, no, count)).collect::<Result<Vec<_>>>()?;
            for ((no, part), file) in numbers.zip(&paths).zip(folder.containers(&paths)) {
                let file = file.map_err(|e| missing(e, folder, part))?;
                add_part(&mut model, (no, count), file)?;
            }
        }
        check_tensors(&model, path)?;
        unsplit(&mut model.metadata);
    }
    Ok(model)
}

/// Adds to `model` what is in part `no` of `count`.
fn add_part(model: &mut Model, (no, count): (u64, u64), file: Container) -> Result<()> {
    let (header, tensors) = read(&file)?;
    model.reads.add(file.stamp());
    let part = Model { metadata: header.metadata, ..Model::default() };
    check_key(&part, file.path(), NO, no)?;
    check_key(&part, file.path(), COUNT, count)?;
    model.tensors.extend(tensors);
    model.containers.push(file);
    Ok(())
}

/// The header of one file, and its tensors.
pub(super) fn read(file: &Container) -> Result<(Header, Vec<Tensor>)> {
    let header = Header::of(file)?;
    let tensors = header
        .tensors
        .iter()
        .map(|t| {
            file.tensor(&t.name, t.shape, t.dtype, header.data_offset + t.offset)
                .map_err(|e| e.file(file.path()))
        })
        .collect::<Result<_>>()?;
    Ok((header, tensors))
}

fn missing(e: Error, folder: &Folder, part: &Path) -> Error {
    match folder.has(part) {
        true => e,
        false => Error::new(Kind::Invalid, "this part of the split model is missing")
            .file(part)
            .hint("keep all parts in one folder, under the names that they were split into"),
    }
}

fn check_key(part: &Model, path: &Path, key: &str, due: u64) -> Result<()> {
    match part.metadata.u64(key) {
        Some(value) if value == due => Ok(()),
        found => Err(Error::invalid("this is not the part of the split model that was expected here")
            .file(path)
            .expected(format!("{key} = {due}"))
            .found(found.map_or(String::from("no such key"), |value| value.to_string()))
            .hint("give the first part, whose name ends in -00001-of-…, and keep all parts beside it")),
    }
}

/// The path of part `no` (from 0) of `count`, beside the first part.
fn sibling(first: &Path, no: u64, count: u64) -> Result<PathBuf> {
    let wrong = || {
        Error::invalid("the name of a split model's first part is wrong")
            .file(first)
            .expected(format!("a name that ends in -00001-of-{count:05}.gguf"))
            .hint("give every part the name that it was split into")
    };
    let name = first.file_name().and_then(|n| n.to_str()).ok_or_else(wrong)?;
    let stem = name.strip_suffix(&file_name("", 0, count)).ok_or_else(wrong)?;
    Ok(first.with_file_name(file_name(stem, no, count)))
}

fn check_tensors(model: &Model, path: &Path) -> Result<()> {
    if let Some(name) = twice(model.tensors.iter().map(|t| t.name.as_str())) {
        return Err(Error::invalid("two parts of the split model hold this tensor").file(path).tensor(name));
    }
    match model.metadata.u64(TENSORS) {
        Some(due) if due != model.tensors.len() as u64 => {
            Err(Error::invalid("the parts do not hold all tensors of the split model")
                .file(path)
                .expected(format!("{due} tensors"))
                .found(model.tensors.len())
                .hint("copy or download all parts again"))
        }
        _ => Ok(()),
    }
}
