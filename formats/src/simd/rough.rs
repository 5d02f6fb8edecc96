//! Which splits of eight sub-blocks may be the best of theirs: serves `split.rs`, which computes those as the scalar code does.
//! A lane is a sub-block. Neighbouring values of a code differ by 1, so that the sums of a split are a difference and a sum of
//! what depends on where its second run begins and of what on where its third does; how far the scores that come of it are
//! off is bounded.

use super::running::{Running, SHIFTED};
use fearless_simd::{Simd, f32x8, prelude::*};

/// Sub-blocks that are searched abreast.
pub const ABREAST: usize = 8;

/// How far the approximate inverse is off: `Simd::approximate_recip_f32x8`.
const INVERSE: f32 =
    if cfg!(any(target_arch = "x86", target_arch = "x86_64")) { 1.5 / 4096.0 } else { 1.0 / 256.0 };

/// What `T` splits with `K` combinations of shifts are made of, by where a run begins.
pub struct Rough<const P: usize, const K: usize, const T: usize> {
    /// What is left of `w * q * x` if the third run begins there, and what that makes of `w * q * q`.
    third: [[[[f32; ABREAST]; 2]; K]; P],
    /// What the latter gains if the second run begins there.
    second: [[[f32; ABREAST]; K]; P],
    /// The sums of `w * x` of what comes before: what the former loses.
    before: [[f32; ABREAST]; P],
    /// The largest score of each split, in their order.
    scores: [[f32; ABREAST]; T],
    /// Of those that may be the best for which sub-blocks, and where the third and the second run begin, a byte each.
    reached: [u32; T],
}

impl<const P: usize, const K: usize, const T: usize> Rough<P, K, T> {
    pub const ZERO: Self = Rough {
        third: [[[[0.0; ABREAST]; 2]; K]; P],
        second: [[[0.0; ABREAST]; K]; P],
        before: [[0.0; ABREAST]; P],
        scores: [[0.0; ABREAST]; T],
        reached: [0; T],
    };

    /// Scores all splits. The result is what the score of a split must reach that may be the best of its lane; infinity where
    /// numbers are so small or so large that it is not known.
    ///
    /// With `u = 2^-24`, `most` the largest running sums of `w * x` and `weights` the sum of all weights, both the scalar
    /// code's and these sums `w * q * x` are off by less than `12 u most`, and `w * q * q` by less than `12 u weights`. No
    /// value is smaller than 1/8, so that the latter is at least `weights / 64`; where the largest score is at least
    /// `most² / (4 weights)` (that of the split at 0 is) the former is at least `most / 16` for all that come near it. So
    /// scores differ by less than a part in 7000, and by what the inverse is off.
    ///
    /// A split that is 0.06 % worse than another can be left out: the scalar code's scores are rounded, so that of two that
    /// differ by less than 2.4e-7 either may stay, but even all 1122 in a row come no further than 0.03 %, and then the
    /// better one takes their place.
    #[inline(always)]
    pub fn fill<S: Simd, const H: usize>(&mut self, simd: S, parts: &[Running<P, ABREAST>; H]) -> f32x8<S> {
        const LESS: f32 = 1.0 - (9e-4 + 2.0 * INVERSE);
        const LEAST: f32 = 1e-14;
        const LARGEST: f32 = 1e14;
        let zero = f32x8::splat(simd, 0.0);
        let (mut most, mut weights) = (zero, zero);
        for part in parts {
            let mut largest = zero;
            for x in &part.x {
                largest = largest.max(f32x8::load_array_ref(simd, x).abs());
            }
            most += largest;
            weights += f32x8::load_array_ref(simd, &part.w[P - 1]);
        }
        self.tell_apart(simd, parts);
        let best = self.score(simd);
        let is_near = (best * weights).simd_ge(most * most * 0.25);
        let is_safe = best.simd_gt(LEAST) & best.simd_lt(LARGEST);
        let is_safe = is_safe & weights.simd_gt(LEAST) & weights.simd_lt(LARGEST);
        (is_near & is_safe).select(best * LESS, f32x8::splat(simd, f32::INFINITY))
    }

    /// What depends on where the second run begins and what on where the third does.
    #[inline(always)]
    fn tell_apart<S: Simd, const H: usize>(&mut self, simd: S, parts: &[Running<P, ABREAST>; H]) {
        let zero = f32x8::splat(simd, 0.0);
        for place in 0..P {
            let mut before = zero;
            for part in parts {
                before += f32x8::load_array_ref(simd, &part.x[place]);
            }
            before.store_array(&mut self.before[place]);
            for k in 0..K {
                let (mut x, mut second, mut third) = (zero, zero, zero);
                for (h, part) in parts.iter().enumerate() {
                    // The last part has the lowest bit.
                    let v = SHIFTED[k >> (H - 1 - h) & 1];
                    let w = f32x8::load_array_ref(simd, &part.w[place]);
                    x += f32x8::load_array_ref(simd, &part.x[P - 1]) * v[2];
                    second += w * (v[0] * v[0] - v[1] * v[1]);
                    third += f32x8::load_array_ref(simd, &part.w[P - 1]) * (v[2] * v[2]);
                    third += w * (v[1] * v[1] - v[2] * v[2]);
                }
                second.store_array(&mut self.second[place][k]);
                (x - before).store_array(&mut self.third[place][k][0]);
                third.store_array(&mut self.third[place][k][1]);
            }
        }
    }

    /// The scores of all splits, and the largest of each lane.
    #[inline(always)]
    fn score<S: Simd>(&mut self, simd: S) -> f32x8<S> {
        let mut best = f32x8::splat(simd, 0.0);
        let mut scores = self.scores.iter_mut();
        for (second, before) in self.before.iter().enumerate() {
            let before = f32x8::load_array_ref(simd, before);
            let mut first = [before; K];
            for (first, second) in first.iter_mut().zip(&self.second[second]) {
                *first = f32x8::load_array_ref(simd, second);
            }
            for (third, score) in self.third[second..].iter().zip(&mut scores) {
                let mut largest = f32x8::splat(simd, 0.0);
                for k in 0..K {
                    let x = f32x8::load_array_ref(simd, &third[k][0]) - before;
                    let w = f32x8::load_array_ref(simd, &third[k][1]) + first[k];
                    largest = largest.max(x * x * w.approximate_recip());
                }
                largest.store_array(score);
                best = best.max(largest);
            }
        }
        best
    }

    /// The splits that reach this: for which sub-blocks, and where the third and the second run begin, a byte each.
    #[inline(always)]
    pub fn reached<S: Simd>(&mut self, simd: S, enough: f32x8<S>) -> &[u32] {
        let mut count = 0;
        let mut scores = self.scores.iter();
        for second in 0..P {
            for (third, score) in (second..P).zip(&mut scores) {
                let lanes = f32x8::load_array_ref(simd, score).simd_ge(enough).to_bitmask() as u32;
                // Without a branch, which none could foresee.
                self.reached[count] = (second as u32) << 16 | (third as u32) << 8 | lanes;
                count += usize::from(lanes != 0);
            }
        }
        &self.reached[..count]
    }
}
