//! Cuts a model into the parts of a split one, for `write` to plan. Parts are called `NAME-00001-of-00009.gguf`; the
//! first has the model's metadata, every one the keys that `split` reads, and the alignment if it is not the usual.
//! Specification: llama.cpp v0.5.0, `gguf-split`, `llama-quantize --keep-split` and `convert_hf_to_gguf.py`, which
//! differ in the order of the keys and in what becomes of a model that needs no cut.

use super::split::{COUNT, NO, TENSORS, unsplit};
use super::{ALIGNMENT_KEY, pad};
use crate::error::{Error, Result};
use crate::metadata::{Metadata, Value};
use crate::source::Container;
use crate::tensor::Tensor;
use std::collections::HashMap;

/// How a model is split.
#[derive(Clone, Debug)]
pub enum Split {
    /// As by gguf-split: a model that needs no cut becomes a part too, `NAME-00001-of-00001.gguf`.
    Always(Limits),
    /// As by convert_hf_to_gguf.py: a model that needs no cut stays an ordinary file.
    IfNeeded(Limits),
    /// As by llama-quantize: so many tensors in each part. A single one is called as a part, but has no keys.
    Counts(Vec<usize>),
}

/// What a part may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of tensors, padding included, header not; a larger tensor has a part of its own.
    pub bytes: Option<u64>,
    /// The most tensors.
    pub tensors: Option<u64>,
    /// Whether the first part holds the metadata alone.
    pub bare_first: bool,
}

impl Split {
    /// The number of tensors in each part; `None` if the model stays an ordinary file.
    pub(super) fn counts(&self, tensors: &[Tensor], alignment: u64) -> Result<Option<Vec<usize>>> {
        let counts = match self {
            Split::Counts(counts) => counts.clone(),
            Split::Always(limits) | Split::IfNeeded(limits) => limits.counts(tensors, alignment)?,
        };
        match counts.len() {
            1 if matches!(self, Split::IfNeeded(_)) => Ok(None),
            n if n > usize::from(u16::MAX) => Err(Error::invalid("the model would have too many parts")
                .expected(format!("at most {}", u16::MAX))
                .found(n)
                .hint("allow more bytes or tensors in a part")),
            _ => Ok(Some(counts)),
        }
    }

    /// The metadata of part `no` (from 0) of `count`.
    pub(super) fn metadata(&self, model: &Metadata, no: usize, count: usize, tensors: usize) -> Metadata {
        let mut metadata = match (no, model.get(ALIGNMENT_KEY)) {
            (0, _) => model.clone(),
            (_, None) => Metadata::new(),
            // Each part is laid out by the alignment that it tells.
            (_, Some(alignment)) => {
                let mut metadata = Metadata::new();
                metadata.set(ALIGNMENT_KEY, alignment.clone());
                metadata
            }
        };
        unsplit(&mut metadata);
        let order: &[&str] = match self {
            Split::Always(_) | Split::IfNeeded(_) => &[NO, TENSORS, COUNT],
            Split::Counts(_) if count > 1 => &[NO, COUNT, TENSORS],
            Split::Counts(_) => &[],
        };
        for key in order {
            let value = match *key {
                NO => Value::U16(no as u16),
                COUNT => Value::U16(count as u16),
                _ => Value::I32(i32::try_from(tensors).unwrap_or(i32::MAX)),
            };
            metadata.set(key, value);
        }
        metadata
    }
}

impl Limits {
    fn counts(&self, tensors: &[Tensor], alignment: u64) -> Result<Vec<usize>> {
        let mut counts = if self.bare_first { vec![0] } else { Vec::new() };
        let (mut count, mut bytes) = (0usize, 0u64);
        for t in tensors {
            let more = pad(t.bytes(), alignment);
            let sum = more.and_then(|more| bytes.checked_add(more));
            let full = self.tensors.is_some_and(|most| count as u64 >= most)
                || self.bytes.is_some_and(|most| sum.is_none_or(|sum| sum > most));
            if full && count > 0 {
                counts.push(std::mem::take(&mut count));
                bytes = 0;
            }
            count += 1;
            bytes = more.and_then(|more| bytes.checked_add(more)).ok_or_else(|| {
                Error::invalid("the tensors are larger than any file can be").tensor(&t.name)
            })?;
        }
        counts.push(count);
        Ok(counts)
    }
}

/// The split that keeps the parts of `files` for tensors of these names, which stand in the order of the files. `rename` is
/// the new name of a tensor of a file, `None` if it is gone; a tensor that is in no file joins the last part.
pub fn keep<'a>(
    files: &[Container],
    names: impl Iterator<Item = &'a str>,
    rename: impl Fn(&str) -> Option<String>,
) -> Result<Split> {
    let mut parts = HashMap::new();
    for (part, file) in files.iter().enumerate() {
        let renamed = super::split::names(file)?.into_iter().filter_map(|name| rename(&name));
        parts.extend(renamed.map(|name| (name, part)));
    }
    let last = files.len().saturating_sub(1);
    let mut counts = vec![0; last + 1];
    names.for_each(|name| counts[parts.get(name).copied().unwrap_or(last)] += 1);
    Ok(Split::Counts(counts))
}
