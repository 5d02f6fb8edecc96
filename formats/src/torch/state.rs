//! The one dict of tensors in what was saved: the object itself, or what a trainer has put beside its own state
//! (`{"state_dict": …}`, `{"model": …}`). Where there are two, none is guessed.

use super::contents::Contents;
use super::pickle::{Heap, Value, View, item};
use super::strided::Strided;
use crate::error::{Error, Printable, Result};
use crate::mmap::Mapping;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::twice;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// So many dicts deep a state dict may lie.
const DEPTH: usize = 4;

/// The longest name of a tensor, in bytes.
const LONGEST_NAME: usize = 1024;
/// So many names are told.
const MOST_NAMED: usize = 8;
/// What is told of a key that is no name.
const NO_TEXT: &str = "a key that is no name";

type Pairs<'a> = &'a [(Value, Value)];

/// The tensors of the state dict, in its order; `notes` take where it lies and what of it is left out.
pub fn tensors(saved: &Saved<'_>, notes: &mut Vec<String>) -> Result<Vec<Tensor>> {
    let file = saved.file;
    let pairs = saved.state_dict(notes)?;
    let (mut views, mut others) = (Vec::new(), Vec::new());
    for (key, value) in pairs {
        let Some(view) = saved.heap().tensor(*value) else {
            others.push(*key);
            continue;
        };
        let Some(name) = saved.string(*key) else {
            return Err(Error::invalid("a tensor has a name that is no text, or too long").file(file.path()));
        };
        views.push((name, view));
    }
    if let Some(name) = twice(views.iter().map(|(name, _)| *name)) {
        return Err(Error::invalid("the pickle names this tensor twice").file(file.path()).tensor(name));
    }
    if !others.is_empty() {
        let (n, named) = (others.len(), saved.named(others.into_iter()));
        notes.push(saved.note(format!("{n} entries are no tensors and are left out, such as {named}")));
    }
    let tensor =
        |(name, view): (&str, &View)| saved.tensor(name, view).map_err(|e| e.tensor(name).file(file.path()));
    views.into_iter().map(tensor).collect()
}

/// What a file holds, and the file.
pub struct Saved<'a> {
    file: &'a Mapping,
    contents: &'a Contents,
    /// The bytes of the pickle.
    text: &'a [u8],
}

impl<'a> Saved<'a> {
    pub fn new(file: &'a Mapping, contents: &'a Contents) -> Result<Saved<'a>> {
        Ok(Saved { file, contents, text: file.slice(contents.pickle.clone())? })
    }

    pub fn heap(&self) -> &'a Heap {
        &self.contents.object.heap
    }

    pub fn root(&self) -> Value {
        self.contents.object.root
    }

    pub fn path(&self) -> &'a Path {
        self.file.path()
    }

    /// A text that is no longer than a name may be.
    pub fn string(&self, value: Value) -> Option<&'a str> {
        let Value::Text(span) = value else { return None };
        let bytes = self.text.get(span.start as usize..span.end as usize)?;
        Some(bytes).filter(|b| b.len() <= LONGEST_NAME).and_then(|b| std::str::from_utf8(b).ok())
    }

    /// The dict of tensors that lies least deep.
    fn state_dict(&self, notes: &mut Vec<String>) -> Result<Pairs<'a>> {
        let mut level = vec![(Value::None, self.contents.object.root)];
        for depth in 0..DEPTH {
            let holders: Vec<_> = level.iter().filter(|(_, dict)| self.holds_tensors(*dict)).collect();
            match holders[..] {
                [] => level = self.below(&level),
                [(key, dict)] => {
                    if depth > 0 {
                        let key = self.string(*key).unwrap_or(NO_TEXT);
                        notes.push(
                            self.note(format!("the state dict is taken from '{key}', the rest is left out")),
                        );
                    }
                    return Ok(self.heap().dict(*dict).unwrap_or_default());
                }
                _ => {
                    let what = "this file holds several dicts of tensors, and none is said to be the model";
                    return Err(Error::unsupported(what)
                        .file(self.file.path())
                        .found(self.named(holders.iter().map(|(key, _)| *key)))
                        .hint("load it in PyTorch and save the one that is wanted alone"));
                }
            }
        }
        Err(Error::invalid("this file holds no state dict")
            .file(self.file.path())
            .expected("a dict of tensors, or one dict of tensors in a dict")
            .hint("give the file with the weights: pytorch_model.bin of a model's folder"))
    }

    /// The first of these keys, in words.
    fn named(&self, keys: impl Iterator<Item = Value>) -> String {
        let names: Vec<&str> = keys.take(MOST_NAMED).map(|key| self.string(key).unwrap_or(NO_TEXT)).collect();
        names.join(", ")
    }

    /// A sentence about the file, safe to print.
    fn note(&self, text: String) -> String {
        format!("{}: {}", Printable(&self.file.path().to_string_lossy()), Printable(&text))
    }

    fn holds_tensors(&self, value: Value) -> bool {
        self.heap()
            .dict(value)
            .is_some_and(|pairs| pairs.iter().any(|(_, v)| self.heap().tensor(*v).is_some()))
    }

    /// The dicts in the dicts of a level, each once and with its key.
    fn below(&self, level: &[(Value, Value)]) -> Vec<(Value, Value)> {
        let mut seen = HashSet::new();
        let pairs = level.iter().filter_map(|(_, dict)| self.heap().dict(*dict)).flatten();
        let dicts = pairs.filter(|(_, value)| match value {
            Value::Node(node) => self.heap().dict(*value).is_some() && seen.insert(*node),
            _ => false,
        });
        dicts.copied().collect()
    }

    pub fn tensor(&self, name: &str, view: &View) -> Result<Tensor> {
        let too_large = || {
            Error::unsupported("the tensor has too many dimensions or elements")
                .found(format!("{:?}", view.sizes))
        };
        // PyTorch lists the longest stride first, ggml the row length.
        let ne: Vec<u64> = view.sizes.iter().rev().copied().collect();
        let shape = Shape::new(&ne).ok_or_else(too_large)?;
        let key = self.string(Value::Text(view.storage.key)).unwrap_or_default();
        let storage = self.contents.storages.get(key).ok_or_else(|| {
            Error::invalid("the elements of this tensor are not in the file")
                .found(format!("no storage '{key}'"))
        })?;
        let start = view.offset.checked_mul(item(view.dtype)).and_then(|o| o.checked_add(storage.start));
        let start = start.ok_or_else(too_large)?;
        if shape.elements() == 0 || is_contiguous(view) {
            return Tensor::mapped(name, shape, view.dtype, self.file, start);
        }
        let numbers = |list: &[u64]| -> Option<Vec<usize>> {
            list.iter().rev().map(|n| usize::try_from(*n).ok()).collect()
        };
        let strided = || {
            Some(Strided {
                file: self.file.clone(),
                start: start.try_into().ok()?,
                item: item(view.dtype).try_into().ok()?,
                ne: numbers(&view.sizes)?,
                strides: view.sizes.iter().zip(&view.strides).rev().map(distance).collect::<Option<_>>()?,
            })
        };
        Tensor::new(name, shape, view.dtype, Arc::new(strided().ok_or_else(too_large)?))
    }
}

/// The stride of a dimension; that of a single element says nothing.
fn distance((size, stride): (&u64, &u64)) -> Option<usize> {
    if *size == 1 { Some(0) } else { (*stride).try_into().ok() }
}

/// Whether the elements lie side by side, in order.
fn is_contiguous(view: &View) -> bool {
    let mut next = 1;
    view.sizes.iter().zip(&view.strides).rev().all(|(size, stride)| {
        let fits = *size == 1 || *stride == next;
        next *= size;
        fits
    })
}
