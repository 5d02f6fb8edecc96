//! Plans a model as a GGUF file, or as several: the header, encoded, and the offset of every tensor. `crate::write`
//! does the rest.

use super::parts::Split;
use super::read::Header;
use super::value::{put_str, put_value};
use super::{MAGIC, MAX_DIMS, MAX_NAME, VERSION, alignment, pad, split};
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::mmap::Mapping;
use crate::model::Model;
use crate::tensor::Tensor;
use crate::twice;
use crate::write::{Held, Layout, Placed, Planned};
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
    match twice(tensors.iter().map(|t| t.name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Error::invalid("two tensors have this name").tensor(name)),
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

fn put_tensor(out: &mut Vec<u8>, t: &Tensor, offset: u64) -> Result<()> {
    if t.name.is_empty() || t.name.len() >= MAX_NAME {
        return Err(Error::invalid("a tensor name has a wrong length for GGUF")
            .tensor(&t.name)
            .expected(format!("1 to {} bytes", MAX_NAME - 1))
            .found(format!("{} bytes", t.name.len())));
    }
    if t.shape().ne().len() > MAX_DIMS {
        return Err(Error::unsupported("the tensor has too many dimensions for GGUF")
            .tensor(&t.name)
            .expected(format!("at most {MAX_DIMS}"))
            .found(t.shape())
            .hint("leave the tensor out, or write a safetensors type, which has no such limit"));
    }
    let id = t.dtype().traits().id.ok_or_else(|| {
        Error::unsupported(format!("GGUF has no dtype {}", t.dtype()))
            .tensor(&t.name)
            .hint("choose a --type that it can be converted to")
    })?;
    put_str(out, t.name.as_bytes());
    let ne = t.shape().ne();
    out.extend((ne.len() as u32).to_le_bytes());
    ne.iter().for_each(|n| out.extend(n.to_le_bytes()));
    out.extend(id.to_le_bytes());
    out.extend(offset.to_le_bytes());
    Ok(())
}
