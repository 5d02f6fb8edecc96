//! Which eights of splits may have one that is better than the best: serves `split.rs`, which computes those as the scalar
//! code does. The sums of a split are told apart into what depends on where its third run begins and what on where its
//! second does, so that a split costs half; how far they are off is bounded.

use fearless_simd::{Simd, f32x8, prelude::*};

/// The sums of splits of 32 weights, for both shifts.
pub struct Rough {
    /// By the third run, as if there were no first: `w * q * x` and `w * q * q`.
    pub x: [[f32; 40]; 2],
    pub w: [[f32; 40]; 2],
    /// By the second run, what the first adds to the latter. It takes the running sum of `w * x` from the former, for its
    /// value is one less than that of the second.
    pub first: [[f32; 40]; 2],
    sums: [f32; 40],
    /// Whether that is near enough to what the scalar code computes.
    is_near: bool,
}

impl Rough {
    /// With sums to be filled in. `x` are the running sums of `w * x`, none of them larger than `most`, `weights` is the sum of
    /// all weights, `score` that of the best so far.
    ///
    /// With `u = 2^-24` both the scalar code's and these sums `w * q * x` are off by less than `12 u most`, and `w * q * q` by
    /// less than `10 u weights`. No value is smaller than 1/8, so that the latter is at least `weights / 64`; where the score
    /// of the best is at least `most² / (100 weights)` the former is at least `most / 80` for any that is better. So scores
    /// differ by less than a part in 1900.
    pub fn new(score: f32, x: &[f32; 40], most: f32, weights: f32) -> Self {
        let none = [[0.0; 40]; 2];
        let is_near = score > 0.0 && score * weights >= 0.01 * most * most;
        Rough { x: none, w: none, first: none, sums: *x, is_near }
    }

    /// Whether one of the eight splits, of which the first has these ends, may have a larger score.
    #[inline(always)]
    pub fn reaches<S: Simd>(&self, simd: S, (second, third): (usize, usize), score: f32) -> bool {
        if !self.is_near {
            return true;
        }
        const LESS: f32 = 1.0 - 1e-3;
        let score = score * LESS;
        let before = self.sums[second];
        let mut any = 0;
        for s in 0..2 {
            let x = f32x8::from_slice(simd, &self.x[s][third..third + 8]) - before;
            let w = f32x8::from_slice(simd, &self.w[s][third..third + 8]) + self.first[s][second];
            any |= (x * x).simd_gt(w * score).to_bitmask();
        }
        any != 0
    }
}

/// The largest magnitude of running sums; what is no number does not count.
#[inline(always)]
pub fn largest_sum<S: Simd>(simd: S, sums: &[f32; 40]) -> f32 {
    let mut most = f32x8::splat(simd, 0.0);
    for sums in sums.as_chunks().0 {
        let sums = f32x8::load_array_ref(simd, sums).abs();
        most = sums.simd_gt(most).select(sums, most);
    }
    largest(most)
}

/// The largest of the lanes; of what is no number, anything.
#[inline(always)]
pub fn largest<S: Simd>(x: f32x8<S>) -> f32 {
    let mut largest = 0.0;
    for x in x.to_array() {
        largest = if x > largest { x } else { largest };
    }
    largest
}
