//! Rows in another dtype: decoded from the one that they have and encoded in the one that is wanted, a chunk at a
//! time, by the importance of their columns if that is known. `Tensor::encode` makes them.

use crate::error::{Error, Result};
use crate::quant::{DType, Encode};
use crate::tensor::{Rows, Shape, Tensor};
use crate::write::Identity;
use std::ops::Range;
use std::sync::Arc;

/// Rows decoded from one dtype and encoded in another.
pub(crate) struct Encoded {
    pub source: Tensor,
    pub dtype: DType,
    /// One a column of each matrix.
    pub weights: Option<Arc<[f32]>>,
}

impl Rows for Encoded {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let mut values = vec![0f32; rows.len() * self.source.row_elements()?];
        self.source.decode_rows(rows.clone(), &mut values)?;
        self.source.encode_values(&values, rows, self.dtype, self.weights.as_deref(), out)
    }

    fn release(&self, rows: Range<usize>) {
        self.source.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        into.add(self.dtype.to_string().as_bytes());
        into.importance(self.weights.as_deref());
        self.source.identify(into);
    }
}

impl Tensor {
    /// Encodes `values`, which are the `rows` of this tensor, as `dtype` into `out`; `weights` are importance weights,
    /// one a column of each matrix.
    pub fn encode_values(
        &self,
        values: &[f32],
        rows: Range<usize>,
        dtype: DType,
        weights: Option<&[f32]>,
        out: &mut [u8],
    ) -> Result<()> {
        // What is finite as f64 need not be so as f32; all other dtypes decode to finite weights.
        if self.dtype() == DType::F64 && !values.iter().all(|x| x.is_finite()) {
            return Err(self.too_large(values, &rows, DType::F32));
        }
        let encode = dtype.traits().encode.ok_or_else(|| self.opaque())?;
        match weights {
            None => encode(values, self.row_elements()?, None, out),
            Some(weights) => encode_weighted(encode, self.shape(), rows.clone(), values, weights, out),
        }
        self.encoded(values, rows, dtype, out)
    }

    /// Refuses what encoding has made infinite.
    fn encoded(&self, values: &[f32], rows: Range<usize>, dtype: DType, out: &[u8]) -> Result<()> {
        if (dtype.traits().finite)(out) {
            return Ok(());
        }
        Err(self.too_large(values, &rows, dtype))
    }

    fn too_large(&self, values: &[f32], rows: &Range<usize>, dtype: DType) -> Error {
        let largest = values.iter().fold(0f32, |m, x| m.max(x.abs()));
        Error::invalid(format!("a weight is too large for {dtype}"))
            .tensor(&self.name)
            .found(format!("magnitude {largest} in rows {} to {}", rows.start, rows.end.saturating_sub(1)))
            .mend("choose a dtype with a larger range, such as bf16")
    }
}

/// Encodes matrix by matrix, each with its own weights.
fn encode_weighted(
    encode: Encode,
    shape: &Shape,
    rows: Range<usize>,
    values: &[f32],
    weights: &[f32],
    out: &mut [u8],
) {
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
