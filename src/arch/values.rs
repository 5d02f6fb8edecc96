//! What becomes of the values of a tensor, element by element, and how they come back. The trainer's space is where
//! models are merged: none of these commutes with a merge. Arithmetic is in f32, or in f16 where the checkpoint has
//! f16, as the converter computes.
//! Specification: the `modify_tensors` of llama.cpp's converter.

use super::ids;
use super::scaled::Times;
use super::stored::store;
use super::whole::Whole;
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Result, Rows, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// A change of every element.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    Same,
    /// A number is added: the norms of Gemma multiply with 1 + w.
    Plus(f32),
    /// `-exp(x)`: the decay of a state space, which trainers keep as a logarithm.
    NegExp,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// Numbers of the config multiply it, at adoption: a merge of multiples is the multiple of the merge.
    Times(&'static Times),
    /// Whole numbers, each of which counts from its own place; in GGUF all count from zero, as i64.
    Ids,
    /// Whole numbers, in GGUF as i32.
    Narrow,
    /// A number of the whole tensor changes each element.
    Whole(&'static Whole),
    /// What no other form can say.
    Custom(&'static Custom),
}

/// A change of its own, both ways.
#[derive(Debug)]
pub struct Custom {
    pub name: &'static str,
    pub forth: fn(f32) -> f32,
    pub back: fn(f32) -> f32,
    /// Whether `back` undoes `forth` bit for bit.
    pub exact: bool,
}

impl Value {
    /// An element of GGUF's.
    pub fn forth(self, x: f32) -> f32 {
        match self {
            Value::Same | Value::Times(_) | Value::Ids | Value::Narrow | Value::Whole(_) => x,
            Value::Plus(a) => x + a,
            // Rounded once: what f32's own function gives is not the same on every machine.
            Value::NegExp => -(f64::from(x).exp() as f32),
            // Each step rounded to f32, and a line where the curve is one, as torch computes.
            Value::Softplus if x > 20.0 => x,
            Value::Softplus => f64::from(f64::from(x).exp() as f32).ln_1p() as f32,
            Value::Custom(custom) => (custom.forth)(x),
        }
    }

    /// An element of the trainer's.
    pub fn back(self, x: f32) -> f32 {
        match self {
            Value::Same | Value::Times(_) | Value::Ids | Value::Narrow | Value::Whole(_) => x,
            Value::Plus(a) => x - a,
            Value::NegExp => (-x).ln(),
            Value::Softplus if x > 20.0 => x,
            Value::Softplus => x.exp_m1().ln(),
            Value::Custom(custom) => (custom.back)(x),
        }
    }

    /// Whether `back` undoes `forth` bit for bit, for numbers that a trainer keeps in bf16 and that are no smaller than
    /// the sum can hold.
    pub fn is_exact(self) -> bool {
        match self {
            Value::Same | Value::Plus(_) | Value::Ids | Value::Narrow => true,
            Value::NegExp | Value::Softplus | Value::Times(_) | Value::Whole(_) => false,
            Value::Custom(custom) => custom.exact,
        }
    }

    /// What decides the values, for the identity of a run.
    pub fn identify(self, into: &mut Identity) {
        let (name, by) = match self {
            Value::Same => ("same", 0.0),
            Value::Plus(a) => ("plus", a),
            Value::NegExp => ("neg exp", 0.0),
            Value::Softplus => ("softplus", 0.0),
            Value::Times(times) => (times.name, 0.0),
            Value::Ids => ("ids", 0.0),
            Value::Narrow => ("narrow", 0.0),
            Value::Whole(whole) => (whole.name, 0.0),
            Value::Custom(custom) => (custom.name, 0.0),
        };
        into.add(name.as_bytes());
        into.numbers([u64::from(by.to_bits())]);
    }

    /// `tensor` with every element changed to GGUF's.
    pub fn applied(self, tensor: Tensor) -> Result<Tensor> {
        match self {
            Value::Whole(whole) if !whole.is_linear() => whole.applied(tensor),
            _ => self.changed(tensor, true),
        }
    }

    /// `tensor` with every element changed to the trainer's.
    pub fn undone(self, tensor: Tensor) -> Result<Tensor> {
        self.changed(tensor, false)
    }

    /// Whether nothing changes between the trainer's space and what is merged.
    pub fn is_same(self) -> bool {
        match self {
            Value::Same | Value::Times(_) => true,
            Value::Whole(whole) => whole.is_linear(),
            _ => false,
        }
    }

    /// `tensor`, which a GGUF holds, in the trainer's space: as the checkpoint had it, if it came from one.
    pub fn trained(self, tensor: Tensor) -> Result<Tensor> {
        match tensor.origin() {
            Some(origin) if !self.is_same() => Ok(origin),
            _ => self.undone(tensor),
        }
    }

    fn changed(self, tensor: Tensor, forth: bool) -> Result<Tensor> {
        match self {
            _ if self.is_same() => return Ok(tensor),
            Value::Ids => return ids::counted(tensor, forth),
            Value::Narrow => return ids::narrowed(tensor, forth),
            _ => {}
        }
        let half = tensor.dtype() == DType::F16 && forth;
        let (name, shape) = (tensor.name.clone(), *tensor.shape());
        let dtype = if half { DType::F16 } else { DType::F32 };
        Tensor::new(&name, shape, dtype, Arc::new(Changed { source: tensor, value: self, forth, half }))
    }
}

/// Rows whose elements are changed.
struct Changed {
    source: Tensor,
    value: Value,
    forth: bool,
    /// Whether the result is f16.
    half: bool,
}

impl Rows for Changed {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let mut values = vec![0f32; rows.len() * self.source.row_elements()?];
        self.source.decode_rows(rows, &mut values)?;
        let change = |x: f32| if self.forth { self.value.forth(x) } else { self.value.back(x) };
        store(values.into_iter().map(change), self.half, out);
        Ok(())
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
        self.value.identify(into);
        into.numbers([u64::from(self.forth)]);
        self.source.identify(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_changed_comes_back() {
        for value in [Value::Plus(1.0), Value::NegExp, Value::Softplus] {
            for x in [-0.75f32, 0.0078125, 0.5, 1.25] {
                let back = value.back(value.forth(x));
                assert!(
                    (back - x).abs() <= 1e-6 && (!value.is_exact() || back == x),
                    "{value:?}: {x} {back}"
                );
            }
        }
    }
}
