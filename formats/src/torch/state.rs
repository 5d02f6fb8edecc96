//! The one dict of tensors in what was saved: the object itself, or what a trainer has put beside its own state
//! (`{"state_dict": …}`, `{"model": …}`). Where there are two, none is guessed.

use super::file::Contents;
use super::pickle::{Heap, Value, View, item};
use super::strided::Strided;
use crate::error::{Error, Printable, Result};
use crate::mmap::Mapping;
use crate::tensor::{Shape, Tensor};
use crate::twice;
use std::sync::Arc;

/// So many dicts deep a state dict may lie.
const DEPTH: usize = 4;

/// So many names are told.
const MOST_NAMED: usize = 8;
/// What is told of a key that is no name.
const NO_TEXT: &str = "a key that is no text";

type Pairs<'a> = &'a [(Value, Value)];

/// The tensors of the state dict, in its order; `notes` take where it lies and what of it is left out.
pub fn tensors(file: &Mapping, contents: &Contents, notes: &mut Vec<String>) -> Result<Vec<Tensor>> {
    let saved = Saved { file, contents, text: file.slice(contents.pickle.clone())? };
    let pairs = saved.state_dict(notes)?;
    let mut tensors = Vec::with_capacity(pairs.len());
    let mut others = Vec::new();
    for (key, value) in pairs {
        let Some(view) = saved.heap().tensor(*value) else {
            others.push(saved.string(*key).unwrap_or(NO_TEXT));
            continue;
        };
        let Some(name) = saved.string(*key) else {
            return Err(Error::invalid("a tensor has a name that is no text").file(file.path()));
        };
        tensors.push(saved.tensor(name, view).map_err(|e| e.tensor(name).file(file.path()))?);
    }
    if !others.is_empty() {
        let named = others[..others.len().min(MOST_NAMED)].join(", ");
        notes.push(saved.note(format!("{} entries are no tensors and are left out, such as {named}", others.len())));
    }
    match twice(tensors.iter().map(|t: &Tensor| t.name.as_str())) {
        Some(name) => Err(Error::invalid("the pickle names this tensor twice").file(file.path()).tensor(name)),
        None => Ok(tensors),
    }
}

struct Saved<'a> {
    file: &'a Mapping,
    contents: &'a Contents,
    /// The bytes of the pickle.
    text: &'a [u8],
}

impl<'a> Saved<'a> {
    fn heap(&self) -> &'a Heap {
        &self.contents.object.heap
    }

    fn string(&self, value: Value) -> Option<&'a str> {
        match value {
            Value::Text(span) => {
                std::str::from_utf8(self.text.get(span.start as usize..span.end as usize)?).ok()
            }
            _ => None,
        }
    }

    /// The dict of tensors that lies least deep.
    fn state_dict(&self, notes: &mut Vec<String>) -> Result<Pairs<'a>> {
        let error = |e: Error| e.file(self.file.path());
        let root = self.contents.object.root;
        let mut level: Vec<(String, Value)> = vec![(String::from("the object itself"), root)];
        for _ in 0..DEPTH {
            let holders: Vec<&(String, Value)> = level.iter().filter(|(_, v)| self.holds_tensors(*v)).collect();
            match holders[..] {
                [] => {}
                [(name, dict)] => {
                    if level.len() > 1 || !matches!((*dict, root), (Value::Node(a), Value::Node(b)) if a == b) {
                        notes.push(self.note(format!("the state dict is taken from '{name}', the rest is left out")));
                    }
                    return Ok(self.heap().dict(*dict).unwrap_or_default());
                }
                _ => {
                    let names: Vec<&str> = holders.iter().take(MOST_NAMED).map(|(name, _)| name.as_str()).collect();
                    return Err(error(
                        Error::unsupported("this file holds several dicts of tensors, and none is said to be the model")
                            .found(names.join(", "))
                            .mend("load it in PyTorch and save the one that is wanted alone"),
                    ));
                }
            }
            level = self.below(&level);
        }
        Err(error(
            Error::invalid("this file holds no state dict")
                .expected("a dict of tensors, or one dict of tensors in a dict")
                .mend("give the file with the weights: pytorch_model.bin of a model's folder"),
        ))
    }

    /// A sentence about the file, safe to print.
    fn note(&self, text: String) -> String {
        format!("{}: {}", Printable(&self.file.path().to_string_lossy()), Printable(&text))
    }

    fn holds_tensors(&self, value: Value) -> bool {
        self.heap().dict(value).is_some_and(|pairs| pairs.iter().any(|(_, v)| self.heap().tensor(*v).is_some()))
    }

    /// The dicts in the dicts of a level, each once.
    fn below(&self, level: &[(String, Value)]) -> Vec<(String, Value)> {
        let mut seen = std::collections::HashSet::new();
        let dicts = level.iter().filter_map(|(_, value)| self.heap().dict(*value)).flatten();
        let mut below = Vec::new();
        for (key, value) in dicts {
            if let Value::Node(node) = value
                && self.heap().dict(*value).is_some()
                && seen.insert(*node)
            {
                below.push((self.string(*key).unwrap_or(NO_TEXT).to_string(), *value));
            }
        }
        below
    }

    fn tensor(&self, name: &str, view: &View) -> Result<Tensor> {
        let too_large = || {
            Error::unsupported("the tensor has too many dimensions or elements").found(format!("{:?}", view.sizes))
        };
        // PyTorch lists the longest stride first, ggml the row length.
        let ne: Vec<u64> = view.sizes.iter().rev().copied().collect();
        let shape = Shape::new(&ne).ok_or_else(too_large)?;
        let key = self.string(Value::Text(view.storage.key)).unwrap_or_default();
        let storage = self.contents.storages.get(key).ok_or_else(|| {
            Error::invalid("the elements of this tensor are not in the file").found(format!("no storage '{key}'"))
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
