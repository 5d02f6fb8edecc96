//! How many bytes dtypes take, and how many a limit allows: of the file with its padding, or of the weights alone.

use super::goal::Limit;
use crate::ftype::{self, Assignment, Facts};
use ggraft_formats::{DType, Error, Model, Result, gguf};

/// How many bytes count.
pub(super) struct Sizes<'a> {
    pub alignment: u64,
    pub overhead: u64,
    pub budget: &'a Limit,
}

impl<'a> Sizes<'a> {
    pub fn new(model: &Model, budget: &'a Limit, overhead: u64) -> Result<Sizes<'a>> {
        Ok(Sizes { alignment: gguf::alignment(&model.metadata)?, overhead, budget })
    }

    /// Whether the weights alone count, and not the file.
    pub fn is_weights(&self) -> bool {
        matches!(self.budget, Limit::Bits(_))
    }

    /// What counts beside the tensors.
    pub fn fixed(&self) -> u64 {
        if self.is_weights() { 0 } else { self.overhead }
    }

    /// A tensor of this dtype, in a file with its padding.
    pub fn one(&self, tensor: &ftype::TensorFact, dtype: DType) -> Result<u64> {
        let bytes = dtype.row_bytes(tensor.shape.row()).and_then(|row| row.checked_mul(tensor.shape.rows()));
        let counted = bytes.and_then(|bytes| {
            if self.is_weights() { Some(bytes) } else { bytes.checked_next_multiple_of(self.alignment) }
        });
        counted.ok_or_else(|| {
            Error::invalid(format!("the tensor cannot be of dtype {dtype}"))
                .tensor(tensor.name)
                .found(tensor.shape)
        })
    }

    /// All tensors, and what counts beside them.
    pub fn of(&self, facts: &Facts, assignments: &[Assignment]) -> Result<u64> {
        let mut sum = self.fixed();
        for (tensor, given) in facts.tensors.iter().zip(assignments) {
            sum = sum.saturating_add(self.one(tensor, given.dtype)?);
        }
        Ok(sum)
    }
}

/// The bytes of so many bits a weight, rounded down.
pub(super) fn weights_limit(facts: &Facts, bits: f64) -> u64 {
    let elements: u64 = facts.tensors.iter().map(|t| t.shape.elements()).sum();
    (elements as f64 * bits / 8.0) as u64
}
