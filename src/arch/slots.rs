//! Stacks of which GGUF has one matrix more than the trainer: zeros, in front of all.
//! Specification: `GraniteSwitchModel._lora_a`, `_lora_b` of llama.cpp's converter.

use super::axes::{Piece, Step};
use super::moved::{Zeros, moved, shape};
use ggraft_formats::{Error, Result, Tensor};
use std::sync::Arc;

/// `stack` behind a matrix of zeros.
pub fn behind_zeros(stack: Tensor) -> Result<Tensor> {
    let (torch, matrix) = dims(&stack)?;
    let zeros = Tensor::new("zeros", *stack.shape(), stack.dtype(), Arc::new(Zeros))?;
    let piece = |source, to, size| {
        let step = Step { size, from: 1, to: 1, tensor: 0 };
        Piece { source, from: 0, to, steps: vec![step] }
    };
    let pieces = [piece(0, 0, matrix), piece(1, matrix, matrix.saturating_mul(torch[0]))];
    let all = [&[torch[0].saturating_add(1)], &torch[1..]].concat();
    moved(&stack.name.clone(), &all, vec![zeros, stack], &pieces)
}

/// `stack` without its first matrix.
pub fn without_first(stack: Tensor) -> Result<Tensor> {
    let (torch, matrix) = dims(&stack)?;
    let left = torch[0].saturating_sub(1);
    let step = Step { size: matrix.saturating_mul(left), from: 1, to: 1, tensor: 0 };
    let all = [&[left], &torch[1..]].concat();
    let piece = Piece { source: 0, from: matrix, to: 0, steps: vec![step] };
    moved(&stack.name.clone(), &all, vec![stack], &[piece])
}

/// The dimensions, the outermost first, and how many elements a matrix of the stack has.
fn dims(stack: &Tensor) -> Result<(Vec<u64>, u64)> {
    let torch: Vec<u64> = stack.shape().ne().iter().rev().copied().collect();
    if torch.len() != 3 || shape(&stack.name, &torch).is_err() {
        let error = Error::invalid("the tensor is no stack of matrices").tensor(&stack.name);
        return Err(error.expected("three dimensions").found(format!("{torch:?}")));
    }
    let matrix = torch[1].saturating_mul(torch[2]);
    Ok((torch, matrix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(tensor: &Tensor) -> Vec<f32> {
        let mut out = vec![0.0; tensor.shape().elements() as usize];
        tensor.decode_rows(0..tensor.shape().rows() as usize, &mut out).unwrap();
        out
    }

    #[test]
    fn zeros_stand_in_front_and_go_again() {
        let numbers: Vec<f32> = (1..=12).map(|n| n as f32).collect();
        let stack = Tensor::in_memory("x", shape("x", &[2, 2, 3]).unwrap(), &numbers).unwrap();
        let more = behind_zeros(stack.clone()).unwrap();
        assert_eq!(more.shape().ne(), &[3, 2, 3]);
        assert_eq!(values(&more), [vec![0.0; 6], numbers.clone()].concat());
        assert_eq!(values(&without_first(more).unwrap()), numbers);
    }
}
