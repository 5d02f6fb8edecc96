//! Rows in another dtype: decoded from the one that they have and encoded in the one that is wanted, a chunk at a
//! time, by the importance of their columns if that is known. `Tensor::encode` makes them.

use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::quant::{By, DType, Levels, Search, Vanished};
use crate::tensor::{Rows, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// How a tensor is encoded.
#[derive(Clone)]
pub struct Encoding {
    pub dtype: DType,
    /// Importance weights, one a column of each matrix (`ne0 * ne2`): the experts of a stacked tensor have their own.
    pub weights: Option<Arc<[f32]>>,
    pub levels: Levels,
    pub search: Search,
    /// Where it is counted what is stored as zeros.
    pub vanished: Option<Arc<Vanished>>,
}

impl Encoding {
    /// As ggml does it by default, with nothing counted.
    pub fn new(dtype: DType, weights: Option<Arc<[f32]>>) -> Encoding {
        Encoding { dtype, weights, levels: Levels::default(), search: Search::Exact, vanished: None }
    }

    /// Tells all of it that decides bytes.
    pub fn identify(&self, into: &mut Identity) {
        into.add(self.dtype.to_string().as_bytes());
        if self.levels == Levels::Bounded && self.weights.is_some() {
            into.add(b"bounded levels");
        }
        if self.search == Search::Fine && self.dtype.has_fine_search(self.weights.is_some()) {
            into.add(b"fine search");
        }
        into.importance(self.weights.as_deref());
    }

    /// The same to encode values with.
    pub fn how(&self) -> How<'_> {
        How {
            dtype: self.dtype,
            weights: self.weights.as_deref(),
            levels: self.levels,
            search: self.search,
            vanished: self.vanished.as_deref(),
        }
    }
}

/// Rows decoded from one dtype and encoded in another.
struct Encoded {
    source: Tensor,
    how: Encoding,
}

impl Rows for Encoded {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let mut values = vec![0f32; rows.len() * self.source.row_elements()?];
        self.source.decode_rows(rows.clone(), &mut values)?;
        self.source.encode_values(&values, rows, &self.how.how(), out)
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.source.prefetch(rows);
    }

    fn release(&self, rows: Range<usize>) {
        self.source.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        self.how.identify(into);
        self.source.identify(into);
    }
}

/// How values are encoded.
pub struct How<'a> {
    pub dtype: DType,
    /// Importance weights, one a column of each matrix.
    pub weights: Option<&'a [f32]>,
    pub levels: Levels,
    pub search: Search,
    /// Where it is counted what is stored as zeros.
    pub vanished: Option<&'a Vanished>,
}

impl Tensor {
    /// The same weights as rows of `dtype`. `weights` are importance weights, one a column of each matrix
    /// (`ne0 * ne2`): the experts of a stacked tensor have their own.
    pub fn encode(self, dtype: DType, weights: Option<Arc<[f32]>>) -> Result<Tensor> {
        self.encode_by(Encoding::new(dtype, weights))
    }

    /// The same with a say in all of it.
    ///
    /// # Errors
    /// There is no such encoder or decoder; the importance weights are missing, or do not fit.
    pub fn encode_by(self, how: Encoding) -> Result<Tensor> {
        let Encoding { dtype, weights, .. } = &how;
        let dtype = *dtype;
        if dtype == self.dtype() {
            return Ok(self);
        }
        self.decodable()?;
        if dtype.traits().encode.is_none() {
            return Err(Error::unsupported(format!("there is no encoder for {dtype}")).tensor(&self.name));
        }
        if weights.is_none() {
            dtype.needs_no_weights().map_err(|e| e.tensor(&self.name))?;
        }
        if let Some(w) = weights
            && self.shape().row().checked_mul(self.shape().dim(2)) != Some(w.len() as u64)
        {
            return Err(Error::invalid("the importance weights do not fit the tensor")
                .tensor(&self.name)
                .expected(format!(
                    "{} columns of each of {} matrices",
                    self.shape().row(),
                    self.shape().dim(2)
                ))
                .found(format!("{} weights", w.len()))
                .hint("give the importance matrix of this model, or of one of the same shape"));
        }
        let (name, shape) = (self.name.clone(), *self.shape());
        Tensor::new(&name, shape, dtype, Arc::new(Encoded { source: self, how }))
    }

    /// Encodes `values`, which are the `rows` of this tensor, into `out`.
    ///
    /// # Errors
    /// There is no such encoder, or a weight is too large for it.
    pub fn encode_values(
        &self,
        values: &[f32],
        rows: Range<usize>,
        how: &How<'_>,
        out: &mut [u8],
    ) -> Result<()> {
        // What is finite as f64 need not be so as f32; all other dtypes decode to finite weights.
        if self.dtype() == DType::F64
            && let Some(at) = values.iter().position(|x| !x.is_finite())
        {
            return Err(self.too_large(values, &rows, DType::F32, at));
        }
        let (row, rows_bytes) = (self.row_elements()?, out.len() / rows.len().max(1));
        let mut done = 0;
        while done < rows.len() {
            let (next, weights) = self.matrix(&rows, done, how.weights);
            let (values, out) =
                (&values[done * row..next * row], &mut out[done * rows_bytes..next * rows_bytes]);
            let by = By { weights, levels: how.levels, search: how.search };
            how.dtype.encode_by(values, row, by, out).map_err(|e| e.tensor(&self.name))?;
            if let Some(vanished) = how.vanished {
                vanished.count(values, row, how.dtype, weights, out);
            }
            done = next;
        }
        match unfit(values, how.dtype, out) {
            None => Ok(()),
            Some(at) => Err(self.too_large(values, &rows, how.dtype, at)),
        }
    }

    /// The end of those of `rows` that lie in one matrix with row `done` of them, and its weights; all if none has any.
    fn matrix<'a>(
        &self,
        rows: &Range<usize>,
        done: usize,
        weights: Option<&'a [f32]>,
    ) -> (usize, Option<&'a [f32]>) {
        let Some(weights) = weights else { return (rows.len(), None) };
        let shape = self.shape();
        let (per_matrix, matrices) = (shape.dim(1).max(1) as usize, shape.dim(2).max(1) as usize);
        let (row, at) = (weights.len() / matrices, rows.start + done);
        let first = at / per_matrix % matrices * row;
        ((done + per_matrix - at % per_matrix).min(rows.len()), Some(&weights[first..first + row]))
    }

    fn too_large(&self, values: &[f32], rows: &Range<usize>, dtype: DType, at: usize) -> Error {
        let row = usize::try_from(self.shape().row()).unwrap_or(usize::MAX).max(1);
        Error::invalid(format!("a weight is too large for {dtype}"))
            .tensor(&self.name)
            .found(format!("{} at row {}, column {}", values[at], rows.start + at / row, at % row))
            .hint("the checkpoint may be damaged; else choose a dtype with a larger range, such as bf16")
    }
}

/// Where the first of `values` lies that `dtype` cannot hold: it is too large, or its block is not finite as `out`.
fn unfit(values: &[f32], dtype: DType, out: &[u8]) -> Option<usize> {
    let traits = dtype.traits();
    if let Some(at) = dtype.is_quantized().then(|| dtype.too_large(values)).flatten() {
        return Some(at);
    }
    if (traits.finite)(out) {
        return None;
    }
    let block = out.chunks_exact(traits.bytes).position(|block| !(traits.finite)(block))?;
    let values = &values[block * traits.block..(block + 1) * traits.block];
    let largest = (0..values.len()).max_by(|a, b| values[*a].abs().total_cmp(&values[*b].abs()));
    Some(block * traits.block + largest.unwrap_or(0))
}

/// Rows whose blocks hold the very values.
struct Exact {
    source: Tensor,
    dtype: DType,
}

impl Rows for Exact {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let row = self.source.row_elements()?;
        let mut values = vec![0f32; rows.len() * row];
        self.source.decode_rows(rows.clone(), &mut values)?;
        self.dtype.encode_exactly(&values, out).map_err(|block| {
            let at = block * self.dtype.block();
            Error::invalid(format!("no block of {} holds these weights as they are", self.dtype))
                .tensor(&self.source.name)
                .found(format!(
                    "other values in row {} from column {} on",
                    rows.start + at / row.max(1),
                    at % row.max(1)
                ))
                .hint("choose a --type for this model")
        })
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.source.prefetch(rows);
    }

    fn release(&self, rows: Range<usize>) {
        self.source.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        into.add(b"exactly");
        into.add(self.dtype.to_string().as_bytes());
        self.source.identify(into);
    }
}

impl Tensor {
    /// The same weights in blocks of a dtype of [`crate::quant::EXACT`] that hold the very values, which is found out when rows are read.
    ///
    /// # Errors
    /// The rows are not of whole blocks, or not of numbers.
    pub fn encode_exactly(self, dtype: DType) -> Result<Tensor> {
        self.decodable()?;
        let (name, shape) = (self.name.clone(), *self.shape());
        Tensor::new(&name, shape, dtype, Arc::new(Exact { source: self, dtype }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;

    #[test]
    fn blocks_that_cannot_hold_the_values_are_told_by_row_and_column() {
        let mut values: Vec<f32> = (0..128).map(|i| (i % 16) as f32 - 8.0).collect();
        values[99] = 0.3;
        let tensor = Tensor::in_memory("x", Shape::new(&[64, 2]).unwrap(), &values).unwrap();
        let exact = tensor.encode_exactly(DType::Q4_0).unwrap();
        let mut row = vec![0; exact.row_bytes()];
        assert!(exact.read(0..1, &mut row).is_ok());
        let error = exact.read(1..2, &mut row).unwrap_err().to_string();
        assert!(error.contains("'x'") && error.contains("row 1 from column 32 on"), "{error}");
    }
}
