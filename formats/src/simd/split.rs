//! The search for the best split of sorted weights into three runs, eight splits side by side: `quant/split.rs`. A lane is
//! a split and its sums are those of the scalar code, in its order; where a lane is better than what was best before its
//! eight, they are met one by one.

use super::Level;
use fearless_simd::{Simd, dispatch, f32x8, prelude::*};

/// The best split so far. Of equal ones the first stays.
pub struct Best {
    pub score: f32,
    pub scale: f32,
    /// Where the second run begins, and where the third.
    pub ends: (usize, usize),
    /// Which of the shifts, or of their pairs; `usize::MAX` if no split has weights.
    pub shift: usize,
}

impl Best {
    pub const NONE: Best = Best { score: f32::MIN, scale: 0.0, ends: (0, 0), shift: usize::MAX };

    #[inline(always)]
    pub fn meet(&mut self, sumqx: f32, sumq2: f32, ends: (usize, usize), shift: usize) {
        if sumq2 > 0.0 && sumqx * sumqx > self.score * sumq2 {
            let scale = sumqx / sumq2;
            *self = Best { score: scale * sumqx, scale, ends, shift };
        }
    }

    /// Meets eight splits, of which the first begins its third run at `third`, each with all its shifts.
    #[inline(always)]
    fn meet_eight<S: Simd, const SHIFTS: usize>(
        &mut self,
        found: &[[f32x8<S>; 2]; SHIFTS],
        (second, third): (usize, usize),
    ) {
        let mut any = found[0][1].simd_lt(0.0);
        for [sumqx, sumq2] in found {
            any |= sumq2.simd_gt(0.0) & (*sumqx * *sumqx).simd_gt(*sumq2 * self.score);
        }
        if !any.any_true() {
            return;
        }
        let found = found.map(|pair| pair.map(|sums| sums.to_array()));
        for i in 0..8 {
            for (shift, [sumqx, sumq2]) in found.iter().enumerate() {
                self.meet(sumqx[i], sumq2[i], (second, third + i), shift);
            }
        }
    }
}

/// Running sums of `w * x` and of `w` in the order of the values, from 0 on; NaN, which is no better than anything, stands
/// for seven more.
#[derive(Clone, Copy)]
pub struct Running<const N: usize> {
    pub x: [f32; N],
    pub w: [f32; N],
}

impl<const N: usize> Running<N> {
    pub const START: Running<N> = {
        let mut sums = [f32::NAN; N];
        sums[0] = 0.0;
        Running { x: sums, w: sums }
    };
}

/// The best split of 32 weights whose values are, without the scale, one of these threes.
pub fn split_in_step(level: Level, sums: &Running<40>, values: &[[f32; 3]; 2]) -> Best {
    dispatch!(level, simd => in_step(simd, sums, values))
}

#[inline(always)]
fn in_step<S: Simd>(simd: S, sums: &Running<40>, values: &[[f32; 3]; 2]) -> Best {
    let mut best = Best::NONE;
    // What the third run adds.
    let last = values
        .map(|v| [sums.x.map(|x| (sums.x[32] - x) * v[2]), sums.w.map(|w| (sums.w[32] - w) * v[2] * v[2])]);
    for second in 0..=32 {
        let (x0, w0) = (sums.x[second], sums.w[second]);
        for third in (second..=32).step_by(8) {
            let x = f32x8::from_slice(simd, &sums.x[third..third + 8]) - x0;
            let w = f32x8::from_slice(simd, &sums.w[third..third + 8]) - w0;
            let mut found = [[x; 2]; 2];
            for s in 0..2 {
                let v = values[s];
                let [last_x, last_w] = &last[s];
                let last_x = f32x8::from_slice(simd, &last_x[third..third + 8]);
                let last_w = f32x8::from_slice(simd, &last_w[third..third + 8]);
                found[s] = [x * v[1] + x0 * v[0] + last_x, w * v[1] * v[1] + w0 * v[0] * v[0] + last_w];
            }
            best.meet_eight(&found, (second, third));
        }
    }
    best
}

/// The best split of 16 weights, of which each half has one of these threes of values: both the first, the second half
/// the second, the first half the second, both the second.
pub fn split_by_halves(level: Level, halves: &[Running<24>; 2], values: &[[f32; 3]; 2]) -> Best {
    dispatch!(level, simd => by_halves(simd, halves, values))
}

#[inline(always)]
fn by_halves<S: Simd>(simd: S, halves: &[Running<24>; 2], values: &[[f32; 3]; 2]) -> Best {
    let mut best = Best::NONE;
    for second in 0..=16 {
        for third in (second..=16).step_by(8) {
            let mut sums = [[[f32x8::splat(simd, 0.0); 2]; 2]; 2];
            for h in 0..2 {
                let half = &halves[h];
                let x = f32x8::from_slice(simd, &half.x[third..third + 8]) + half.x[second];
                let w = f32x8::from_slice(simd, &half.w[third..third + 8]);
                for s in 0..2 {
                    let v = values[s];
                    let (one, two) = (v[0] * v[0] - v[1] * v[1], v[1] * v[1] - v[2] * v[2]);
                    let before = half.w[16] * v[2] * v[2] + half.w[second] * one;
                    let all = f32x8::splat(simd, half.x[16] * v[2]);
                    sums[h][s] = [all - x, w * two + before];
                }
            }
            let [a, b] = sums;
            let mut found = [a[0]; 4];
            for (k, found) in found.iter_mut().enumerate() {
                let (a, b) = (a[k / 2], b[k % 2]);
                *found = [a[0] + b[0], a[1] + b[1]];
            }
            best.meet_eight(&found, (second, third));
        }
    }
    best
}
