//! Pairs of E2M1 under scales of 16, which GGUF's blocks of NVFP4 hold as they are: the decoded weight knows its parts.

use super::grid::torch;
use ggraft_formats::{Fours, Number, Result, Tensor};

/// `tensor`, decoded of codes and scales, under a number of the whole and for activations that are divided by another, as a
/// tensor that knows so, if it is a matrix of whole blocks.
pub fn known(
    tensor: Tensor,
    (codes, scales): (&Tensor, &Tensor),
    own: [Number; 2],
    wide_inputs: bool,
) -> Result<Tensor> {
    let single =
        |number: &Number| number.tensor.as_ref().is_none_or(|t| torch(t).iter().product::<u64>() == 1);
    let fours = Fours::of(codes, scales).filter(|_| own.iter().all(single));
    let [whole, inputs] = own.map(|number| vec![number]);
    match fours {
        Some(fours) => Fours { whole, inputs, wide_inputs, ..fours }.known_by(tensor),
        None => Ok(tensor),
    }
}
