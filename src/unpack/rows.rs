//! A packed weight as lazy rows of plain floats: a method says how the values of any rows come from its parts, and what
//! it is told of them is passed on to the parts.

use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Result, Rows, Shape, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// How the values of a weight come from its parts.
pub trait Packed: Send + Sync {
    /// Values that are decoded at once, whole rows: no more than a cache holds until they are rounded.
    const VALUES: usize = 1 << 15;

    /// The values of `rows` into `out`, which holds as many.
    fn decode(&self, rows: Range<usize>, out: &mut [f32]) -> Result<()>;

    /// Calls `f` with each part, and the rows of it that `rows` come from.
    fn parts(&self, rows: Range<usize>, f: &mut dyn FnMut(&Tensor, Range<usize>));

    /// Adds what decides the values beside the parts.
    fn describe(&self, into: &mut Identity);
}

/// The tensor `name` of `dtype` (f32, f16 or bf16, to which values are rounded once) that `packed` holds.
pub fn unpacked(name: &str, torch: &[u64], dtype: DType, packed: impl Packed + 'static) -> Result<Tensor> {
    let ne: Vec<u64> = torch.iter().rev().copied().collect();
    let too_large =
        || ggraft_formats::Error::invalid("the tensor is larger than any file can be").tensor(name);
    let shape = Shape::new(&ne).ok_or_else(too_large)?;
    let word = |n: u64| usize::try_from(n).map_err(|_| too_large());
    let (row, count) = (word(shape.row())?, word(shape.rows())?);
    Tensor::new(name, shape, dtype, Arc::new(Unpacked { packed, dtype, row, count }))
}

struct Unpacked<P> {
    packed: P,
    dtype: DType,
    row: usize,
    count: usize,
}

impl<P: Packed> Rows for Unpacked<P> {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        if self.row == 0 || rows.is_empty() {
            return Ok(());
        }
        let step = (P::VALUES / self.row).max(1).min(rows.len());
        let mut values = vec![0f32; step * self.row];
        let bytes = out.len() / rows.len();
        for (start, out) in rows.clone().step_by(step).zip(out.chunks_mut(step * bytes)) {
            let part = start..rows.end.min(start + step);
            let values = &mut values[..part.len() * self.row];
            self.packed.decode(part, values)?;
            self.dtype.encode(values, self.row, None, out)?;
        }
        Ok(())
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.packed.parts(rows, &mut |part, rows| part.prefetch(rows));
    }

    fn release(&self, rows: Range<usize>) {
        self.packed.parts(rows, &mut |part, rows| part.release(rows));
    }

    fn identify(&self, into: &mut Identity) {
        self.packed.describe(into);
        self.packed.parts(0..self.count, &mut |part, _| part.identify(into));
    }
}
