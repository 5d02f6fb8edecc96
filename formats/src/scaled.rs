//! Rows times a factor of each matrix: what stands under a scale of the whole. `Tensor::times` makes them.

use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::quant::DType;
use crate::tensor::{Rows, Tensor};
use std::ops::Range;
use std::sync::Arc;

struct Scaled {
    source: Tensor,
    /// One a matrix, or one of all.
    factors: Arc<[f32]>,
    most: f32,
}

impl Scaled {
    /// The factor of a row.
    fn factor(&self, row: usize) -> f32 {
        let per_matrix = self.source.shape().dim(1).max(1) as usize;
        self.factors[row / per_matrix % self.factors.len()]
    }

    fn too_large(&self, row: usize, column: usize, x: f32) -> Error {
        Error::invalid("a weight is too large for the scale of its tensor")
            .tensor(&self.source.name)
            .expected(format!("at most {} in magnitude", self.most / self.factor(row).abs()))
            .found(format!("{x} at row {row}, column {column}"))
            .hint(format!(
                "the checkpoint may be damaged; else choose another dtype: --tensor-type {}=q8_0",
                self.source.name.trim_end_matches(".weight")
            ))
    }
}

impl Rows for Scaled {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let mut values = vec![0f32; rows.len() * self.source.row_elements()?];
        self.decode(rows, &mut values)?;
        for (out, x) in out.as_chunks_mut().0.iter_mut().zip(values) {
            *out = x.to_le_bytes();
        }
        Ok(())
    }

    fn decode(&self, rows: Range<usize>, out: &mut [f32]) -> Result<bool> {
        self.source.decode_rows(rows.clone(), out)?;
        let row = self.source.row_elements()?.max(1);
        for (i, values) in rows.zip(out.chunks_exact_mut(row)) {
            let factor = self.factor(i);
            values.iter_mut().for_each(|x| *x *= factor);
            if let Some(at) = values.iter().position(|x| x.is_nan() || x.abs() > self.most) {
                return Err(self.too_large(i, at, values[at] / factor));
            }
        }
        Ok(true)
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.source.prefetch(rows);
    }

    fn release(&self, rows: Range<usize>) {
        self.source.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        into.importance(Some(&self.factors));
        self.source.identify(into);
    }
}

impl Tensor {
    /// The tensor times `factors`, of which there is one a matrix or one of all, as f32; a product above `most` in magnitude
    /// is refused when it is read.
    ///
    /// # Errors
    /// There is no decoder, or the factors are others.
    pub fn times(self, factors: Arc<[f32]>, most: f32) -> Result<Tensor> {
        self.decodable()?;
        let (name, shape) = (self.name.clone(), *self.shape());
        if factors.len() != 1 && factors.len() as u64 != shape.dim(2) {
            return Err(Error::invalid("the scales do not fit the tensor")
                .tensor(&name)
                .expected(format!("1, or {} of its matrices", shape.dim(2)))
                .found(factors.len()));
        }
        Tensor::new(&name, shape, DType::F32, Arc::new(Scaled { source: self, factors, most }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    #[test]
    fn each_matrix_is_multiplied_by_its_own_factor() {
        let values: Vec<f32> = (1..=12).map(|i| i as f32).collect();
        let tensor = Tensor::in_memory("a", Shape::new(&[2, 3, 2]).unwrap(), &values).unwrap();
        let scaled = tensor.clone().times([2.0, 0.5].into(), f32::MAX).unwrap();
        let mut found = [0.0; 8];
        scaled.decode_rows(2..6, &mut found).unwrap();
        assert_eq!(found, [10.0, 12.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0]);
        let bytes = scaled.with_rows(0..1, |bytes| Ok(bytes.to_vec())).unwrap();
        assert_eq!(bytes, [2f32, 4.0].map(f32::to_le_bytes).concat());
        assert!(tensor.times([1.0; 3].into(), f32::MAX).is_err());
    }

    #[test]
    fn what_is_too_large_is_told_as_it_was() {
        let tensor = Tensor::in_memory("a.weight", Shape::new(&[2, 2]).unwrap(), &[1.0, 2.0, 3.0, -9.0]);
        let scaled = tensor.unwrap().times([64.0].into(), 512.0).unwrap();
        let said = scaled.decode_rows(0..2, &mut [0.0; 4]).unwrap_err().to_string();
        assert!(said.contains("-9 at row 1, column 1") && said.contains("at most 8"), "{said}");
    }
}
