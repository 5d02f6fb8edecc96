//! What a 16-bit store loses of a vector: the rounding error against the change that the merge makes, and the
//! weights whose change leaves no trace. Measured on the way into the file. Sums are kept by the rows they come
//! from and added in that order, so the figures do not depend on the threads.

use ggraft_formats::{DType, Result, Rows, Tensor};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// The figures of some weights. The change of a weight is its merged value in f32 less CP's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// The sum of squares of the changes.
    pub change: f64,
    /// The sum of squares of what rounding adds to the merged weights.
    pub error: f64,
    /// The weights that change.
    pub changed: u64,
    /// The weights that change and are stored as CP's would be.
    pub traceless: u64,
}

impl Loss {
    /// The rounding error relative to the change, both as root mean squares; nothing is lost of no change.
    pub fn share(&self) -> f64 {
        if self.change == 0.0 { 0.0 } else { (self.error / self.change).sqrt() }
    }

    /// The share of the changes that leave no trace.
    pub fn traceless_share(&self) -> f64 {
        if self.changed == 0 { 0.0 } else { self.traceless as f64 / self.changed as f64 }
    }
}

impl std::iter::Sum for Loss {
    fn sum<I: Iterator<Item = Loss>>(all: I) -> Loss {
        all.fold(Loss::default(), |a, b| Loss {
            change: a.change + b.change,
            error: a.error + b.error,
            changed: a.changed + b.changed,
            traceless: a.traceless + b.traceless,
        })
    }
}

/// The figures of a tensor, as far as it has been written.
#[derive(Debug, Default)]
pub struct Meter(Mutex<BTreeMap<usize, Loss>>);

impl Meter {
    /// The sum so far, in the order of the rows.
    pub fn total(&self) -> Loss {
        self.0.lock().map_or_else(|_| Loss::default(), |parts| parts.values().copied().sum())
    }

    fn add(&self, first_row: usize, loss: Loss) {
        if let Ok(mut parts) = self.0.lock() {
            parts.insert(first_row, loss);
        }
    }
}

/// `merged` stored as `dtype`, a float of 16 bits, and what that loses of its difference from `onto`, which has
/// the same shape.
pub fn metered(merged: Tensor, onto: Tensor, dtype: DType) -> Result<(Tensor, Arc<Meter>)> {
    let meter = Arc::new(Meter::default());
    let (name, shape) = (merged.name.clone(), *merged.shape());
    let rows = Metered { merged, onto, dtype, meter: Arc::clone(&meter) };
    Ok((Tensor::new(&name, shape, dtype, Arc::new(rows))?, meter))
}

struct Metered {
    merged: Tensor,
    onto: Tensor,
    dtype: DType,
    meter: Arc<Meter>,
}

impl Rows for Metered {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let count = rows.len() * self.merged.row_elements()?;
        let (mut exact, mut onto, mut stored) = (vec![0f32; count], vec![0f32; count], vec![0f32; count]);
        self.merged.decode_rows(rows.clone(), &mut exact)?;
        self.onto.decode_rows(rows.clone(), &mut onto)?;
        let mut unchanged = vec![0; out.len()];
        self.merged.encode_values(&exact, rows.clone(), self.dtype, out)?;
        self.onto.encode_values(&onto, rows.clone(), self.dtype, &mut unchanged)?;
        if let Some(decode) = self.dtype.traits().decode {
            decode(out, &mut stored);
        }
        let mut loss = Loss::default();
        let traces = out.as_chunks::<2>().0.iter().zip(unchanged.as_chunks::<2>().0);
        for (((exact, onto), stored), (new, old)) in exact.iter().zip(&onto).zip(&stored).zip(traces) {
            let change = f64::from(*exact) - f64::from(*onto);
            let error = f64::from(*stored) - f64::from(*exact);
            loss.change += change * change;
            loss.error += error * error;
            loss.changed += u64::from(change != 0.0);
            loss.traceless += u64::from(change != 0.0 && new == old);
        }
        self.meter.add(rows.start, loss);
        Ok(())
    }

    fn release(&self, rows: Range<usize>) {
        self.merged.release(rows.clone());
        self.onto.release(rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Shape;

    /// bf16 has 8 bits: above 1 its step is 1/128.
    #[test]
    fn a_change_below_half_a_step_leaves_no_trace() {
        let shape = Shape::new(&[4]).unwrap();
        let tensor = |values: [f32; 4]| Tensor::in_memory("x", shape, &values).unwrap();
        let onto = tensor([1.0; 4]);
        let merged = tensor([1.0, 1.0 + 1.0 / 512.0, 1.0 + 3.0 / 512.0, 1.0 + 1.0 / 128.0]);
        let (stored, meter) = metered(merged, onto, DType::BF16).unwrap();
        let mut values = [0.0; 4];
        stored.decode_rows(0..1, &mut values).unwrap();
        assert_eq!(values, [1.0, 1.0, 1.0 + 1.0 / 128.0, 1.0 + 1.0 / 128.0]);
        let loss = meter.total();
        assert_eq!((loss.changed, loss.traceless), (3, 1));
        let step = 1.0 / 512.0f64;
        assert_eq!(loss.error, 2.0 * step * step);
        assert_eq!(loss.change, (1.0 + 9.0 + 16.0) * step * step);
        assert_eq!(loss.traceless_share(), 1.0 / 3.0);
    }

    #[test]
    fn nothing_is_lost_of_no_change() {
        assert_eq!((Loss::default().share(), Loss::default().traceless_share()), (0.0, 0.0));
    }
}
