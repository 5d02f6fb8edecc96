//! What flows through the house: a tensor as rows, encoded in its own dtype and pulled on demand, in chunks.
//! Wrappers over `Rows` re-order or compute, as `BufReader` wraps `Read`; here are the ones that need to know
//! nothing but bytes: rows in a mapped file, rows in memory, rows checked to be finite.

use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::mmap::Mapping;
use crate::quant::DType;
use crate::shape::Shape;
use crate::simd::vectorized;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Rows of one tensor, encoded as its dtype.
pub trait Rows: Send + Sync {
    /// Writes `rows` into `out`, which is exactly as long as they are.
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()>;

    /// The bytes of `rows` where they lie, if they lie somewhere in one piece.
    fn borrow(&self, _rows: Range<usize>) -> Option<&[u8]> {
        None
    }

    /// Decodes `rows` into `out`, if these rows know a shorter way than over their bytes; else false.
    fn decode(&self, _rows: Range<usize>, _out: &mut [f32]) -> Result<bool> {
        Ok(false)
    }

    /// Is told that `rows` are needed soon, so that they can be fetched meanwhile.
    fn prefetch(&self, _rows: Range<usize>) {}

    /// The tensor that these rows were computed from, element by element, if they were.
    fn origin(&self) -> Option<Tensor> {
        None
    }

    /// The parts of NVFP4 that these rows are decoded of, if they are, and nothing else was done to them.
    fn fours(&self) -> Option<Fours> {
        None
    }

    /// Is told that `rows` are not needed again soon, so that the memory they lie in can be given back.
    fn release(&self, _rows: Range<usize>) {}

    /// Adds what decides the rows and stands in no file that is read: values in memory, importance, an order, weights.
    /// A stopped run is resumed only where it is the same.
    fn identify(&self, _into: &mut Identity) {}
}

/// The parts of NVFP4 as trainers publish it: see `fours.rs`.
#[derive(Clone)]
pub struct Fours {
    /// A row of as many i64 as there are groups: each is the codes of one.
    pub codes: Tensor,
    /// A row of as many bytes: the scale of each group.
    pub scales: Tensor,
    /// What multiplies all of each matrix.
    pub whole: Vec<Number>,
    /// What activations are divided by before they get four bits, one a matrix.
    pub inputs: Vec<Number>,
    /// Whether activations are said to keep more than four bits.
    pub wide_inputs: bool,
}

/// A number that a checkpoint holds beside the codes.
#[derive(Clone)]
pub struct Number {
    /// None stands for 1.
    pub tensor: Option<Tensor>,
    /// Whether it divides.
    pub divides: bool,
}

/// A named tensor whose rows are somewhere else until they are read.
#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    shape: Shape,
    dtype: DType,
    row_bytes: usize,
    rows: Arc<dyn Rows>,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.shape, self.dtype)
    }
}

impl Tensor {
    /// A tensor over `rows`. The row length must fill whole blocks of `dtype`.
    pub fn new(name: &str, shape: Shape, dtype: DType, rows: Arc<dyn Rows>) -> Result<Tensor> {
        let bytes = size(name, &shape, dtype)?;
        let row_bytes = if shape.rows() == 0 { 0 } else { bytes / shape.rows() };
        let row_bytes = usize::try_from(row_bytes).map_err(|_| too_large(name, &shape))?;
        Ok(Tensor { name: name.to_string(), shape, dtype, row_bytes, rows })
    }

    /// A tensor that lies in a mapped file from byte `offset` on.
    pub fn mapped(name: &str, shape: Shape, dtype: DType, file: &Mapping, offset: u64) -> Result<Tensor> {
        let bytes = size(name, &shape, dtype)?;
        let end = offset.checked_add(bytes).ok_or_else(|| too_large(name, &shape))?;
        file.slice(offset..end).map_err(|e| e.tensor(name))?;
        let start = usize::try_from(offset).map_err(|_| too_large(name, &shape))?;
        let row_bytes = if shape.rows() == 0 { 0 } else { bytes / shape.rows() };
        let row_bytes = usize::try_from(row_bytes).map_err(|_| too_large(name, &shape))?;
        Tensor::new(name, shape, dtype, Arc::new(Mapped { file: file.clone(), start, row_bytes }))
    }

    /// A small generated tensor that lies in memory.
    pub fn in_memory(name: &str, shape: Shape, values: &[f32]) -> Result<Tensor> {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        if shape.elements() != values.len() as u64 {
            return Err(Error::invalid("the values do not fill the shape")
                .tensor(name)
                .expected(shape.elements())
                .found(values.len()));
        }
        Tensor::of_bytes(name, shape, DType::F32, bytes)
    }

    /// A small tensor of the elements that `bytes` are.
    pub fn of_bytes(name: &str, shape: Shape, dtype: DType, bytes: Vec<u8>) -> Result<Tensor> {
        let row_bytes = match shape.rows() {
            0 => 0,
            rows => bytes.len() / usize::try_from(rows).map_err(|_| too_large(name, &shape))?,
        };
        if size(name, &shape, dtype)? != bytes.len() as u64 {
            return Err(Error::invalid("the values do not fill the shape").tensor(name).found(bytes.len()));
        }
        Tensor::new(name, shape, dtype, Arc::new(InMemory { bytes, row_bytes }))
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The row length in memory.
    pub fn row_elements(&self) -> Result<usize> {
        usize::try_from(self.shape.row()).map_err(|_| too_large(&self.name, &self.shape))
    }

    /// Bytes of one encoded row.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Bytes of all encoded rows.
    pub fn bytes(&self) -> u64 {
        self.row_bytes as u64 * self.shape.rows()
    }

    /// Adds what decides the tensor and stands in no file: see `Rows::identify`.
    pub fn identify(&self, into: &mut Identity) {
        into.numbers(self.shape.ne().iter().copied());
        into.add(self.dtype.to_string().as_bytes());
        self.rows.identify(into);
    }

    /// The rows themselves, to be wrapped.
    pub fn rows(&self) -> Arc<dyn Rows> {
        Arc::clone(&self.rows)
    }

    /// Whether both are the same rows, not only equal ones.
    pub fn shares_rows(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.rows, &other.rows)
    }

    /// The tensor that this one was computed from, element by element, if it was.
    pub fn origin(&self) -> Option<Tensor> {
        self.rows.origin()
    }

    /// The parts of NVFP4 that this tensor is decoded of, if it is, and nothing else was done to it.
    pub fn fours(&self) -> Option<Fours> {
        self.rows.fours()
    }

    /// The encoded `rows` where they lie, if they lie somewhere in one piece.
    pub fn lent(&self, rows: Range<usize>) -> Option<&[u8]> {
        self.rows.borrow(rows)
    }

    /// Writes the encoded `rows` into `out`.
    pub fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        self.rows.read(rows, out)
    }

    /// Tells that `rows` are needed soon.
    pub fn prefetch(&self, rows: Range<usize>) {
        self.rows.prefetch(rows);
    }

    /// Tells that `rows` are not needed again soon.
    pub fn release(&self, rows: Range<usize>) {
        self.rows.release(rows);
    }

    /// Calls `f` with the encoded `rows`, copied only if they do not lie anywhere in one piece.
    pub fn with_rows<T>(&self, rows: Range<usize>, f: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        if let Some(bytes) = self.rows.borrow(rows.clone()) {
            return f(bytes);
        }
        let mut bytes = vec![0; rows.len() * self.row_bytes];
        self.rows.read(rows, &mut bytes)?;
        f(&bytes)
    }

    /// Decodes `rows` to f32; f64 is rounded once. `out` holds `rows.len() * shape.row()` values.
    pub fn decode_rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        self.decodable()?;
        if self.rows.decode(rows.clone(), out)? {
            return Ok(());
        }
        self.with_rows(rows, |bytes| self.dtype.decode(bytes, out))
    }

    /// Decodes `rows` to f64 without any rounding.
    pub fn decode_rows_f64(&self, rows: Range<usize>, out: &mut [f64]) -> Result<()> {
        if self.dtype == DType::F64 {
            return self.with_rows(rows, |bytes| {
                for (x, b) in out.iter_mut().zip(bytes.as_chunks::<8>().0) {
                    *x = f64::from_le_bytes(*b);
                }
                Ok(())
            });
        }
        self.decodable()?;
        // Whole blocks of every dtype, in the nearest cache.
        let mut single = [0f32; 1024];
        let step = single.len() / self.dtype.block() * self.dtype.traits().bytes;
        self.with_rows(rows, |bytes| {
            for (out, bytes) in out.chunks_mut(single.len()).zip(bytes.chunks(step)) {
                let single = &mut single[..out.len()];
                self.dtype.decode(bytes, single)?;
                vectorized(
                    #[inline(always)]
                    || out.iter_mut().zip(single).for_each(|(x, s)| *x = f64::from(*s)),
                );
            }
            Ok(())
        })
    }

    /// The same rows under another name.
    pub fn renamed(mut self, name: &str) -> Tensor {
        self.name = name.to_string();
        self
    }

    /// The same rows in a shape without trailing dimensions of one, as ggml writes it.
    pub fn trimmed(mut self) -> Tensor {
        self.shape = self.shape.trimmed();
        self
    }

    /// The inverse: the same rows in at least so many dimensions.
    pub fn widened(mut self, dims: usize) -> Tensor {
        self.shape = self.shape.widened(dims);
        self
    }

    /// The same tensor, whose rows are refused when they hold a NaN or an infinity.
    pub fn checked(self) -> Tensor {
        let rows = Arc::new(Checked { source: self.clone() });
        Tensor { rows, ..self }
    }

    /// Refuses a dtype that cannot be decoded.
    pub(crate) fn decodable(&self) -> Result<()> {
        if self.dtype.traits().decode.is_some() { Ok(()) } else { Err(self.opaque()) }
    }

    /// The error for a dtype that cannot be decoded.
    pub fn opaque(&self) -> Error {
        Error::unsupported(format!("there is no decoder for {}", self.dtype)).tensor(&self.name)
    }
}

/// Bytes of a whole tensor, or why there can be none.
fn size(name: &str, shape: &Shape, dtype: DType) -> Result<u64> {
    if !shape.row().is_multiple_of(dtype.block() as u64) {
        return Err(Error::invalid(format!("a row does not fill whole blocks of {dtype}"))
            .tensor(name)
            .expected(format!("a multiple of {}", dtype.block()))
            .found(shape.row()));
    }
    let bytes = dtype.row_bytes(shape.row()).and_then(|row| row.checked_mul(shape.rows()));
    bytes.ok_or_else(|| too_large(name, shape))
}

fn too_large(name: &str, shape: &Shape) -> Error {
    Error::invalid("the tensor is larger than any file can be").tensor(name).found(format!("shape {shape}"))
}

/// Rows in a mapped file.
struct Mapped {
    file: Mapping,
    start: usize,
    row_bytes: usize,
}

impl Mapped {
    fn place(&self, rows: &Range<usize>) -> Range<usize> {
        self.start + rows.start * self.row_bytes..self.start + rows.end * self.row_bytes
    }
}

impl Rows for Mapped {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let start = self.start + rows.start * self.row_bytes;
        out.copy_from_slice(self.file.slice(start as u64..(start + out.len()) as u64)?);
        Ok(())
    }

    fn borrow(&self, rows: Range<usize>) -> Option<&[u8]> {
        self.file.bytes().get(self.place(&rows))
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.file.prefetch(self.place(&rows));
    }

    fn release(&self, rows: Range<usize>) {
        self.file.release(self.place(&rows));
    }

    fn identify(&self, into: &mut Identity) {
        // Which file it is, and in what state, tell the stamps of the inputs.
        into.add(b"mapped");
        into.numbers([self.start as u64, self.row_bytes as u64]);
    }
}

/// Rows in memory.
struct InMemory {
    bytes: Vec<u8>,
    row_bytes: usize,
}

impl Rows for InMemory {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        out.copy_from_slice(&self.bytes[rows.start * self.row_bytes..rows.end * self.row_bytes]);
        Ok(())
    }

    fn borrow(&self, rows: Range<usize>) -> Option<&[u8]> {
        self.bytes.get(rows.start * self.row_bytes..rows.end * self.row_bytes)
    }

    fn identify(&self, into: &mut Identity) {
        into.add(&self.bytes);
    }
}

/// Rows that must be finite.
struct Checked {
    source: Tensor,
}

impl Checked {
    fn is_finite(&self, bytes: &[u8]) -> bool {
        (self.source.dtype.traits().finite)(bytes)
    }
}

impl Rows for Checked {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        self.source.read(rows, out)?;
        if self.is_finite(out) { Ok(()) } else { Err(not_finite(&self.source)) }
    }

    fn borrow(&self, rows: Range<usize>) -> Option<&[u8]> {
        // A row that is not finite is not lent, so the caller comes by `read` and gets the error.
        self.source.rows.borrow(rows).filter(|bytes| self.is_finite(bytes))
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.source.prefetch(rows);
    }

    fn origin(&self) -> Option<Tensor> {
        self.source.origin().map(Tensor::checked)
    }

    fn fours(&self) -> Option<Fours> {
        self.source.fours()
    }

    fn release(&self, rows: Range<usize>) {
        self.source.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        self.source.identify(into);
    }
}

/// The error for a tensor that holds a NaN or an infinity: its first place and how many there are in all.
pub fn not_finite(tensor: &Tensor) -> Error {
    let row = usize::try_from(tensor.shape.row()).unwrap_or(0);
    let rows = usize::try_from(tensor.shape.rows()).unwrap_or(0);
    let (mut first, mut count) = (None, 0u64);
    let mut values = vec![0f32; row];
    for r in 0..rows {
        if let Err(e) = tensor.decode_rows(r..r + 1, &mut values) {
            return e;
        }
        for (column, x) in values.iter().enumerate().filter(|(_, x)| !x.is_finite()) {
            first.get_or_insert((r, column, *x));
            count += 1;
        }
    }
    let place = first.map_or(String::from("a scale that is not finite"), |(r, c, x)| {
        format!("{x} at row {r}, column {c}; {count} of {} weights are not finite", tensor.shape.elements())
    });
    Error::invalid("the weights must be finite")
        .tensor(&tensor.name)
        .found(place)
        .hint("the checkpoint is damaged or its training diverged: use another one")
}
