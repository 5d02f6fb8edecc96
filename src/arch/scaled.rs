//! Tensors whose elements are multiplied with numbers of the config: multipliers that GGUF has no key for. A multiple
//! of a merge is the merge of the multiples, so these are merged as they are.
//! Specification: `FalconH1Model`, `JaisModel`, `Rwkv6Model` of llama.cpp's converter.

use super::params::Params;
use ggraft_formats::packed::{Runs, divide, multiply, round};
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Result, Rows, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// A number, and the rows that it multiplies.
#[derive(Clone, Debug)]
pub struct Factor {
    pub by: f32,
    pub rows: Range<u64>,
}

/// Numbers that are multiplied with one after the other, as the config tells them.
#[derive(Debug)]
pub struct Times {
    /// What a user reads.
    pub name: &'static str,
    /// Of this layer.
    pub factors: fn(&Params<'_>, u32) -> Result<Vec<Factor>>,
}

/// One that multiplies every row.
pub fn all(by: f64) -> Factor {
    Factor { by: by as f32, rows: 0..u64::MAX }
}

impl Times {
    /// The trainer's `tensor` as a GGUF has it: in f16 where the checkpoint has f16, and rounded after each factor, as
    /// the converter computes.
    pub fn applied(&self, tensor: Tensor, params: &Params<'_>, layer: u32) -> Result<Tensor> {
        let factors = (self.factors)(params, layer)?;
        if factors.iter().all(|factor| factor.by == 1.0) {
            return Ok(tensor);
        }
        let half = tensor.dtype() == DType::F16;
        scaled(tensor, factors, half, true)
    }

    /// GGUF's `tensor` as the trainer had it: divided, which gives numbers whose products are those of the GGUF again.
    pub fn undone(&self, tensor: Tensor, params: &Params<'_>, layer: u32) -> Result<Tensor> {
        let mut factors = (self.factors)(params, layer)?;
        if factors.iter().all(|factor| factor.by == 1.0) {
            return Ok(tensor);
        }
        if let Some(origin) = tensor.origin() {
            return Ok(origin);
        }
        factors.reverse();
        scaled(tensor, factors, false, false)
    }
}

fn scaled(source: Tensor, factors: Vec<Factor>, half: bool, forth: bool) -> Result<Tensor> {
    let (name, shape) = (source.name.clone(), *source.shape());
    let dtype = if half { DType::F16 } else { DType::F32 };
    Tensor::new(&name, shape, dtype, Arc::new(Scaled { source, factors, half, forth }))
}

/// Rows that are multiplied.
struct Scaled {
    source: Tensor,
    factors: Vec<Factor>,
    /// Whether the result is f16.
    half: bool,
    forth: bool,
}

impl Scaled {
    fn scale(&self, row: usize, values: &mut [f32]) -> Result<()> {
        for factor in self.factors.iter().filter(|factor| factor.rows.contains(&(row as u64))) {
            let by = if self.forth { multiply } else { divide };
            by(values, Runs::one(&factor.by));
            if self.half {
                round(DType::F16, values)?;
            }
        }
        Ok(())
    }
}

impl Rows for Scaled {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let row = self.source.row_elements()?;
        let mut values = vec![0f32; rows.len() * row];
        self.source.decode_rows(rows.clone(), &mut values)?;
        for (values, at) in values.chunks_mut(row.max(1)).zip(rows) {
            self.scale(at, values)?;
        }
        let dtype = if self.half { DType::F16 } else { DType::F32 };
        dtype.encode(&values, row, None, out)
    }

    fn origin(&self) -> Option<Tensor> {
        self.forth.then(|| self.source.clone())
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.source.prefetch(rows);
    }

    fn release(&self, rows: Range<usize>) {
        self.source.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        into.add(b"times");
        for factor in &self.factors {
            into.numbers([u64::from(factor.by.to_bits()), factor.rows.start, factor.rows.end]);
        }
        into.numbers([u64::from(self.half), u64::from(self.forth)]);
        self.source.identify(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Shape;

    fn values(tensor: &Tensor) -> Vec<f32> {
        let mut out = vec![0.0; tensor.shape().elements() as usize];
        tensor.decode_rows(0..tensor.shape().rows() as usize, &mut out).unwrap();
        out
    }

    #[test]
    fn rows_are_multiplied_in_turn_and_come_back() {
        let shape = Shape::new(&[2, 3]).unwrap();
        let tensor = Tensor::in_memory("x", shape, &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let factors = vec![all(0.5), Factor { by: 4.0, rows: 1..2 }];
        let scaled = scaled(tensor.clone(), factors, false, true).unwrap();
        assert_eq!(values(&scaled), [0.5, 1.0, 6.0, 8.0, 2.5, 3.0]);
        assert_eq!(values(&scaled.origin().unwrap()), values(&tensor));
    }
}
