//! Plans a Hugging Face directory: one `model.safetensors`, or shards and their index, and the files that lie
//! beside them. Every byte but the weights is made here; `crate::write` does the rest.
//! Specification: the `safetensors` crate's README ("Format"); `save_pretrained` of transformers for names and shards.

use super::file::{self, DTYPES};
use crate::error::{Error, Result};
use crate::mmap::Mapping;
use crate::source::Container;
use crate::tensor::Tensor;
use crate::twice;
use crate::usual::SAFETENSORS;
use crate::write::{Held, Layout, Placed, Planned};
use safetensors::tensor::TensorView;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The most bytes of weights in one file, as Hugging Face's hub advises; a larger tensor has a file of its own.
pub const SHARD: u64 = 5_000_000_000;

/// The longest header that readers accept.
const MAX_HEADER: usize = 100_000_000;

/// A tensor under the name that it has in the directory.
pub struct Named {
    pub name: String,
    pub tensor: Tensor,
}

/// What a directory is to hold.
pub struct Directory {
    pub tensors: Vec<Named>,
    /// `__metadata__` of every header, beside the `format` that loaders ask for.
    pub metadata: Vec<(String, String)>,
    /// Name and content of the files beside the weights.
    pub files: Vec<(String, Vec<u8>)>,
    /// The most bytes of weights in one file.
    pub shard: u64,
}

/// A whole file of these few tensors under these names.
///
/// # Errors
/// A dtype that safetensors does not have, or those of reading.
pub fn bytes(tensors: &[(&str, &Tensor)]) -> Result<Vec<u8>> {
    let invalid = |e: safetensors::SafeTensorError, name: &str| Error::invalid(e.to_string()).tensor(name);
    let mut held = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let unknown =
            || Error::unsupported("safetensors has no such dtype").tensor(name).found(tensor.dtype());
        let (dtype, _) = DTYPES.iter().find(|(_, own)| *own == tensor.dtype()).ok_or_else(unknown)?;
        let word = |n: u64| usize::try_from(n).map_err(|_| unknown());
        let shape = tensor.shape().ne().iter().rev().map(|n| word(*n)).collect::<Result<Vec<_>>>()?;
        let mut bytes = vec![0; word(tensor.bytes())?];
        tensor.read(0..word(tensor.shape().rows())?, &mut bytes)?;
        held.push((*name, *dtype, shape, bytes));
    }
    let views = held.iter().map(|(name, dtype, shape, bytes)| {
        TensorView::new(*dtype, shape.clone(), bytes).map(|view| (*name, view)).map_err(|e| invalid(e, name))
    });
    let told = Some([(String::from("format"), String::from("pt"))].into());
    safetensors::serialize(views.collect::<Result<Vec<_>>>()?, told).map_err(|e| invalid(e, ""))
}

/// Plans `directory` as `path`; touches no weight.
pub fn plan<'a>(directory: &'a Directory, path: &Path) -> Result<Layout<'a>> {
    if let Some(name) = twice(directory.tensors.iter().map(|t| t.name.as_str())) {
        return Err(Error::invalid("two tensors have this name").tensor(name));
    }
    let shards = shards(&directory.tensors, directory.shard)?;
    let shard_name = |i: usize| match shards.len() {
        1 => SAFETENSORS.single.to_string(),
        n => format!("model-{:05}-of-{n:05}.safetensors", i + 1),
    };
    let mut files = Vec::new();
    let mut tensors: Vec<Placed<'_>> = Vec::with_capacity(directory.tensors.len());
    let mut weight_map = BTreeMap::new();
    for (i, shard) in shards.iter().enumerate() {
        let (head, offsets, total) = header(shard, &directory.metadata)?;
        for (t, offset) in shard.iter().zip(offsets) {
            tensors.push(Placed { tensor: &t.tensor, name: &t.name, file: i, offset });
            weight_map.insert(t.name.clone(), Value::from(shard_name(i)));
        }
        files.push(Planned { name: shard_name(i), head, total, read: Some(held) });
    }
    if shards.len() > 1 {
        let size: u64 = directory.tensors.iter().map(|t| t.tensor.bytes()).sum();
        let map: Map<String, Value> = weight_map.into_iter().collect();
        let index = json!({ "metadata": { "total_size": size }, "weight_map": map });
        files.push(beside(SAFETENSORS.index, format!("{index:#}\n").into_bytes()));
    }
    files.extend(directory.files.iter().map(|(name, content)| beside(name, content.clone())));
    Ok(Layout {
        target: path.to_path_buf(),
        is_directory: true,
        files,
        tensors,
        metadata: None,
        told: Vec::new(),
    })
}

/// A file without tensors.
fn beside(name: &str, content: Vec<u8>) -> Planned {
    Planned { name: name.to_string(), total: content.len() as u64, head: content, read: None }
}

/// The tensors of each file: in their order, and a new file where the next tensor would exceed `limit`.
fn shards(tensors: &[Named], limit: u64) -> Result<Vec<Vec<&Named>>> {
    let mut shards: Vec<Vec<&Named>> = vec![Vec::new()];
    let mut size: u64 = 0;
    for t in tensors {
        let bytes = t.tensor.bytes();
        size = size
            .checked_add(bytes)
            .ok_or_else(|| Error::invalid("the tensors are larger than any file can be").tensor(&t.name))?;
        match shards.last_mut() {
            Some(shard) if size <= limit || shard.is_empty() => shard.push(t),
            _ => {
                shards.push(vec![t]);
                size = bytes;
            }
        }
    }
    Ok(shards)
}

/// The header of one file, where each of its tensors starts, and the length of the file. Wide dtypes come first,
/// so that all data is aligned.
fn header(shard: &[&Named], metadata: &[(String, String)]) -> Result<(Vec<u8>, Vec<u64>, u64)> {
    let mut order: Vec<usize> = (0..shard.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(shard[*i].tensor.dtype().traits().bytes));
    let mut object = Map::new();
    let told = metadata.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    let told: Map<String, Value> =
        [("format".to_string(), Value::from("pt"))].into_iter().chain(told).collect();
    object.insert("__metadata__".into(), Value::Object(told));
    let (mut offsets, mut end) = (vec![0; shard.len()], 0u64);
    for i in order {
        let Named { name, tensor } = shard[i];
        let start = end;
        end = start
            .checked_add(tensor.bytes())
            .ok_or_else(|| Error::invalid("the tensors are larger than any file can be").tensor(name))?;
        // safetensors lists the longest stride first, ggml the row length.
        let shape: Vec<u64> = tensor.shape().ne().iter().rev().copied().collect();
        let entry = json!({ "dtype": dtype(name, tensor)?, "shape": shape, "data_offsets": [start, end] });
        object.insert(name.clone(), entry);
        offsets[i] = start;
    }
    let mut text = Value::Object(object).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    if text.len() > MAX_HEADER {
        return Err(Error::unsupported("the safetensors header is longer than readers accept")
            .expected(format!("at most {MAX_HEADER} bytes"))
            .found(text.len()));
    }
    let mut head = (text.len() as u64).to_le_bytes().to_vec();
    head.extend(text);
    let start = head.len() as u64;
    let total = start.checked_add(end);
    let total = total.ok_or_else(|| Error::invalid("the tensors are larger than any file can be"))?;
    offsets.iter_mut().for_each(|o| *o += start);
    Ok((head, offsets, total))
}

/// What safetensors calls the dtype of `tensor`.
fn dtype(name: &str, tensor: &Tensor) -> Result<String> {
    let found = DTYPES.iter().find(|(_, ours)| *ours == tensor.dtype());
    found.map(|(theirs, _)| theirs.to_string()).ok_or_else(|| {
        Error::unsupported(format!("safetensors has no dtype {}", tensor.dtype()))
            .tensor(name)
            .hint("choose --type safetensors-bf16, -f16 or -f32")
    })
}

/// What the strict reader finds in a finished file.
fn held(file: &Mapping) -> Result<Vec<Held>> {
    let parts = file::parts(&Container::Mapped(file.clone()))?;
    Ok(parts.iter().map(|p| Held::new(&p.name, &p.shape, p.dtype, p.offset)).collect())
}
