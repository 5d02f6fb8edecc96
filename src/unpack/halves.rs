//! Pairs of E2M1 under scales of 16, which GGUF's blocks of NVFP4 hold as they are: the decoded weight knows its parts.

use super::grid::torch;
use ggraft_formats::{Fours, Number, Result, Tensor};

/// `tensor`, decoded of codes and scales, under a number of the whole and for activations under another (which both divide or
/// multiply), as a tensor that knows so, if it is a matrix of whole blocks.
pub fn known(
    tensor: Tensor,
    (codes, scales): (&Tensor, &Tensor),
    (own, divide): ([Option<&Tensor>; 2], bool),
    wide_inputs: bool,
) -> Result<Tensor> {
    let single = |number: &Option<&Tensor>| number.is_none_or(|t| torch(t).iter().product::<u64>() == 1);
    let fours = Fours::of(codes, scales).filter(|_| own.iter().all(single));
    let number = |tensor| Number::new(tensor, divide).map(|number| vec![number]);
    let [whole, inputs] = [number(own[0])?, number(own[1])?];
    match fours {
        Some(fours) => Fours { whole, inputs, wide_inputs, ..fours }.known_by(tensor),
        None => Ok(tensor),
    }
}
