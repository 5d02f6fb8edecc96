//! What is measured on the way into the file: how near a tensor as it is stored is to what it was before, and how far a
//! merge has moved it. The pass that writes the weights is the one that measures them. Figures are added in the order of
//! the rows, so they do not depend on the threads. Serves `plan`, which wraps the tensors, and `report`.

use ggraft_formats::figures::Figures;
use ggraft_formats::write::Identity;
use ggraft_formats::write::{BLOCK, CHUNK};
use ggraft_formats::{DType, Encoding, How, Result, Rows, Tensor};
use std::collections::BTreeMap;
use std::ops::{Add, Range};
use std::sync::{Arc, Mutex};

/// The figures of some weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// What is stored, beside the weights before they were encoded, in f32.
    pub stored: Figures,
    /// The merged weights, in f32, beside those of CP; nothing where nothing is merged.
    pub moved: Figures,
    /// The weights that the merge changes and that are stored as CP's would be; counted in floats of 16 bits only.
    pub traceless: u64,
}

impl Measured {
    /// The error of storing relative to the change that the merge makes, both as root mean squares; nothing is lost of
    /// no change.
    pub fn lost_share(&self) -> f64 {
        if self.moved.error == 0.0 { 0.0 } else { (self.stored.error / self.moved.error).sqrt() }
    }

    /// The share of the changes that leave no trace.
    pub fn traceless_share(&self) -> f64 {
        if self.moved.different == 0 { 0.0 } else { self.traceless as f64 / self.moved.different as f64 }
    }
}

impl Add for Measured {
    type Output = Measured;

    fn add(self, other: Measured) -> Measured {
        Measured {
            stored: self.stored + other.stored,
            moved: self.moved + other.moved,
            traceless: self.traceless + other.traceless,
        }
    }
}

impl std::iter::Sum for Measured {
    fn sum<I: Iterator<Item = Measured>>(all: I) -> Measured {
        all.fold(Measured::default(), Add::add)
    }
}

/// The figures of a tensor, as far as it has been written.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Tally>);

/// Threads come in any order; what cannot be added yet waits, so little does.
#[derive(Debug, Default)]
struct Tally {
    /// The rows before this one are in the sum.
    next: usize,
    sum: Measured,
    /// Rows further on, by the first of them, and where they end.
    ahead: BTreeMap<usize, (usize, Measured)>,
}

impl Meter {
    /// The sum so far, in the order of the rows.
    pub fn total(&self) -> Measured {
        let Ok(tally) = self.0.lock() else { return Measured::default() };
        tally.ahead.values().fold(tally.sum, |sum, (_, measured)| sum + *measured)
    }

    fn add(&self, rows: Range<usize>, measured: Measured) {
        let Ok(mut tally) = self.0.lock() else { return };
        if rows.start < tally.next {
            return;
        }
        tally.ahead.insert(rows.start, (rows.end, measured));
        while let Some((first, (end, measured))) = tally.ahead.pop_first() {
            if first != tally.next {
                tally.ahead.insert(first, (end, measured));
                break;
            }
            tally.sum = tally.sum + measured;
            tally.next = end;
        }
    }

    /// Whether these rows have been measured.
    fn knows(&self, first_row: usize) -> bool {
        self.0.lock().is_ok_and(|tally| first_row < tally.next || tally.ahead.contains_key(&first_row))
    }

    /// Reads those rows of `tensor` that an earlier run has written, in the pieces in which the writer reads: the figures
    /// are those of a run without a break.
    pub fn fill(&self, tensor: &Tensor) -> Result<()> {
        let row = tensor.row_elements()?.max(1);
        let rows = usize::try_from(tensor.shape().rows()).unwrap_or(usize::MAX);
        let (piece, block) = ((CHUNK / row).max(1), (BLOCK / row).max(1));
        let mut out = Vec::new();
        for start in (0..rows).step_by(piece) {
            let end = rows.min(start.saturating_add(piece));
            for first in (start..end).step_by(block) {
                if !self.knows(first) {
                    let part = first..end.min(first + block);
                    out.resize(part.len() * tensor.row_bytes(), 0);
                    tensor.read(part.clone(), &mut out)?;
                    tensor.release(part);
                }
            }
        }
        Ok(())
    }
}

/// `source` encoded, in rows which tell their figures to the meter when they are read. `onto` is the tensor before a merge, of
/// the same shape.
pub fn metered(source: Tensor, onto: Option<Tensor>, how: Encoding) -> Result<(Tensor, Arc<Meter>)> {
    let meter = Arc::new(Meter::default());
    let (name, shape) = (source.name.clone(), *source.shape());
    // Refuses what cannot be encoded.
    source.clone().encode_by(how.clone())?;
    let dtype = how.dtype;
    let rows = Metered { source, onto, how, meter: Arc::clone(&meter) };
    Ok((Tensor::new(&name, shape, dtype, Arc::new(rows))?, meter))
}

struct Metered {
    source: Tensor,
    onto: Option<Tensor>,
    how: Encoding,
    meter: Arc<Meter>,
}

impl Metered {
    /// The merged weights beside CP's, and how many changes leave no trace in `out`.
    fn moved(&self, onto: &Tensor, rows: &Range<usize>, exact: &[f32], out: &[u8]) -> Result<(Figures, u64)> {
        let mut before = vec![0f32; exact.len()];
        onto.decode_rows(rows.clone(), &mut before)?;
        let figures = Figures::of(&before, exact);
        if !matches!(self.how.dtype, DType::F16 | DType::BF16) {
            return Ok((figures, 0));
        }
        let mut unchanged = vec![0; out.len()];
        let how = How { weights: None, vanished: None, ..self.how.how() };
        self.source.encode_values(&before, rows.clone(), &how, &mut unchanged)?;
        let stored = out.as_chunks::<2>().0.iter().zip(unchanged.as_chunks::<2>().0);
        let pairs = before.iter().zip(exact).zip(stored);
        let traceless = pairs.filter(|((before, exact), (new, old))| before != exact && new == old).count();
        Ok((figures, traceless as u64))
    }
}

impl Rows for Metered {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let mut exact = vec![0f32; rows.len() * self.source.row_elements()?];
        let mut measured = Measured::default();
        if self.source.dtype() == self.how.dtype {
            self.source.read(rows.clone(), out)?;
            self.how.dtype.decode(out, &mut exact)?;
            measured.stored = Figures::of(&exact, &exact);
        } else {
            self.source.decode_rows(rows.clone(), &mut exact)?;
            self.source.encode_values(&exact, rows.clone(), &self.how.how(), out)?;
            let mut stored = vec![0f32; exact.len()];
            self.how.dtype.decode(out, &mut stored)?;
            measured.stored = Figures::of(&exact, &stored);
        }
        if let Some(onto) = &self.onto {
            (measured.moved, measured.traceless) = self.moved(onto, &rows, &exact, out)?;
        }
        self.meter.add(rows, measured);
        Ok(())
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.source.prefetch(rows.clone());
        if let Some(onto) = &self.onto {
            onto.prefetch(rows);
        }
    }

    fn release(&self, rows: Range<usize>) {
        self.source.release(rows.clone());
        if let Some(onto) = &self.onto {
            onto.release(rows);
        }
    }

    fn identify(&self, into: &mut Identity) {
        // What is measured decides no byte: so this is what the same rows add where they are not measured.
        if self.source.dtype() != self.how.dtype {
            self.how.identify(into);
            self.source.identify(into);
        } else {
            self.source.rows().identify(into);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Shape;

    fn tensor(ne: &[u64], values: &[f32]) -> Tensor {
        Tensor::in_memory("x", Shape::new(ne).unwrap(), values).unwrap()
    }

    /// bf16 has 8 bits: above 1 its step is 1/128.
    #[test]
    fn a_change_below_half_a_step_leaves_no_trace() {
        let onto = tensor(&[4], &[1.0; 4]);
        let merged = tensor(&[4], &[1.0, 1.0 + 1.0 / 512.0, 1.0 + 3.0 / 512.0, 1.0 + 1.0 / 128.0]);
        let (stored, meter) = metered(merged, Some(onto), Encoding::new(DType::BF16, None)).unwrap();
        let mut values = [0.0; 4];
        stored.decode_rows(0..1, &mut values).unwrap();
        assert_eq!(values, [1.0, 1.0, 1.0 + 1.0 / 128.0, 1.0 + 1.0 / 128.0]);
        let found = meter.total();
        assert_eq!((found.moved.different, found.traceless), (3, 1));
        let step = 1.0 / 512.0f64;
        assert_eq!(found.stored.error, 2.0 * step * step);
        assert_eq!(found.moved.error, (1.0 + 9.0 + 16.0) * step * step);
        assert_eq!(found.traceless_share(), 1.0 / 3.0);
    }

    #[test]
    fn nothing_is_lost_of_no_change() {
        assert_eq!((Measured::default().lost_share(), Measured::default().traceless_share()), (0.0, 0.0));
    }

    /// Rows of 96 weights: a piece of the writer is not a whole number of its blocks.
    #[test]
    fn the_order_of_the_rows_and_a_break_change_nothing() {
        let values: Vec<f32> = (0..96 * 6000u64).map(|i| ((i * 7919) % 1013) as f32 / 97.0 - 5.0).collect();
        let whole = || metered(tensor(&[96, 6000], &values), None, Encoding::new(DType::Q8_0, None)).unwrap();
        let (stored, meter) = whole();
        meter.fill(&stored).unwrap();
        let expected = meter.total();
        assert!(expected.stored.error > 0.0 && expected.stored.count == 96 * 6000);
        // The second piece is written first, the others by an earlier run.
        let (stored, meter) = whole();
        let (piece, block) = (CHUNK / 96, BLOCK / 96);
        let mut out = vec![0; block * stored.row_bytes()];
        for first in (piece..2 * piece).step_by(block).collect::<Vec<_>>().into_iter().rev() {
            let part = first..(2 * piece).min(first + block);
            stored.read(part.clone(), &mut out[..part.len() * stored.row_bytes()]).unwrap();
        }
        meter.fill(&stored).unwrap();
        assert_eq!(meter.total(), expected);
        meter.fill(&stored).unwrap();
        assert_eq!(meter.total(), expected);
    }

    #[test]
    fn metered_rows_are_the_encoded_ones() {
        let values: Vec<f32> = (0..512).map(|i| (i as f32).sin()).collect();
        let importance: Arc<[f32]> = (0..256).map(|i| (i % 5) as f32).collect();
        for dtype in [DType::F32, DType::F16, DType::Q4K] {
            let importance = (dtype == DType::Q4K).then(|| importance.clone());
            let source = tensor(&[256, 2], &values);
            let plain = source.clone().encode(dtype, importance.clone()).unwrap();
            let (stored, _) = metered(source, None, Encoding::new(dtype, importance)).unwrap();
            let [mut a, mut b] = [(); 2].map(|()| vec![0; 2 * plain.row_bytes()]);
            plain.read(0..2, &mut a).unwrap();
            stored.read(0..2, &mut b).unwrap();
            assert_eq!(a, b, "{dtype}");
        }
    }
}
