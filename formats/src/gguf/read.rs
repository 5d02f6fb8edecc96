//! Reads the header of a GGUF file. Parsing is validation: every count and length is held against the bytes
//! that remain before anything is allocated, and tensors must lie exactly where the padded running sum puts them.

use super::{MAGIC, MAX_DIMS, MAX_LENGTH, MAX_NAME, alignment, kind, pad};
use crate::error::{Error, Result};
use crate::metadata::{Array, Metadata, Value};
use crate::quant::DType;
use crate::shape::Shape;
use crate::source::Container;
use bstr::BString;
use byteorder::{ByteOrder, LE};
use std::collections::HashSet;
use std::fmt;
use std::path::Path;

/// The fewest bytes that a key-value pair can take: key length, one byte of key, type, one byte of value.
const LEAST_PAIR: u64 = 8 + 1 + 4 + 1;
/// The fewest bytes that a tensor description can take: name length, dimensions, type, offset.
const LEAST_TENSOR: u64 = 8 + 4 + 4 + 8;

/// Of a file that lies elsewhere so much is read first, then four times as much, up to the longest header.
const FIRST_PART: u64 = 1 << 20;
const MOST_HEADER: u64 = 1 << 28;

/// One tensor as the header describes it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub shape: Shape,
    pub dtype: DType,
    /// Where its data starts, counted from `Header::data_offset`.
    pub offset: u64,
    /// Bytes of its data, without padding.
    pub bytes: u64,
}

/// A checked header.
#[derive(Clone, Debug)]
pub struct Header {
    pub version: u32,
    pub alignment: u64,
    pub metadata: Metadata,
    pub tensors: Vec<Entry>,
    /// Where the tensors' data starts in the file.
    pub data_offset: u64,
}

impl Header {
    /// Checks and parses the header of `file`, all of whose bytes are given.
    pub fn parse(file: &[u8], path: &Path) -> Result<Header> {
        let mut cursor = Cursor { file, at: 0, length: file.len(), wants_more: false };
        parse(&mut cursor).map_err(|e| e.file(path))
    }

    /// Checks and parses the header of `file`, of which no more is read than it takes.
    pub fn of(file: &Container) -> Result<Header> {
        if let Some(here) = file.mapping() {
            return Header::parse(here.bytes(), here.path());
        }
        let length = usize::try_from(file.length());
        let length = length.map_err(|_| Error::unsupported("the file is too long").file(file.path()))?;
        let mut part = FIRST_PART;
        loop {
            let start = file.start(part)?;
            let mut cursor = Cursor { file: &start, at: 0, length, wants_more: false };
            match parse(&mut cursor) {
                Err(_) if cursor.wants_more && part < MOST_HEADER => part *= 4,
                parsed => return parsed.map_err(|e| e.file(file.path())),
            }
        }
    }
}

fn parse(c: &mut Cursor<'_>) -> Result<Header> {
    let version = magic_and_version(c)?;
    let tensor_count = c.count("the number of tensors", LEAST_TENSOR)?;
    let pair_count = c.count("the number of key-value pairs", LEAST_PAIR)?;
    // Both counts were held against the same bytes; together they must fit as well.
    if (tensor_count * LEAST_TENSOR).saturating_add(pair_count * LEAST_PAIR) > c.remaining() {
        return Err(Error::invalid("the header promises more entries than the file has room for")
            .found(format!("{tensor_count} tensors and {pair_count} key-value pairs"))
            .hint("the file is truncated or damaged: copy or download it again"));
    }
    let metadata = metadata(c, pair_count)?;
    let alignment = alignment(&metadata)?;
    let mut tensors = Vec::new();
    let mut names = HashSet::new();
    let mut end = 0;
    for _ in 0..tensor_count {
        let (name, entry) = tensor(c, end)?;
        if !names.insert(name) {
            return Err(Error::invalid("two tensors have this name").tensor(&entry.name));
        }
        end = entry.offset.checked_add(entry.bytes).and_then(|n| pad(n, alignment)).ok_or_else(|| {
            Error::invalid("the tensors are larger than any file can be").tensor(&entry.name)
        })?;
        tensors.push(entry);
    }
    let data_offset = pad(c.at as u64, alignment).ok_or_else(|| Error::invalid("the header is too long"))?;
    for t in &tensors {
        data_inside_file(t, data_offset, c.length as u64)?;
    }
    Ok(Header { version, alignment, metadata, tensors, data_offset })
}

fn magic_and_version(c: &mut Cursor<'_>) -> Result<u32> {
    let magic = c.take(4, "the magic")?;
    if magic != MAGIC {
        return Err(Error::invalid("this is not a GGUF file")
            .offset(0)
            .expected("the magic \"GGUF\"")
            .found(format!("{:?}", bstr::BStr::new(magic))));
    }
    let version = c.u32("the version")?;
    match version {
        2 | 3 => Ok(version),
        v if v & 0xffff == 0 && v != 0 => Err(Error::unsupported("this GGUF file is big-endian")
            .found(format!("version {}", v.swap_bytes()))
            .hint("convert it with llama.cpp's gguf-convert-endian first")),
        v => Err(Error::unsupported("this GGUF version cannot be read")
            .expected("version 2 or 3")
            .found(format!("version {v}"))
            .hint("convert the original checkpoint again with a current converter")),
    }
}

fn metadata(c: &mut Cursor<'_>, count: u64) -> Result<Metadata> {
    let mut metadata = Metadata::new();
    let mut keys = HashSet::new();
    for _ in 0..count {
        let at = c.at as u64;
        let key = std::str::from_utf8(c.string("a key")?)
            .map_err(|_| Error::invalid("a metadata key is not UTF-8").offset(at))?;
        if key.is_empty() {
            return Err(Error::invalid("a metadata key is empty").offset(at));
        }
        if !keys.insert(key) {
            return Err(Error::invalid(format!("the metadata key '{key}' stands there twice")).offset(at));
        }
        let kind = c.u32("a value type")?;
        let value = value(c, kind, key)?;
        metadata.push(key.to_string(), value);
    }
    Ok(metadata)
}

fn value(c: &mut Cursor<'_>, kind: u32, key: &str) -> Result<Value> {
    let what = "a metadata value";
    Ok(match kind {
        kind::U8 => Value::U8(c.take(1, what)?[0]),
        kind::I8 => Value::I8(c.take(1, what)?[0] as i8),
        kind::U16 => Value::U16(LE::read_u16(c.take(2, what)?)),
        kind::I16 => Value::I16(LE::read_i16(c.take(2, what)?)),
        kind::U32 => Value::U32(LE::read_u32(c.take(4, what)?)),
        kind::I32 => Value::I32(LE::read_i32(c.take(4, what)?)),
        kind::F32 => Value::F32(LE::read_f32(c.take(4, what)?)),
        kind::BOOL => Value::Bool(boolean(c.take(1, what)?[0], key)?),
        kind::STR => Value::Str(c.string(what)?.into()),
        kind::U64 => Value::U64(LE::read_u64(c.take(8, what)?)),
        kind::I64 => Value::I64(LE::read_i64(c.take(8, what)?)),
        kind::F64 => Value::F64(LE::read_f64(c.take(8, what)?)),
        kind::ARRAY => Value::Array(array(c, key)?),
        other => {
            return Err(Error::invalid(format!("the metadata key '{key}' has an unknown value type"))
                .offset(c.at as u64)
                .expected("0 to 12")
                .found(other));
        }
    })
}

fn array(c: &mut Cursor<'_>, key: &str) -> Result<Array> {
    let kind = c.u32("an array's element type")?;
    // Strings have a length each, so eight bytes is the least an element can take.
    let least = match kind {
        kind::U8 | kind::I8 | kind::BOOL => 1,
        kind::U16 | kind::I16 => 2,
        kind::U32 | kind::I32 | kind::F32 => 4,
        kind::STR | kind::U64 | kind::I64 | kind::F64 => 8,
        kind::ARRAY => {
            return Err(Error::invalid(format!("the metadata key '{key}' holds an array of arrays"))
                .offset(c.at as u64)
                .hint("GGUF readers refuse nested arrays: write the file again without this key"));
        }
        other => {
            return Err(Error::invalid(format!("the array '{key}' has an unknown element type"))
                .offset(c.at as u64)
                .expected("0 to 12")
                .found(other));
        }
    };
    let n = c.count(format_args!("the length of the array '{key}'"), least)?;
    if kind == kind::STR {
        // Each takes eight bytes of the file at least, so this is at most three times what the file takes.
        let most = (c.file.len() / 8) as u64;
        let mut strings = Vec::with_capacity(usize::try_from(n.min(most)).unwrap_or(0));
        for _ in 0..n {
            strings.push(BString::from(c.string("an array's string")?));
        }
        return Ok(Array::Str(strings));
    }
    let bytes = c.take(n * least, "an array")?;
    Ok(match kind {
        kind::U8 => Array::U8(bytes.to_vec()),
        kind::I8 => Array::I8(bytes.iter().map(|b| *b as i8).collect()),
        kind::U16 => Array::U16(bytes.chunks_exact(2).map(LE::read_u16).collect()),
        kind::I16 => Array::I16(bytes.chunks_exact(2).map(LE::read_i16).collect()),
        kind::U32 => Array::U32(bytes.chunks_exact(4).map(LE::read_u32).collect()),
        kind::I32 => Array::I32(bytes.chunks_exact(4).map(LE::read_i32).collect()),
        kind::F32 => Array::F32(bytes.chunks_exact(4).map(LE::read_f32).collect()),
        kind::BOOL => Array::Bool(bytes.iter().map(|b| boolean(*b, key)).collect::<Result<_>>()?),
        kind::U64 => Array::U64(bytes.chunks_exact(8).map(LE::read_u64).collect()),
        kind::I64 => Array::I64(bytes.chunks_exact(8).map(LE::read_i64).collect()),
        _ => Array::F64(bytes.chunks_exact(8).map(LE::read_f64).collect()),
    })
}

fn boolean(byte: u8, key: &str) -> Result<bool> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Error::invalid(format!(
            "the metadata key '{key}' holds a bool that is neither true nor false"
        ))
        .expected("0 or 1")
        .found(other)),
    }
}

/// Reads one tensor description, whose data must start at `due`.
fn tensor<'a>(c: &mut Cursor<'a>, due: u64) -> Result<(&'a str, Entry)> {
    let at = c.at as u64;
    let name = std::str::from_utf8(c.string("a tensor name")?)
        .map_err(|_| Error::invalid("a tensor name is not UTF-8").offset(at))?;
    if name.is_empty() || name.len() >= MAX_NAME {
        return Err(Error::invalid("a tensor name has a wrong length")
            .tensor(name)
            .offset(at)
            .expected(format!("1 to {} bytes", MAX_NAME - 1))
            .found(format!("{} bytes", name.len())));
    }
    Ok((name, describe(c, name, due).map_err(|e| e.tensor(name))?))
}

fn describe(c: &mut Cursor<'_>, name: &str, due: u64) -> Result<Entry> {
    let at = c.at as u64;
    let dims = c.u32("the number of dimensions")?;
    if dims as usize > MAX_DIMS {
        return Err(Error::invalid("the tensor has too many dimensions")
            .offset(at)
            .expected(format!("at most {MAX_DIMS}"))
            .found(dims));
    }
    let mut ne = [1u64; MAX_DIMS];
    for n in ne.iter_mut().take(dims as usize) {
        *n = c.u64("a dimension")?;
        if i64::try_from(*n).is_err() {
            return Err(Error::invalid("a dimension is negative").offset(at).found(*n as i64));
        }
    }
    let shape = Shape::new(&ne[..dims as usize]).ok_or_else(|| {
        Error::invalid("the number of elements overflows").offset(at).found(format!("{ne:?}"))
    })?;
    let id = c.u32("the dtype")?;
    let dtype = DType::from_id(id).ok_or_else(|| {
        Error::invalid("the tensor has an unknown dtype").offset(at).found(format!("type {id}"))
    })?;
    if !shape.row().is_multiple_of(dtype.block() as u64) {
        return Err(Error::invalid(format!("a row does not fill whole blocks of {dtype}"))
            .offset(at)
            .expected(format!("a multiple of {}", dtype.block()))
            .found(shape.row()));
    }
    let bytes = dtype.row_bytes(shape.row()).and_then(|row| row.checked_mul(shape.rows()));
    let bytes = bytes.ok_or_else(|| {
        Error::invalid("the number of bytes overflows").offset(at).found(format!("{shape}"))
    })?;
    let offset = c.u64("the data offset")?;
    if offset != due {
        return Err(Error::invalid("the tensor's data is not where the one before it ends")
            .offset(at)
            .expected(format!("offset {due}"))
            .found(format!("offset {offset}")));
    }
    Ok(Entry { name: name.to_string(), shape, dtype, offset, bytes })
}

fn data_inside_file(t: &Entry, data_offset: u64, len: u64) -> Result<()> {
    match data_offset.checked_add(t.offset).and_then(|n| n.checked_add(t.bytes)) {
        Some(end) if end <= len => Ok(()),
        end => Err(Error::invalid("the tensor's data runs past the end of the file")
            .tensor(&t.name)
            .expected(
                end.map_or(String::from("more bytes than can be counted"), |n| format!("at least {n} bytes")),
            )
            .found(format!("{len} bytes"))
            .hint("the file is truncated: copy or download it again")),
    }
}

/// The length of what is called so, put into words only where it is wrong.
struct LengthOf<'a>(&'a str);

impl fmt::Display for LengthOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the length of {}", self.0)
    }
}

/// A place in the file; every read is held against what remains.
struct Cursor<'a> {
    /// The file, or its first bytes.
    file: &'a [u8],
    at: usize,
    /// Bytes of the file.
    length: usize,
    /// Whether something lies beyond the bytes that are here.
    wants_more: bool,
}

impl<'a> Cursor<'a> {
    fn remaining(&self) -> u64 {
        (self.length - self.at) as u64
    }

    fn take(&mut self, n: u64, what: impl fmt::Display) -> Result<&'a [u8]> {
        let end = usize::try_from(n).ok().and_then(|n| self.at.checked_add(n));
        match end.and_then(|end| self.file.get(self.at..end)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => {
                self.wants_more = end.is_some_and(|end| end <= self.length);
                Err(Error::invalid(format!("the file ends within {what}"))
                    .offset(self.at as u64)
                    .expected(format!("{n} more bytes"))
                    .found(self.remaining())
                    .hint("the file is truncated or damaged: copy or download it again"))
            }
        }
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        self.take(4, what).map(LE::read_u32)
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        self.take(8, what).map(LE::read_u64)
    }

    /// A number of things that each take at least `least` bytes of what remains.
    fn count(&mut self, what: impl fmt::Display, least: u64) -> Result<u64> {
        let at = self.at as u64;
        let n = self.take(8, &what).map(LE::read_u64)?;
        if n > MAX_LENGTH || n.checked_mul(least).is_none_or(|bytes| bytes > self.remaining()) {
            return Err(Error::invalid(format!("{what} is more than the file has room for"))
                .offset(at)
                .expected(format!("at most {}", MAX_LENGTH.min(self.remaining() / least)))
                .found(n)
                .hint("the file is truncated or damaged: copy or download it again"));
        }
        Ok(n)
    }

    fn string(&mut self, what: &str) -> Result<&'a [u8]> {
        let n = self.count(LengthOf(what), 1)?;
        self.take(n, what)
    }
}
