//! Rows that are computed from several models: each source is decoded from its own dtype to f64, the method
//! combines them, and the result is rounded once to f32. Nothing is stored in between.

use super::{Method, Term};
use ggraft_formats::{Error, Result, Rows, Tensor};
use std::ops::Range;

/// One vector's tensors.
pub(super) struct Pair {
    pub chat: Tensor,
    pub base: Tensor,
    pub weight: f64,
}

/// F32 rows of the output.
pub(super) struct Merged {
    pub onto: Tensor,
    pub terms: Vec<Pair>,
    pub method: &'static Method,
}

impl Rows for Merged {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let decode = |t: &Tensor| -> Result<Vec<f64>> {
            let mut values = vec![0.0; out.len() / size_of::<f32>()];
            t.decode_rows_f64(rows.clone(), &mut values)?;
            Ok(values)
        };
        let mut values = decode(&self.onto)?;
        let mut terms = Vec::with_capacity(self.terms.len());
        for pair in &self.terms {
            terms.push(Term { chat: decode(&pair.chat)?, base: decode(&pair.base)?, weight: pair.weight });
        }
        (self.method.combine)(&mut values, &terms);
        for (i, (bytes, x)) in out.as_chunks_mut().0.iter_mut().zip(&values).enumerate() {
            let x = *x as f32;
            if !x.is_finite() {
                return Err(self.overflow(rows.start, i, x));
            }
            *bytes = x.to_le_bytes();
        }
        Ok(())
    }
}

impl Merged {
    fn overflow(&self, first_row: usize, i: usize, found: f32) -> Error {
        let row = usize::try_from(self.onto.shape().row()).unwrap_or(usize::MAX).max(1);
        Error::invalid("the merged weight is not finite")
            .tensor(&self.onto.name)
            .found(format!("{found} at row {}, column {}", first_row + i / row, i % row))
            .mend("choose a smaller --weight")
    }
}
