//! Plans a model as a GGUF file, or as several: the header, encoded, and the offset of every tensor. `crate::write`
//! does the rest.

use super::parts::Split;
use super::read::Header;
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MAX_ALIGNMENT, MAX_NAME, VERSION, kind, pad, split};
use crate::error::{Error, Result};
use crate::metadata::{Array, Metadata, Value};
use crate::mmap::Mapping;
use crate::model::Model;
use crate::tensor::Tensor;
use crate::write::{Held, Layout, Placed, Planned};
use std::collections::HashSet;
use std::path::Path;

/// Plans `model` as the file `path`; touches no weight.
pub fn plan<'a>(model: &'a Model, path: &Path) -> Result<Layout<'a>> {
    let alignment = alignment(&model.metadata)?;
    unique(&model.tensors)?;
    let (file, tensors) = file(String::new(), &model.metadata, &model.tensors, 0, alignment)?;
    Ok(Layout {
        target: path.to_path_buf(),
        is_directory: false,
        files: vec![file],
        tensors,
        metadata: Some(&model.metadata),
        told: Vec::new(),
    })
}

/// Plans `model` as parts whose names are made of `path`, or as `path` if it needs no split; touches no weight.
pub fn plan_split<'a>(model: &'a Model, path: &Path, split: &Split) -> Result<Layout<'a>> {
    let alignment = alignment(&model.metadata)?;
    let Some(counts) = split.counts(&model.tensors, alignment)? else { return plan(model, path) };
    unique(&model.tensors)?;
    let mut files = Vec::with_capacity(counts.len());
    let mut tensors = Vec::with_capacity(model.tensors.len());
    let mut rest = model.tensors.as_slice();
    for (no, count) in counts.iter().enumerate() {
        let wrong = || Error::invalid("the parts do not hold as many tensors as the model");
        let (part, others) = rest.split_at_checked(*count).ok_or_else(wrong)?;
        let metadata = split.metadata(&model.metadata, no, counts.len(), model.tensors.len());
        let (file, placed) = file(split::part_name(path, no, counts.len()), &metadata, part, no, alignment)?;
        files.push(file);
        tensors.extend(placed);
        rest = others;
    }
    Ok(Layout {
        target: path.to_path_buf(),
        is_directory: false,
        files,
        tensors,
        metadata: Some(&model.metadata),
        told: Vec::new(),
    })
}

fn unique(tensors: &[Tensor]) -> Result<()> {
    let mut names = HashSet::new();
    match tensors.iter().find(|t| !names.insert(t.name.as_str())) {
        None => Ok(()),
        Some(t) => Err(Error::invalid("two tensors have this name").tensor(&t.name)),
    }
}

/// The header of a file of these tensors, without padding.
pub(super) fn head(metadata: &Metadata, tensors: &[Tensor], alignment: u64) -> Result<Vec<u8>> {
    Ok(file(String::new(), metadata, tensors, 0, alignment)?.0.head)
}

/// One file, number `index` of its layout, and where its tensors go.
fn file<'a>(
    name: String,
    metadata: &Metadata,
    tensors: &'a [Tensor],
    index: usize,
    alignment: u64,
) -> Result<(Planned, Vec<Placed<'a>>)> {
    let mut head = Vec::new();
    head.extend(MAGIC);
    head.extend(VERSION.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata.iter() {
        if key.is_empty() {
            return Err(Error::invalid("a metadata key is empty"));
        }
        put_str(&mut head, key.as_bytes());
        put_value(&mut head, value);
    }
    let mut offset = 0;
    let mut placed = Vec::with_capacity(tensors.len());
    for t in tensors {
        put_tensor(&mut head, t, offset)?;
        placed.push(Placed { tensor: t, name: &t.name, file: index, offset });
        offset = offset
            .checked_add(t.bytes())
            .and_then(|n| pad(n, alignment))
            .ok_or_else(|| Error::invalid("the tensors are larger than any file can be").tensor(&t.name))?;
    }
    let start = pad(head.len() as u64, alignment).unwrap_or(u64::MAX);
    let total = start.checked_add(offset);
    let total = total.ok_or_else(|| Error::invalid("the model is larger than any file can be"))?;
    placed.iter_mut().for_each(|p| p.offset += start);
    Ok((Planned { name, head, total, read: Some(held) }, placed))
}

/// What the strict reader finds in a finished file.
fn held(file: &Mapping) -> Result<Vec<Held>> {
    let header = Header::parse(file.bytes(), file.path())?;
    let held = |e: &super::Entry| Held::new(&e.name, &e.shape, e.dtype, header.data_offset + e.offset);
    Ok(header.tensors.iter().map(held).collect())
}

/// Where a model's tensors begin and end in its file: at multiples of this.
pub fn alignment(metadata: &Metadata) -> Result<u64> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::U32(n)) if n.is_power_of_two() && u64::from(*n) <= MAX_ALIGNMENT => Ok(u64::from(*n)),
        Some(other) => Err(Error::invalid("general.alignment must be a power of two")
            .expected(format!("a u32 from 1 to {MAX_ALIGNMENT}"))
            .found(format!("{other:?}"))),
    }
}

fn put_tensor(out: &mut Vec<u8>, t: &Tensor, offset: u64) -> Result<()> {
    if t.name.is_empty() || t.name.len() >= MAX_NAME {
        return Err(Error::invalid("a tensor name has a wrong length for GGUF")
            .tensor(&t.name)
            .expected(format!("1 to {} bytes", MAX_NAME - 1))
            .found(format!("{} bytes", t.name.len())));
    }
    let id = t.dtype().traits().id.ok_or_else(|| {
        Error::unsupported(format!("GGUF has no dtype {}", t.dtype()))
            .tensor(&t.name)
            .mend("choose a --type that it can be converted to")
    })?;
    put_str(out, t.name.as_bytes());
    let ne = t.shape().ne();
    out.extend((ne.len() as u32).to_le_bytes());
    ne.iter().for_each(|n| out.extend(n.to_le_bytes()));
    out.extend(id.to_le_bytes());
    out.extend(offset.to_le_bytes());
    Ok(())
}

fn put_str(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

/// What tells a value from others: a short one as it is, and the hash of its encoding.
pub(crate) fn brief(value: &Value) -> String {
    let mut encoded = Vec::new();
    put_value(&mut encoded, value);
    let hash = xxhash_rust::xxh3::xxh3_64(&encoded);
    let short = value.as_str().filter(|text| text.len() <= 64).map(String::from);
    let text = short.or_else(|| value.as_u64().map(|n| n.to_string()));
    let text = text.or_else(|| value.as_f64().map(|x| x.to_string()));
    format!("{} ({}, hash {hash:016x})", text.as_deref().unwrap_or("…"), value.type_name())
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    fn put(out: &mut Vec<u8>, kind: u32, bytes: &[u8]) {
        out.extend(kind.to_le_bytes());
        out.extend(bytes);
    }
    match value {
        Value::U8(x) => put(out, kind::U8, &x.to_le_bytes()),
        Value::I8(x) => put(out, kind::I8, &x.to_le_bytes()),
        Value::U16(x) => put(out, kind::U16, &x.to_le_bytes()),
        Value::I16(x) => put(out, kind::I16, &x.to_le_bytes()),
        Value::U32(x) => put(out, kind::U32, &x.to_le_bytes()),
        Value::I32(x) => put(out, kind::I32, &x.to_le_bytes()),
        Value::F32(x) => put(out, kind::F32, &x.to_le_bytes()),
        Value::Bool(x) => put(out, kind::BOOL, &[u8::from(*x)]),
        Value::U64(x) => put(out, kind::U64, &x.to_le_bytes()),
        Value::I64(x) => put(out, kind::I64, &x.to_le_bytes()),
        Value::F64(x) => put(out, kind::F64, &x.to_le_bytes()),
        Value::Str(x) => {
            out.extend(kind::STR.to_le_bytes());
            put_str(out, x);
        }
        Value::Array(a) => {
            out.extend(kind::ARRAY.to_le_bytes());
            put_array(out, a);
        }
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    fn put<T: Copy, const N: usize>(out: &mut Vec<u8>, kind: u32, items: &[T], bytes: impl Fn(T) -> [u8; N]) {
        out.extend(kind.to_le_bytes());
        out.extend((items.len() as u64).to_le_bytes());
        items.iter().for_each(|x| out.extend(bytes(*x)));
    }
    match array {
        Array::U8(a) => put(out, kind::U8, a, u8::to_le_bytes),
        Array::I8(a) => put(out, kind::I8, a, i8::to_le_bytes),
        Array::U16(a) => put(out, kind::U16, a, u16::to_le_bytes),
        Array::I16(a) => put(out, kind::I16, a, i16::to_le_bytes),
        Array::U32(a) => put(out, kind::U32, a, u32::to_le_bytes),
        Array::I32(a) => put(out, kind::I32, a, i32::to_le_bytes),
        Array::F32(a) => put(out, kind::F32, a, f32::to_le_bytes),
        Array::Bool(a) => put(out, kind::BOOL, a, |x| [u8::from(x)]),
        Array::U64(a) => put(out, kind::U64, a, u64::to_le_bytes),
        Array::I64(a) => put(out, kind::I64, a, i64::to_le_bytes),
        Array::F64(a) => put(out, kind::F64, a, f64::to_le_bytes),
        Array::Str(a) => {
            out.extend(kind::STR.to_le_bytes());
            out.extend((a.len() as u64).to_le_bytes());
            a.iter().for_each(|text| put_str(out, text));
        }
    }
}
