//! One safetensors file: eight bytes of header length, a JSON header, the data.
//! Specification: the `safetensors` crate's README ("Format").

use crate::error::{Error, Result};
use crate::model::Checkpoint;
use crate::quant::DType;
use crate::shape::Shape;
use crate::source::Container;
use crate::tensor::Tensor;
use crate::twice;
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensorError};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::HashMap;

/// The longest header that the crate reads.
const MOST_HEADER: u64 = 100_000_000;

/// The dtypes of both worlds.
pub(super) const DTYPES: &[(Dtype, DType)] = &[
    (Dtype::F64, DType::F64),
    (Dtype::F32, DType::F32),
    (Dtype::F16, DType::F16),
    (Dtype::BF16, DType::BF16),
    (Dtype::F8_E4M3, DType::F8E4M3),
    (Dtype::F8_E5M2, DType::F8E5M2),
    (Dtype::F8_E8M0, DType::F8E8M0),
    (Dtype::BOOL, DType::Bool),
    (Dtype::I8, DType::I8),
    (Dtype::I16, DType::I16),
    (Dtype::I32, DType::I32),
    (Dtype::I64, DType::I64),
    (Dtype::U8, DType::U8),
    (Dtype::U16, DType::U16),
    (Dtype::U32, DType::U32),
    (Dtype::U64, DType::U64),
];

/// Reads the tensors of `file`, in the order of their data.
pub(super) fn read(file: &Container, _into: &mut Checkpoint) -> Result<Vec<Tensor>> {
    let parts = parts(file)?;
    let build = |p: Part| {
        let tensor = file.tensor(&p.name, p.shape, p.dtype, p.offset);
        tensor.map_err(|e| e.tensor(&p.name).file(file.path()))
    };
    parts.into_iter().map(build).collect()
}

/// A tensor as the header describes it.
pub(super) struct Part {
    pub name: String,
    pub shape: Shape,
    pub dtype: DType,
    /// Where its data starts in the file.
    pub offset: u64,
}

/// Checks and reads the header of `file`; the tensors in the order of their data.
pub(super) fn parts(file: &Container) -> Result<Vec<Part>> {
    let path = file.path();
    let (length, metadata) = described(file)?;
    let head = file.start(length)?;
    let keys: Keys = serde_json::from_slice(head.get(8..).unwrap_or_default())
        .map_err(|e| Error::invalid(format!("the safetensors header is not valid JSON: {e}")).file(path))?;
    if let Some(name) = twice(keys.0.iter().map(String::as_str)) {
        return Err(Error::invalid("the safetensors header names this tensor twice").file(path).tensor(name));
    }
    let start = length;
    let mut parts = Vec::with_capacity(keys.0.len());
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let offset = start + info.data_offsets.0 as u64;
        let (shape, dtype) =
            shape_and_dtype(info.dtype, &info.shape).map_err(|e| e.tensor(&name).file(path))?;
        parts.push(Part { name, shape, dtype, offset });
    }
    Ok(parts)
}

/// What the header of `file` says beside the tensors (`__metadata__`); of a file of another format nothing.
///
/// # Errors
/// The header is damaged.
pub fn told(file: &Container) -> Result<HashMap<String, String>> {
    if file.path().extension().is_none_or(|e| e != "safetensors") {
        return Ok(HashMap::new());
    }
    Ok(described(file)?.1.metadata().clone().unwrap_or_default())
}

/// The length in bytes of the header of `file`, with its own length in front.
pub fn header(file: &Container) -> Result<u64> {
    described(file).map(|(length, _)| length)
}

/// The header of `file`, which the crate checks as it reads it, and its length with its own length in front. As the
/// crate's `read_metadata`, which wants all bytes of the file.
fn described(file: &Container) -> Result<(u64, Metadata)> {
    use SafeTensorError as Refused;
    let refuse = |e: Refused| refused(&e, file);
    let start = file.start(8)?;
    let length = start.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let length = length.ok_or_else(|| refuse(Refused::HeaderTooSmall))?;
    if length > MOST_HEADER {
        return Err(refuse(Refused::HeaderTooLarge));
    }
    let all = 8 + length;
    if all > file.length() {
        return Err(refuse(Refused::InvalidHeaderLength));
    }
    let head = file.start(all)?;
    let text = std::str::from_utf8(head.get(8..).unwrap_or_default())
        .map_err(|e| refuse(Refused::InvalidHeader(e)))?;
    let metadata: Metadata =
        serde_json::from_str(text).map_err(|e| refuse(Refused::InvalidHeaderDeserialization(e)))?;
    match all.checked_add(metadata.data_len() as u64) {
        Some(end) if end == file.length() => Ok((all, metadata)),
        _ => Err(refuse(Refused::MetadataIncompleteBuffer)),
    }
}

fn refused(e: &SafeTensorError, file: &Container) -> Error {
    let error = Error::invalid(format!("the safetensors file is malformed: {e}"))
        .file(file.path())
        .found(format!("{} bytes", file.length()));
    error.hint("the file is truncated or damaged: copy or download it again")
}

fn shape_and_dtype(dtype: Dtype, shape: &[usize]) -> Result<(Shape, DType)> {
    let dtype = DTYPES
        .iter()
        .find(|(theirs, _)| *theirs == dtype)
        .map(|(_, ours)| *ours)
        .ok_or_else(|| Error::unsupported(format!("the safetensors dtype {dtype:?} is not covered")))?;
    // safetensors lists the longest stride first, ggml the row length.
    let ne: Vec<u64> = shape.iter().rev().map(|n| *n as u64).collect();
    let shape = Shape::new(&ne).ok_or_else(|| {
        Error::unsupported("the tensor has too many dimensions or elements")
            .expected(format!("at most {} dimensions", Shape::MAX_DIMS))
            .found(format!("{shape:?}"))
    })?;
    Ok((shape, dtype))
}

/// The keys of a JSON object, with duplicates.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Keys, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Keys;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Names)
    }
}
