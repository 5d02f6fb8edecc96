//! The second opinion: gguf-rs reads the same bytes independently, and must see the same model. Two readers
//! that share no code and agree are the ground on which `verify` and `inspect --cross-check` say "ok".
//! What gguf-rs 0.1.8 cannot represent (invalid UTF-8, NaN, newer dtypes) is allowed for, by name.

use super::read::{Entry, Header};
use crate::error::{Error, Kind, Result};
use crate::metadata::{Array, Value};
use crate::mmap::Mapping;
use crate::source::Container;
use bstr::ByteSlice;
use gguf_rs::{ByteOrder, GGUFContainer, GGUFModel};
use serde_json::Value as Json;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// gguf-rs 0.1.8 does not know NVFP4 (40) and the dtypes after it; at 40 it panics, and at nothing else that our reader lets
/// through (its source was read whole for that).
const FIRST_UNKNOWN_DTYPE: u32 = 40;
/// gguf-rs believes only multiples of this alignment.
const LEAST_ALIGNMENT: u64 = 8;
/// Bytes that gguf-rs takes for an element of an array, which it holds as JSON, while the array grows.
const ELEMENT: u64 = 112;
/// The same for a key or a tensor.
const ENTRY: u64 = 192;
/// The memory that it may take for the arrays of a small file; of a larger one, as many bytes as the file has. The
/// largest vocabularies take a third of that.
const LEAST_ROOM: u64 = 64 << 20;

/// Holds `header`, as our reader understood `file`, against what gguf-rs reads from it. `Ok(Some(reason))`
/// when gguf-rs cannot read a file of this kind.
pub fn cross_check(file: &Container, header: &Header) -> Result<Option<String>> {
    if let Some(reason) = out_of_reach(header, file.length()) {
        return Ok(Some(reason));
    }
    // It reads no further than the header, so of a file that lies elsewhere that is enough.
    let bytes = match file.mapping() {
        Some(mapping) => Bytes::Mapped(mapping.clone()),
        None => Bytes::Start(file.start(header.data_offset)?.into_owned()),
    };
    let mut reader = Cursor::new(bytes);
    reader.set_position(4);
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        GGUFContainer::new(ByteOrder::LE, Box::new(reader) as Box<dyn Read>, u64::MAX).decode()
    }));
    let model = match decoded {
        Ok(Ok(model)) => model,
        Ok(Err(e)) => return Err(disagree(format!("gguf-rs refuses the file: {e}")).file(file.path())),
        Err(_) => return Err(disagree("gguf-rs cannot read the file".to_string()).file(file.path())),
    };
    let differences = compare(header, &model);
    match Error::all(differences.into_iter().map(|d| disagree(d).file(file.path())).collect()) {
        Some(e) => Err(e),
        None => Ok(None),
    }
}

/// What gguf-rs reads.
enum Bytes {
    Mapped(Mapping),
    Start(Vec<u8>),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(file) => file.bytes(),
            Bytes::Start(bytes) => bytes,
        }
    }
}

fn disagree(what: String) -> Error {
    Error::new(Kind::Verification, format!("the two readers disagree: {what}"))
}

fn out_of_reach(header: &Header, length: u64) -> Option<String> {
    if !header.alignment.is_multiple_of(LEAST_ALIGNMENT) {
        return Some(format!("gguf-rs takes the alignment {} for 32", header.alignment));
    }
    let newer =
        header.tensors.iter().find(|t| t.dtype.traits().id.is_some_and(|id| id >= FIRST_UNKNOWN_DTYPE));
    if let Some(t) = newer {
        return Some(format!("gguf-rs does not know the dtype {} of '{}'", t.dtype, t.name));
    }
    let elements =
        header.metadata.iter().filter_map(|(_, v)| v.as_array()).map(|a| a.len() as u64).sum::<u64>();
    let entries = header.metadata.len() as u64 + header.tensors.len() as u64;
    let needed = elements.saturating_mul(ELEMENT).saturating_add(entries.saturating_mul(ENTRY));
    (needed > length.max(LEAST_ROOM)).then(|| {
        format!("gguf-rs would take too much memory for {entries} entries and {elements} elements of arrays")
    })
}

fn compare(header: &Header, model: &GGUFModel) -> Vec<String> {
    let mut found = Vec::new();
    let mut same = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            found.push(format!("{what}: {ours} or {theirs}"));
        }
    };
    same("version", format!("v{}", header.version), model.get_version());
    same("alignment", header.alignment.to_string(), model.alignment().to_string());
    same("data offset", header.data_offset.to_string(), model.data_offset().to_string());
    same("number of keys", header.metadata.len().to_string(), model.metadata().len().to_string());
    same("number of tensors", header.tensors.len().to_string(), model.tensors().len().to_string());
    for (ours, theirs) in header.tensors.iter().zip(model.tensors()) {
        same("tensor", describe(ours), describe_theirs(theirs));
    }
    for (key, value) in header.metadata.iter() {
        match model.metadata().get(key) {
            Some(json) if agrees(value, json) => {}
            Some(_) => found.push(format!("the value of '{key}' differs")),
            None => found.push(format!("only our reader sees the key '{key}'")),
        }
    }
    found
}

fn describe(t: &Entry) -> String {
    let id = t.dtype.traits().id.unwrap_or(u32::MAX);
    format!("{} {:?} type {id} at {}", t.name, t.shape.ne(), t.offset)
}

fn describe_theirs(t: &gguf_rs::Tensor) -> String {
    // A tensor without dimensions is one number.
    let shape = if t.shape.is_empty() { &[1] } else { t.shape.as_slice() };
    format!("{} {shape:?} type {} at {}", t.name, t.kind, t.offset)
}

fn agrees(ours: &Value, theirs: &Json) -> bool {
    match ours {
        Value::U8(x) => theirs.as_u64() == Some((*x).into()),
        Value::U16(x) => theirs.as_u64() == Some((*x).into()),
        Value::U32(x) => theirs.as_u64() == Some((*x).into()),
        Value::U64(x) => theirs.as_u64() == Some(*x),
        Value::I8(x) => theirs.as_i64() == Some((*x).into()),
        Value::I16(x) => theirs.as_i64() == Some((*x).into()),
        Value::I32(x) => theirs.as_i64() == Some((*x).into()),
        Value::I64(x) => theirs.as_i64() == Some(*x),
        Value::F32(x) => float_agrees(f64::from(*x), theirs, |y| f64::from(y as f32)),
        Value::F64(x) => float_agrees(*x, theirs, |y| y),
        Value::Bool(x) => theirs.as_bool() == Some(*x),
        Value::Str(x) => text_agrees(x.as_bytes(), theirs),
        Value::Array(a) => theirs.as_array().is_some_and(|items| array_agrees(a, items)),
    }
}

/// gguf-rs shows a float that is not finite as null.
fn float_agrees(ours: f64, theirs: &Json, narrow: impl Fn(f64) -> f64) -> bool {
    if !ours.is_finite() {
        return theirs.is_null();
    }
    theirs.as_f64().is_some_and(|y| narrow(y) == ours)
}

/// gguf-rs replaces bytes that are not UTF-8.
fn text_agrees(ours: &[u8], theirs: &Json) -> bool {
    theirs.as_str().is_some_and(|text| text == ours.to_str_lossy())
}

fn array_agrees(ours: &Array, theirs: &[Json]) -> bool {
    let same_length = ours.len() == theirs.len();
    match ours {
        // Without a copy of each.
        Array::Str(a) => same_length && a.iter().zip(theirs).all(|(x, y)| text_agrees(x, y)),
        _ => same_length && ours.iter().zip(theirs).all(|(x, y)| agrees(&x, y)),
    }
}
