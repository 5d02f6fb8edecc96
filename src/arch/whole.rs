//! Changes of every element that a number of the whole tensor decides: its mean, or the mean of its magnitudes. The sum is in
//! f64 and in index order, and rounded once; it is made when the first row is asked for, row by row.
//! Specification: `BitnetModel.weight_quant`, `SarvamMoEModel.filter_tensors` of llama.cpp's converter.

use super::stored::store;
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Rows, Tensor};
use half::{bf16, f16};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A change of this kind.
#[derive(Debug)]
pub struct Whole {
    pub name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Centred,
    Ternary,
}

impl Whole {
    /// The mean is taken off, in the arithmetic of the tensor's own dtype.
    pub const CENTRED: Whole = Whole { name: "w - mean(w)", kind: Kind::Centred };

    /// Each weight becomes -s, 0 or s, where s is the mean of the magnitudes. What has three such values already stays.
    pub const TERNARY: Whole =
        Whole { name: "the nearest of -s, 0, s with s = mean(|w|)", kind: Kind::Ternary };

    /// Whether a merge of what is changed is the change of what is merged.
    pub fn is_linear(&self) -> bool {
        self.kind == Kind::Centred
    }

    /// `tensor` with every element changed.
    pub fn applied(&'static self, tensor: Tensor) -> Result<Tensor> {
        let half = tensor.dtype() == DType::F16;
        let (name, shape) = (tensor.name.clone(), *tensor.shape());
        let dtype = if half { DType::F16 } else { DType::F32 };
        Tensor::new(
            &name,
            shape,
            dtype,
            Arc::new(Changed { source: tensor, by: self, half, told: OnceLock::new() }),
        )
    }
}

/// Rows whose elements are changed.
struct Changed {
    source: Tensor,
    by: &'static Whole,
    /// Whether the result is f16.
    half: bool,
    /// The number that decides, once it is known; none if nothing changes.
    told: OnceLock<Option<f32>>,
}

impl Changed {
    fn number(&self) -> Result<Option<f32>> {
        if let Some(told) = self.told.get() {
            return Ok(*told);
        }
        let (rows, row) = (self.source.shape().rows() as usize, self.source.row_elements()?);
        let (mut sum, mut largest, mut ternary) = (0.0f64, 0.0f32, true);
        let mut values = vec![0f32; row];
        for at in 0..rows {
            self.source.decode_rows(at..at + 1, &mut values)?;
            for x in &values {
                let magnitude = x.abs();
                ternary &= magnitude == 0.0 || largest == 0.0 || magnitude == largest;
                largest = largest.max(magnitude);
                sum += f64::from(if self.by.kind == Kind::Centred { *x } else { magnitude });
            }
        }
        let mean = sum / (rows.saturating_mul(row).max(1)) as f64;
        if !mean.is_finite() {
            return Err(Error::invalid("the mean of the weights is no number").tensor(&self.source.name));
        }
        let told = match self.by.kind {
            Kind::Centred => Some(self.rounded(mean as f32)),
            Kind::Ternary => (!ternary).then_some((mean as f32).max(1e-5)),
        };
        Ok(*self.told.get_or_init(|| told))
    }

    /// As the dtype of the tensor holds it.
    fn rounded(&self, x: f32) -> f32 {
        match self.source.dtype() {
            DType::F16 => f16::from_f32(x).to_f32(),
            DType::BF16 => bf16::from_f32(x).to_f32(),
            _ => x,
        }
    }

    fn change(&self, x: f32, by: f32) -> f32 {
        match self.by.kind {
            Kind::Centred => self.rounded(x - by),
            Kind::Ternary => {
                let inverse = 1.0 / by;
                (x * inverse).round_ties_even().clamp(-1.0, 1.0) / inverse
            }
        }
    }
}

impl Rows for Changed {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let number = self.number()?;
        let mut values = vec![0f32; rows.len() * self.source.row_elements()?];
        self.source.decode_rows(rows, &mut values)?;
        store(values.into_iter().map(|x| number.map_or(x, |by| self.change(x, by))), self.half, out);
        Ok(())
    }

    fn origin(&self) -> Option<Tensor> {
        Some(self.source.clone())
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.source.prefetch(rows);
    }

    fn release(&self, rows: Range<usize>) {
        self.source.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        into.add(self.by.name.as_bytes());
        self.source.identify(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Shape;

    fn changed(by: &'static Whole, values: &[f32]) -> Vec<f32> {
        let shape = Shape::new(&[2, values.len() as u64 / 2]).unwrap();
        let tensor = by.applied(Tensor::in_memory("x", shape, values).unwrap()).unwrap();
        let mut out = vec![0.0; values.len()];
        let half = values.len() / 2;
        // The last row first: what decides is of all rows.
        tensor.decode_rows(half / 2..half, &mut out[half / 2 * 2..]).unwrap();
        tensor.decode_rows(0..half / 2, &mut out[..half / 2 * 2]).unwrap();
        out
    }

    #[test]
    fn weights_become_one_of_three_and_stay_so() {
        let once = changed(&Whole::TERNARY, &[1.0, -3.0, 0.5, 0.25, 4.0, -1.0, 0.0, 2.25]);
        assert_eq!(once, [1.5, -1.5, 0.0, 0.0, 1.5, -1.5, 0.0, 1.5]);
        assert_eq!(changed(&Whole::TERNARY, &once), once);
    }

    #[test]
    fn a_centred_tensor_has_a_mean_of_zero() {
        assert_eq!(changed(&Whole::CENTRED, &[1.0, 2.0, 3.0, 6.0]), [-2.0, -1.0, 0.0, 3.0]);
    }
}
