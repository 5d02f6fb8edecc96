//! Importance matrices: how much each column of a weight matters, measured as the mean square of what it is
//! multiplied by. `open` reads both forms, GGUF and the older `.dat`, and believes neither: every count, width and
//! value is checked, and nothing may be missing or left over. `model` makes the GGUF form of what was measured.
//! Specification: llama.cpp v0.5.0, `tools/imatrix` and what `tools/quantize` reads of its files.

use crate::error::{Error, Result};
use crate::gguf::{self, Header};
use crate::metadata::Array;
use crate::mmap::Mapping;
use crate::model::Model;
use crate::quant::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;
use byteorder::{ByteOrder, LE};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The measured importance of a model's weights.
#[derive(Clone, Debug)]
pub struct Imatrix {
    /// Tensor name -> importance weights, one a column of each of its matrices: `ne0 * ne2`.
    pub entries: BTreeMap<String, Arc<[f32]>>,
    /// The text that it was measured on, the first if there are several.
    pub dataset: Option<String>,
    /// How many chunks of it were read.
    pub chunks: Option<u32>,
    /// Tensors of the file that are no part of an entry.
    pub ignored: Vec<String>,
}

/// What was measured of a weight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    /// The width of each of its matrices.
    pub columns: usize,
    /// Sums of squares, one a column of each matrix.
    pub sums: Vec<f32>,
    /// How many rows each matrix has seen; or one number for all of them, which then count as one wide matrix.
    pub counts: Vec<u64>,
}

/// What was measured by `chunks` pieces of `chunk` tokens of `dataset`, as a model without an architecture, in the
/// form of llama-imatrix: for each weight its sums and counts, in the order of the names.
///
/// # Errors
/// The sums of a weight do not fill its counts.
pub fn model(entries: &BTreeMap<String, Sums>, dataset: &str, chunks: u32, chunk: u32) -> Result<Model> {
    let mut model = Model::default();
    model.metadata.set("general.type", "imatrix");
    model.metadata.set(DATASETS, vec![dataset.to_string()]);
    model.metadata.set(CHUNK_COUNT, chunks);
    model.metadata.set(CHUNK_SIZE, chunk);
    for (name, Sums { sums, counts, .. }) in entries {
        let matrices = counts.len().max(1);
        let tensor = |ending: &str, values: &[f32]| {
            let both = [(values.len() / matrices) as u64, matrices as u64];
            // Of one matrix a row, as ggml tells a shape.
            let shape = Shape::new(&both[..if matrices > 1 { 2 } else { 1 }]);
            let shape = shape.ok_or_else(|| Error::invalid("a weight is too large").tensor(name))?;
            Tensor::in_memory(&format!("{name}{ending}"), shape, values)
        };
        let counts: Vec<f32> = counts.iter().map(|n| *n as f32).collect();
        model.tensors.extend([tensor(SUMS, sums)?, tensor(COUNTS, &counts)?]);
    }
    Ok(model)
}

/// Reads an importance matrix of either form.
///
/// # Errors
/// The file is neither form, cut short or too long; an entry is incomplete, stands there twice, or holds a value
/// that is negative or not finite.
pub fn open(path: &Path) -> Result<Imatrix> {
    let file = Mapping::open(path)?;
    let imatrix = if file.bytes().starts_with(&gguf::MAGIC) { modern(&file) } else { legacy(file.bytes()) };
    imatrix.and_then(not_empty).map_err(|e| e.file(path))
}

fn not_empty(imatrix: Imatrix) -> Result<Imatrix> {
    if imatrix.entries.is_empty() {
        return Err(Error::invalid("the importance matrix has no entries").hint("measure it again"));
    }
    Ok(imatrix)
}

const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";
const DATASETS: &str = "imatrix.datasets";
const CHUNK_COUNT: &str = "imatrix.chunk_count";
const CHUNK_SIZE: &str = "imatrix.chunk_size";

/// The GGUF form: for each weight NAME a tensor `NAME.in_sum2` of sums of squares, a row a matrix, and `NAME.counts`
/// with the number of tokens that each matrix has seen.
fn modern(file: &Mapping) -> Result<Imatrix> {
    let header = Header::parse(file.bytes(), file.path())?;
    let (dataset, chunks) = provenance(&header)?;
    exact_length(&header, file)?;
    let mut sums = BTreeMap::new();
    let mut counts = BTreeMap::new();
    let mut ignored = Vec::new();
    for t in &header.tensors {
        let tensor = Tensor::mapped(&t.name, t.shape, t.dtype, file, header.data_offset + t.offset)?;
        if let Some(name) = t.name.strip_suffix(SUMS) {
            sums.insert(name.to_string(), tensor);
        } else if let Some(name) = t.name.strip_suffix(COUNTS) {
            counts.insert(name.to_string(), tensor);
        } else {
            ignored.push(t.name.clone());
        }
    }
    let mut entries = BTreeMap::new();
    for (name, sums) in sums {
        let counts = counts.remove(&name).ok_or_else(|| half(&name, SUMS, COUNTS))?;
        entries.insert(name, means(&sums, &counts)?);
    }
    match counts.into_keys().next() {
        Some(name) => Err(half(&name, COUNTS, SUMS)),
        None => Ok(Imatrix { entries, dataset, chunks: Some(chunks), ignored }),
    }
}

fn half(name: &str, found: &str, missing: &str) -> Error {
    Error::invalid("an entry of the importance matrix is incomplete")
        .tensor(name)
        .expected(format!("'{name}{missing}'"))
        .found(format!("'{name}{found}' alone"))
        .hint("measure it again")
}

/// The first dataset and the number of chunks.
fn provenance(header: &Header) -> Result<(Option<String>, u32)> {
    let metadata = &header.metadata;
    let missing = |key: &str, what: &str| {
        Error::invalid(format!("this is no importance matrix: the metadata key '{key}' is unusable"))
            .expected(what)
            .found(
                metadata
                    .get(key)
                    .map_or(String::from("no such key"), |v| format!("{v:?}").chars().take(60).collect()),
            )
            .hint("give a file that llama-imatrix wrote")
    };
    if metadata.get("general.type").is_some() && metadata.str("general.type") != Some("imatrix") {
        return Err(missing("general.type", "\"imatrix\""));
    }
    let number = |key: &str| {
        let number = metadata.u64(key).and_then(|n| u32::try_from(n).ok());
        number.ok_or_else(|| missing(key, "a number"))
    };
    let Some(Array::Str(datasets)) = metadata.get(DATASETS).and_then(|v| v.as_array()) else {
        return Err(missing(DATASETS, "an array of strings"));
    };
    number(CHUNK_SIZE)?;
    Ok((datasets.first().map(ToString::to_string), number(CHUNK_COUNT)?))
}

/// Nothing may be missing or left over after the last tensor and its padding.
fn exact_length(header: &Header, file: &Mapping) -> Result<()> {
    let end = header.tensors.last().and_then(|t| t.offset.checked_add(t.bytes)).unwrap_or(0);
    let due = header.data_offset.checked_add(end.next_multiple_of(header.alignment));
    let found = file.bytes().len() as u64;
    if due == Some(found) {
        return Ok(());
    }
    Err(wrong_length(due.unwrap_or(u64::MAX), found))
}

fn wrong_length(due: u64, found: u64) -> Error {
    Error::invalid("the file has another length than its header says")
        .expected(format!("{due} bytes"))
        .found(format!("{found} bytes"))
        .hint("copy or download it again")
}

/// Sums over counts, matrix by matrix. A matrix that no token came by (an expert that was never chosen) has weights
/// of 1.
fn means(sums: &Tensor, counts: &Tensor) -> Result<Arc<[f32]>> {
    let (sum_values, count_values) = (values(sums)?, values(counts)?);
    let (columns, matrices) = (sums.row_elements()?, sums.shape().rows());
    if counts.shape().elements() != matrices || columns == 0 {
        return Err(Error::invalid("the counts do not fit the sums")
            .tensor(&sums.name)
            .expected(format!("one count for each of {matrices} rows of at least one column"))
            .found(format!("sums {} and counts {}", sums.shape(), counts.shape())));
    }
    let mut weights = Vec::with_capacity(sum_values.len());
    for (sums, count) in sum_values.chunks_exact(columns).zip(count_values) {
        let count = count.round();
        weights.extend(sums.iter().map(|sum| if count > 0.0 { sum / count } else { 1.0 }));
    }
    Ok(weights.into())
}

/// All values of a tensor of f32.
fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    if tensor.dtype() != DType::F32 {
        return Err(Error::invalid("an importance matrix holds f32")
            .tensor(&tensor.name)
            .expected("f32")
            .found(tensor.dtype()));
    }
    let too_many = |_| Error::invalid("the entry is too large").tensor(&tensor.name);
    let rows = usize::try_from(tensor.shape().rows()).map_err(too_many)?;
    let mut values = vec![0.0; usize::try_from(tensor.shape().elements()).map_err(too_many)?];
    tensor.decode_rows(0..rows, &mut values)?;
    sound(&tensor.name, &values)?;
    Ok(values)
}

/// Sums of squares, and counts, are finite and not negative.
fn sound(name: &str, values: &[f32]) -> Result<()> {
    match values.iter().position(|v| !(v.is_finite() && *v >= 0.0)) {
        None => Ok(()),
        Some(i) => Err(Error::invalid("the importance matrix holds a value that cannot have been measured")
            .tensor(name)
            .expected("finite values, none negative")
            .found(format!("{} at {i}", values[i]))
            .hint("measure it again")),
    }
}

/// The older form, little-endian and without a magic: the number of entries; of each the length of its name, the
/// name, the number of calls, the number of values and the values, which are means times calls. Newer files add the
/// number of chunks and the name of the dataset.
fn legacy(file: &[u8]) -> Result<Imatrix> {
    let mut cursor = Cursor { file, at: 0 };
    let count = cursor.number("the number of entries", 13)?;
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let (name, weights) = legacy_entry(&mut cursor)?;
        if entries.insert(name.clone(), weights).is_some() {
            return Err(Error::invalid("two entries of the importance matrix have this name").tensor(&name));
        }
    }
    let (mut dataset, mut chunks) = (None, None);
    if cursor.at < file.len() {
        chunks = Some(cursor.number("the number of chunks", 0)?);
        let length = cursor.number("the length of the dataset's name", 1)?;
        dataset = Some(cursor.text(length, "the dataset's name")?).filter(|name| !name.is_empty());
    }
    if cursor.at != file.len() {
        return Err(wrong_length(cursor.at as u64, file.len() as u64));
    }
    Ok(Imatrix { entries, dataset, chunks, ignored: Vec::new() })
}

fn legacy_entry(cursor: &mut Cursor) -> Result<(String, Arc<[f32]>)> {
    let length = cursor.number("the length of a name", 1)?;
    let name = cursor.text(length, "a name")?;
    let at = cursor.at as u64;
    let calls = cursor.number("the number of calls", 0).map_err(|e| e.tensor(&name))?;
    let count = cursor.number("the number of values", 4).map_err(|e| e.tensor(&name))?;
    if name.is_empty() || count == 0 {
        return Err(Error::invalid("an entry of the importance matrix is empty")
            .tensor(&name)
            .offset(at)
            .expected("a name and at least one value")
            .found(format!("a name of {} bytes, {count} values", name.len()))
            .hint("give a file that llama-imatrix wrote"));
    }
    let bytes = cursor.take(u64::from(count) * 4, "the values").map_err(|e| e.tensor(&name))?;
    let sums: Vec<f32> = bytes.chunks_exact(4).map(LE::read_f32).collect();
    sound(&name, &sums)?;
    let weights = sums.iter().map(|sum| if calls > 0 { sum / calls as f32 } else { 1.0 });
    Ok((name, weights.collect()))
}

/// A place in the file; every read is held against what remains.
struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: u64, what: &str) -> Result<&'a [u8]> {
        let end = usize::try_from(n).ok().and_then(|n| self.at.checked_add(n));
        let bytes = end.and_then(|end| self.file.get(self.at..end)).ok_or_else(|| {
            Error::invalid(format!("this is no importance matrix, or a part of one: it ends within {what}"))
                .offset(self.at as u64)
                .expected(format!("{n} more bytes"))
                .found(self.file.len() - self.at)
                .hint("give a whole file that llama-imatrix wrote")
        })?;
        self.at += bytes.len();
        Ok(bytes)
    }

    /// An i32 that is not negative, counting things of at least `least` bytes each.
    fn number(&mut self, what: &str, least: u64) -> Result<u32> {
        let at = self.at as u64;
        let n = LE::read_i32(self.take(4, what)?);
        let remaining = (self.file.len() - self.at) as u64;
        match u32::try_from(n) {
            Ok(count) if u64::from(count) * least <= remaining => Ok(count),
            _ => Err(Error::invalid(format!("this is no importance matrix: {what} cannot be"))
                .offset(at)
                .expected(match least {
                    0 => String::from("a number that is not negative"),
                    least => format!("a number from 0 to {}", remaining / least),
                })
                .found(n)
                .hint("give a whole file that llama-imatrix wrote")),
        }
    }

    fn text(&mut self, length: u32, what: &str) -> Result<String> {
        let at = self.at as u64;
        let bytes = self.take(u64::from(length), what)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            Error::invalid(format!("this is no importance matrix: {what} is not UTF-8"))
                .offset(at)
                .hint("give a file that llama-imatrix wrote")
        })
    }
}
