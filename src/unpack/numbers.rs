//! The numbers that small tensors hold: any elements as f32, places, settings.

use ggraft_formats::packed::numbers;
use ggraft_formats::{DType, Error, Result, Tensor};
use std::ops::Range;

/// Calls `f` with bytes `range` of a tensor, whatever its rows are.
pub fn with_bytes<T>(tensor: &Tensor, range: Range<usize>, f: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
    let row = tensor.row_bytes().max(1);
    let rows = range.start / row..range.end.div_ceil(row);
    let first = rows.start * row;
    tensor.with_rows(rows, |bytes| {
        let bytes = bytes.get(range.start - first..range.end - first);
        f(bytes.ok_or_else(|| Error::invalid("the tensor is too short").tensor(&tensor.name))?)
    })
}

/// Elements `range` of a tensor of plain floats or whole numbers; bytes are read as `read` has it.
pub fn elements(tensor: &Tensor, read: DType, range: Range<usize>, out: &mut [f32]) -> Result<()> {
    let size = tensor.dtype().traits().bytes;
    with_bytes(tensor, range.start * size..range.end * size, |bytes| {
        numbers(read, bytes, out).map_err(|e| e.tensor(&tensor.name))
    })
}

/// Elements `range` of a tensor of whole numbers that stand for places.
pub fn indices(tensor: &Tensor, range: Range<usize>) -> Result<Vec<i64>> {
    let size = tensor.dtype().traits().bytes;
    with_bytes(tensor, range.start * size..range.end * size, |bytes| match tensor.dtype() {
        DType::I32 => Ok(bytes.as_chunks().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect()),
        DType::I64 => Ok(bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect()),
        other => Err(Error::invalid("these are no whole numbers")
            .tensor(&tensor.name)
            .expected("I32 or I64")
            .found(other)),
    })
}

/// All numbers of a small tensor of whole ones, such as a shape.
pub fn narrow(tensor: &Tensor) -> Result<Vec<i64>> {
    /// More are no settings.
    const MOST: u64 = 8;
    let count = tensor.shape().elements();
    match tensor.dtype() {
        _ if count > MOST => Err(Error::invalid("these are no settings of a weight")
            .tensor(&tensor.name)
            .expected(format!("at most {MOST} whole numbers"))
            .found(format!("{count}"))),
        DType::U8 => with_bytes(tensor, 0..count as usize, |b| Ok(b.iter().map(|b| i64::from(*b)).collect())),
        _ => indices(tensor, 0..count as usize),
    }
}
