//! Rows in another dtype: decoded from the one that they have and encoded in the one that is wanted, a chunk at a
//! time, by the importance of their columns if that is known. `Tensor::encode` makes them.

use crate::error::{Error, Result};
use crate::quant::{DType, Encode};
use crate::tensor::{Rows, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// Rows decoded from one dtype and encoded in another.
pub(crate) struct Encoded {
    pub source: Tensor,
    pub dtype: DType,
    /// One a column of each matrix.
    pub weights: Option<Arc<[f32]>>,
}

impl Encoded {
    /// Encodes matrix by matrix, each with its own weights.
    fn encode_weighted(
        &self,
        encode: Encode,
        rows: Range<usize>,
        values: &[f32],
        weights: &[f32],
        out: &mut [u8],
    ) {
        let shape = self.source.shape();
        let (row, row_bytes) = (weights.len() / shape.dim(2).max(1) as usize, out.len() / rows.len().max(1));
        let (per_matrix, mut done) = (shape.dim(1) as usize, 0);
        while done < rows.len() {
            let at = rows.start + done;
            let next = (done + per_matrix - at % per_matrix).min(rows.len());
            let first = at / per_matrix % shape.dim(2) as usize * row;
            encode(
                &values[done * row..next * row],
                row,
                Some(&weights[first..first + row]),
                &mut out[done * row_bytes..next * row_bytes],
            );
            done = next;
        }
    }
}

impl Rows for Encoded {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let traits = self.dtype.traits();
        let encode = traits.encode.ok_or_else(|| self.source.opaque())?;
        let row = self.source.row_elements()?;
        let mut values = vec![0f32; rows.len() * row];
        self.source.decode_rows(rows.clone(), &mut values)?;
        match &self.weights {
            None => encode(&values, row, None, out),
            Some(weights) => self.encode_weighted(encode, rows.clone(), &values, weights, out),
        }
        if (traits.finite)(out) {
            return Ok(());
        }
        let largest = values.iter().fold(0f32, |m, x| m.max(x.abs()));
        Err(Error::invalid(format!("a weight is too large for {}", self.dtype))
            .tensor(&self.source.name)
            .found(format!("magnitude {largest} in rows {} to {}", rows.start, rows.end.saturating_sub(1)))
            .mend("choose a dtype with a larger range, such as bf16"))
    }

    fn release(&self, rows: Range<usize>) {
        self.source.release(rows);
    }
}
