//! One file of PyTorch, zip or legacy: what its pickle holds, and where its storages lie.

use super::archive::{self, Archive};
use super::contents::{Contents, memory};
use super::pickle::{self, Place, item};
use super::state::{self, Saved};
use super::{legacy, modules};
use crate::error::{Error, Result};
use crate::mmap::Mapping;
use crate::model::Checkpoint;
use crate::source::{Container, must_be_here};
use crate::tensor::Tensor;
use std::ops::Range;

/// Reads the tensors of `file`; `into` takes note of what of it is left out.
pub fn read(file: &Container, into: &mut Checkpoint) -> Result<Vec<Tensor>> {
    let file = file.mapping().ok_or_else(|| must_be_here("a file of PyTorch", file))?;
    let contents = contents(file)?;
    let saved = Saved::new(file, &contents)?;
    match modules::tensors(&saved)? {
        Some(tensors) => Ok(tensors),
        None => state::tensors(&saved, &mut into.notes),
    }
}

/// Where the pickle lies that describes the tensors of `file`.
pub fn header(file: &Mapping) -> Result<Range<u64>> {
    match file.bytes().starts_with(archive::MAGIC) {
        true => Ok(Archive::open(file)?.pickle),
        false => Ok(contents(file)?.pickle),
    }
}

/// Whether a file begins as those of PyTorch do.
pub fn is_ours(file: &Mapping) -> bool {
    file.bytes().starts_with(archive::MAGIC) || legacy::is_legacy(file.bytes())
}

fn contents(file: &Mapping) -> Result<Contents> {
    if legacy::is_legacy(file.bytes()) {
        return legacy::open(file);
    }
    if !file.bytes().starts_with(archive::MAGIC) {
        return Err(foreign(file));
    }
    let archive = Archive::open(file)?;
    let place = Place { file: file.path(), offset: archive.pickle.start, memory: memory(file) };
    let bytes = file.slice(archive.pickle.clone())?;
    let object = pickle::read(bytes, place)?;
    if object.length != bytes.len() {
        return Err(Error::invalid("data.pkl goes on after its end").file(file.path()));
    }
    for storage in object.heap.storages() {
        let key = bytes.get(storage.key.start as usize..storage.key.end as usize).unwrap_or_default();
        let key = String::from_utf8_lossy(key);
        let expected = storage.elements.saturating_mul(storage.dtype.map_or(1, item));
        let found = archive.storages.get(&*key).map(|place| place.end - place.start);
        if found != Some(expected) {
            return Err(Error::invalid("a storage of the pickle is not in the archive as the pickle says")
                .file(file.path())
                .expected(format!("the member data/{key} of {expected} bytes"))
                .found(found.map_or(String::from("none"), |bytes| format!("{bytes} bytes"))));
        }
    }
    Ok(Contents { pickle: archive.pickle, object, storages: archive.storages })
}

/// The error for a file that is something else.
fn foreign(file: &Mapping) -> Error {
    let error = Error::invalid("this is not a checkpoint of PyTorch")
        .file(file.path())
        .expected("a zip archive or a legacy file, as torch.save writes them");
    // GGML, GGMF, GGJT and GGLA, as the first programs of this kind wrote them; the magic is a number.
    if [b"lmgg", b"fmgg", b"tjgg", b"algg"].iter().any(|magic| file.bytes().starts_with(*magic)) {
        return error.found("a file of GGML, from before GGUF").hint(
            "convert the original model instead; or make a GGUF of it with convert_llama_ggml_to_gguf.py of llama.cpp",
        );
    }
    match file.bytes() {
        [] => error.found("an empty file"),
        [0x80, ..] => error.found("a bare pickle"),
        _ => error,
    }
    .hint("the file is truncated or damaged, or is something else: copy or download it again")
}
