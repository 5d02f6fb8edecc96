//! A square grid of places, a row each, resized: what stands between two places is between them, the corners stay. For towers
//! that were trained with more places than an image of the size that is used has.
//! Specification: `torch.nn.functional.interpolate` (bilinear, `align_corners`), as `NemotronNanoV2VLModel` of llama.cpp's
//! converter calls it.

use crate::arch::stored::store;
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Rows, Shape, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// The grid `tensor`, a row a place, as one of `side` times `side` places, in f32. One that is so large already stays.
///
/// # Errors
/// The places of the tensor make no square, or those asked for are none.
pub fn resized(tensor: Tensor, side: u64) -> Result<Tensor> {
    let places = tensor.shape().rows();
    let held = places.isqrt();
    if held * held != places || held == 0 || side == 0 {
        return Err(Error::invalid("the places make no square grid")
            .tensor(&tensor.name)
            .expected("as many rows as a square has")
            .found(places));
    }
    if held == side {
        return Ok(tensor);
    }
    let (name, row) = (tensor.name.clone(), tensor.shape().row());
    let shape = side.checked_mul(side).and_then(|places| Shape::new(&[row, places, 1]));
    let shape = shape.ok_or_else(|| Error::invalid("there are too many places").tensor(&name))?;
    let (held, side) = (held as usize, side as usize);
    Tensor::new(&name, shape, DType::F32, Arc::new(Resized { source: tensor, held, side }))
}

/// A larger or smaller grid.
struct Resized {
    source: Tensor,
    /// Places along a side of the source, and of the result.
    held: usize,
    side: usize,
}

/// Between which two places of the source one lies, and how far from the first.
#[derive(Clone, Copy)]
struct Between {
    first: usize,
    second: usize,
    far: f32,
}

impl Resized {
    fn between(&self, at: usize) -> Between {
        let step = if self.side > 1 { (self.held - 1) as f32 / (self.side - 1) as f32 } else { 0.0 };
        let place = step * at as f32;
        let first = (place as usize).min(self.held - 1);
        Between { first, second: (first + 1).min(self.held - 1), far: place - first as f32 }
    }

    /// The four rows of the source that a row is between, and where between.
    fn corners(&self, row: usize) -> ([usize; 4], [f32; 2]) {
        let (y, x) = (self.between(row / self.side), self.between(row % self.side));
        let at = |y: usize, x: usize| y * self.held + x;
        let rows =
            [at(y.first, x.first), at(y.first, x.second), at(y.second, x.first), at(y.second, x.second)];
        (rows, [y.far, x.far])
    }

    /// The rows of the source that `rows` come from.
    fn sources(&self, rows: &Range<usize>) -> Range<usize> {
        let (first, last) = (rows.start / self.side, rows.end.saturating_sub(1) / self.side);
        self.between(first).first * self.held..(self.between(last).second + 1) * self.held
    }
}

impl Rows for Resized {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let row = self.source.row_elements()?;
        let mut corners = vec![vec![0f32; row]; 4];
        let bytes = row * size_of::<f32>();
        for (at, out) in rows.zip(out.chunks_mut(bytes.max(1))) {
            let (places, [y, x]) = self.corners(at);
            for (place, values) in places.into_iter().zip(&mut corners) {
                self.source.decode_rows(place..place + 1, values)?;
            }
            let values = (0..row).map(|i| {
                let across = |a: usize| corners[a][i] * (1.0 - x) + corners[a + 1][i] * x;
                across(0) * (1.0 - y) + across(2) * y
            });
            store(values, false, out);
        }
        Ok(())
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.source.prefetch(self.sources(&rows));
    }

    fn release(&self, rows: Range<usize>) {
        let next = self.sources(&(rows.end..rows.end + 1)).start;
        let own = self.sources(&rows);
        self.source.release(own.start..own.end.min(next.max(own.start)));
    }

    fn identify(&self, into: &mut Identity) {
        into.add(b"resized");
        into.numbers([self.side as u64]);
        self.source.identify(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(held: u64, side: u64) -> Result<Vec<f32>> {
        let values: Vec<f32> = (0..held * held).map(|i| ((i * i) % 7) as f32).collect();
        let tensor = Tensor::in_memory("x", Shape::new(&[1, held * held]).unwrap(), &values).unwrap();
        let tensor = resized(tensor, side)?;
        let mut out = vec![0.0; tensor.shape().rows() as usize];
        let rows = out.len();
        tensor.decode_rows(0..rows, &mut out)?;
        Ok(out)
    }

    #[test]
    fn a_grid_is_interpolated_as_torch_does() {
        assert_eq!(grid(2, 3).unwrap(), [0.0, 0.5, 1.0, 2.0, 1.75, 1.5, 4.0, 3.0, 2.0]);
        assert_eq!(grid(3, 2).unwrap(), [0.0, 4.0, 1.0, 1.0]);
        assert_eq!(grid(2, 2).unwrap(), [0.0, 1.0, 4.0, 2.0]);
        // Of torch 2.15.
        let told = TORCH;
        let found = grid(4, 6).unwrap();
        assert!(found.iter().zip(told).all(|(found, told)| (found - told).abs() < 2e-6), "{found:?}");
    }

    #[test]
    fn what_is_no_square_is_refused() {
        let tensor = Tensor::in_memory("x", Shape::new(&[1, 3]).unwrap(), &[0.0; 3]).unwrap();
        assert!(resized(tensor, 2).is_err());
    }

    const TORCH: [f32; 36] = [
        0.0, 0.6, 1.6, 3.4, 3.2, 2.0, 1.2, 2.16, 2.68, 2.32, 1.64, 0.8, 1.8, 3.12, 3.44, 1.76, 0.88, 0.4,
        1.2, 2.88, 3.56, 2.24, 1.72, 1.6, 2.2, 2.56, 2.48, 1.52, 1.36, 1.6, 4.0, 2.2, 0.8, 0.2, 0.4, 1.0,
    ];
}
