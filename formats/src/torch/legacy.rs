//! The form that PyTorch wrote before 1.6: five pickles one after another (a magic number, a version, the machine, the
//! object, the keys of its storages), then the elements of each storage behind their number.
//! Specification: `_legacy_save` of `torch/serialization.py`.

use super::contents::{Contents, memory};
use super::pickle::{self, Place, Span, Storage, Unpickled, Value, item};
use crate::error::{Error, Result};
use crate::mmap::Mapping;
use std::collections::HashMap;
use std::ops::Range;

/// The magic number, least byte first.
const MAGIC: &[u8] = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
/// Whatever the protocol, its pickle ends within so many bytes.
const LONGEST_MAGIC: usize = 40;
const VERSION: i64 = 1001;

/// Whether the file begins as this form does.
pub fn is_legacy(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(LONGEST_MAGIC)];
    head.starts_with(b"\x80") && head.windows(MAGIC.len()).any(|window| window == MAGIC)
}

/// Reads everything but the elements.
pub fn open(file: &Mapping) -> Result<Contents> {
    let mut at = 0;
    let error = |what: &str| Error::invalid(what).file(file.path());
    let (magic, bytes) = next(file, &mut at)?;
    if !matches!(magic.root, Value::Long(span) if bytes_of(bytes, span) == MAGIC) {
        return Err(error("this is not a file of PyTorch"));
    }
    let (version, _) = next(file, &mut at)?;
    if !matches!(version.root, Value::Int(VERSION)) {
        return Err(Error::unsupported("this version of PyTorch's files is not covered").file(file.path()));
    }
    let (machine, bytes) = next(file, &mut at)?;
    let order = machine.heap.dict(machine.root).and_then(|pairs| {
        let is_order =
            |key: &Value| matches!(key, Value::Text(span) if bytes_of(bytes, *span) == b"little_endian");
        pairs.iter().find(|(key, _)| is_order(key)).map(|(_, value)| *value)
    });
    if !matches!(order, Some(Value::Bool(true))) {
        return Err(Error::unsupported("the weights are in another byte order than this program reads")
            .file(file.path())
            .expected("little_endian to be true")
            .hint("load it in PyTorch on a machine of little byte order and save it again"));
    }
    let start = at;
    let (object, bytes) = next(file, &mut at)?;
    let pickle = start as u64..at as u64;
    let (keys, key_bytes) = next(file, &mut at)?;
    let mut known: HashMap<&[u8], &Storage> = HashMap::new();
    for storage in object.heap.storages() {
        known.insert(bytes_of(bytes, storage.key), storage);
    }
    let keys = keys.heap.items(keys.root).ok_or_else(|| error("the keys of the storages are no list"))?;
    let mut storages = HashMap::new();
    let mut at = at as u64;
    for key in keys {
        let key = match key {
            Value::Text(span) => bytes_of(key_bytes, *span),
            _ => return Err(error("the key of a storage is no text")),
        };
        let storage = known.remove(key).ok_or_else(|| {
            error("the file lists a storage that no tensor is of, or twice")
                .found(String::from_utf8_lossy(key))
        })?;
        let place = place(file, at, storage)?;
        at = place.end;
        storages.insert(String::from_utf8_lossy(key).into_owned(), place);
    }
    if at != file.bytes().len() as u64 {
        return Err(error("the file goes on after its last storage")
            .expected(format!("{at} bytes"))
            .found(format!("{} bytes", file.bytes().len())));
    }
    Ok(Contents { pickle, object, storages })
}

/// The elements of the storage whose number stands at `at`.
fn place(file: &Mapping, at: u64, storage: &Storage) -> Result<Range<u64>> {
    let start = at.saturating_add(8);
    let told = file.slice(at..start)?.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if told != storage.elements {
        return Err(Error::invalid("a storage has another number of elements than its tensors were told")
            .file(file.path())
            .offset(at)
            .expected(storage.elements)
            .found(told));
    }
    let length = storage.elements.saturating_mul(storage.dtype.map_or(1, item));
    let end = start.saturating_add(length);
    file.slice(start..end)?;
    Ok(start..end)
}

/// Reads the pickle at `at`, and moves behind it; also the bytes that its spans are of.
fn next<'a>(file: &'a Mapping, at: &mut usize) -> Result<(Unpickled, &'a [u8])> {
    let bytes = file.bytes().get(*at..).unwrap_or_default();
    let place = Place { file: file.path(), offset: *at as u64, memory: memory(file) };
    let unpickled = pickle::read(bytes, place)?;
    *at += unpickled.length;
    Ok((unpickled, bytes))
}

fn bytes_of(pickle: &[u8], span: Span) -> &[u8] {
    pickle.get(span.start as usize..span.end as usize).unwrap_or_default()
}
