//! In what pieces the rows of a tensor are computed and written.

use crate::error::Result;
use crate::tensor::Tensor;

/// Weights that a thread writes at a time, unless a single row is longer.
pub const CHUNK: usize = 1 << 18;

/// Weights that are computed at a time, unless a single row is longer: what lies between the steps of the line stays
/// in the core's own cache.
pub const BLOCK: usize = 1 << 13;

/// How many rows of a tensor make a piece.
pub(super) fn step(tensor: &Tensor) -> Result<usize> {
    Ok((CHUNK / tensor.row_elements()?.max(1)).max(1))
}
