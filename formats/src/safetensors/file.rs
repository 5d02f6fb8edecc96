//! One safetensors file: eight bytes of header length, a JSON header, the data.
//! Specification: the `safetensors` crate's README ("Format").

use crate::error::{Error, Result};
use crate::mmap::Mapping;
use crate::model::Checkpoint;
use crate::quant::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::twice;
use safetensors::{Dtype, SafeTensors};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::path::Path;

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

/// Reads the tensors of `path`, in the order of their data; `into` takes note of the file.
pub(super) fn read(path: &Path, into: &mut Checkpoint) -> Result<Vec<Tensor>> {
    let file = Mapping::open(path)?;
    into.reads.add(file.stamp().clone());
    let parts = parts(&file)?;
    let build = |p: Part| {
        let tensor = Tensor::mapped(&p.name, p.shape, p.dtype, &file, p.offset);
        tensor.map_err(|e| e.tensor(&p.name).file(path))
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
pub(super) fn parts(file: &Mapping) -> Result<Vec<Part>> {
    let path = file.path();
    let (length, metadata) = SafeTensors::read_metadata(file.bytes()).map_err(|e| refused(&e, file))?;
    let header = file.slice(8..8 + length as u64)?;
    let keys: Keys = serde_json::from_slice(header)
        .map_err(|e| Error::invalid(format!("the safetensors header is not valid JSON: {e}")).file(path))?;
    if let Some(name) = twice(keys.0.iter().map(String::as_str)) {
        return Err(Error::invalid("the safetensors header names this tensor twice").file(path).tensor(name));
    }
    let start = 8 + length as u64;
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

/// The length in bytes of the header of `file`, with its own length in front.
pub fn header(file: &Mapping) -> Result<u64> {
    let (length, _) = SafeTensors::read_metadata(file.bytes()).map_err(|e| refused(&e, file))?;
    Ok(8 + length as u64)
}

fn refused(e: &safetensors::SafeTensorError, file: &Mapping) -> Error {
    let error = Error::invalid(format!("the safetensors file is malformed: {e}"))
        .file(file.path())
        .found(format!("{} bytes", file.bytes().len()));
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
