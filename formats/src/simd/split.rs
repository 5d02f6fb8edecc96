//! The search for the best split of sorted weights into three runs, eight splits side by side: `quant/split.rs`. A lane is
//! a split and its sums are those of the scalar code, in its order; where a lane is better than what was best before its
//! eight, those that are meet the best one by one. So that few are, the search begins with what `Best::from` says.

use super::Level;
use super::rough::{Rough, largest, largest_sum};
use fearless_simd::{Simd, dispatch, f32x8, i32x8, prelude::*};

/// The best split so far. Of equal ones the first stays.
pub struct Best {
    pub score: f32,
    pub scale: f32,
    /// Where the second run begins, and where the third.
    pub ends: (usize, usize),
    /// Which of the shifts, or of their pairs; `usize::MAX` if no split has weights.
    pub shift: usize,
}

/// The sums of eight splits for each of their shifts: `w * q * x` and `w * q * q`.
type Eight<const SHIFTS: usize> = [[[f32; 8]; 2]; SHIFTS];

impl Best {
    pub const NONE: Best = Best { score: f32::MIN, scale: 0.0, ends: (0, 0), shift: usize::MAX };

    /// The beginning of a search among splits of which one has about this score, and whose weights have this sum. A split
    /// that is 0.06 % worse can be left out: scores are rounded, so that of two whose scores differ by less than 2.4e-7
    /// either may stay, but even all 1122 in a row come no further than 0.03 %, and then the one of this score takes their
    /// place. Where numbers may be rounded more than that nothing is left out.
    #[inline(always)]
    fn from(score: f32, weights: f32) -> Best {
        const SAFE: std::ops::Range<f32> = 1e-14..1e14;
        let is_safe = SAFE.contains(&score) && SAFE.contains(&weights);
        Best { score: if is_safe { score * (1.0 - 6e-4) } else { f32::MIN }, ..Best::NONE }
    }

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
        ends: (usize, usize),
    ) {
        let mut better = [0u64; SHIFTS];
        let mut any = 0;
        for s in 0..SHIFTS {
            let [sumqx, sumq2] = found[s];
            // What has no weights is found out below.
            better[s] = (sumqx * sumqx).simd_gt(sumq2 * self.score).to_bitmask();
            any |= better[s];
        }
        if any == 0 {
            return;
        }
        let mut sums = [[[0.0; 8]; 2]; SHIFTS];
        for s in 0..SHIFTS {
            found[s][0].store_array(&mut sums[s][0]);
            found[s][1].store_array(&mut sums[s][1]);
        }
        self.meet_some(&sums, &better, any, ends);
    }

    /// Meets those of eight splits that are better than the best before them.
    #[inline]
    fn meet_some<const SHIFTS: usize>(
        &mut self,
        sums: &Eight<SHIFTS>,
        better: &[u64; SHIFTS],
        any: u64,
        (second, third): (usize, usize),
    ) {
        let mut lanes = any;
        // A score is rounded: where a better split has a smaller one, all that follow it are met.
        let mut all = false;
        while lanes != 0 {
            let i = lanes.trailing_zeros() as usize & 7;
            for s in 0..SHIFTS {
                if all || better[s] >> i & 1 == 1 {
                    let before = self.score;
                    self.meet(sums[s][0][i], sums[s][1][i], (second, third + i), s);
                    all |= self.score < before;
                }
            }
            lanes = if all { (0xff << (i + 1)) & 0xff } else { lanes & (lanes - 1) };
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

    /// Turns what the first `count` places hold into their running sums.
    pub fn add_up(&mut self, count: usize) {
        for i in 1..count.min(N) {
            self.x[i] += self.x[i - 1];
            self.w[i] += self.w[i - 1];
        }
    }
}

/// The place of each element among all, the smallest first, equal ones in their order; none if there is a NaN.
pub fn places<const N: usize>(level: Level, x: &[f32; N]) -> Option<[u8; N]> {
    dispatch!(level, simd => ranks(simd, x))
}

/// Which of eight lanes come after each of them.
const LATER: [[i32; 8]; 8] = {
    let mut later = [[0; 8]; 8];
    let mut i = 0;
    while i < 64 {
        later[i / 8][i % 8] = (i % 8 > i / 8) as i32;
        i += 1;
    }
    later
};

#[inline(always)]
fn ranks<S: Simd, const N: usize>(simd: S, x: &[f32; N]) -> Option<[u8; N]> {
    let (zero, one) = (i32x8::splat(simd, 0), i32x8::splat(simd, 1));
    let mut found = [0; N];
    for (eight, (xs, found)) in x.as_chunks().0.iter().zip(found.as_chunks_mut::<8>().0).enumerate() {
        let xs = f32x8::load_array_ref(simd, xs);
        if xs.simd_eq(xs).to_bitmask() != 0xff {
            return None;
        }
        let (mut before, mut among) = (zero, zero);
        let first = 8 * eight;
        for x in &x[..first] {
            before += xs.simd_ge(*x).select(one, zero);
        }
        for (i, x) in x[first..first + 8].iter().enumerate() {
            let later = i32x8::load_array_ref(simd, &LATER[i]);
            among += xs.simd_ge(*x).select(later, zero) + xs.simd_gt(*x).select(one - later, zero);
        }
        for x in &x[first + 8..] {
            before += xs.simd_gt(*x).select(one, zero);
        }
        *found = (before + among).to_array().map(|place| place as u8);
    }
    Some(found)
}

/// The best split of 32 weights whose values are, without the scale, one of these threes.
pub fn split_in_step(level: Level, sums: &Running<40>, values: &[[f32; 3]; 2]) -> Best {
    dispatch!(level, simd => in_step(simd, sums, values))
}

#[inline(always)]
fn in_step<S: Simd>(simd: S, sums: &Running<40>, values: &[[f32; 3]; 2]) -> Best {
    /// Where the second and the third run begin in splits of which one is nearly the best.
    const LIKELY: [(usize, usize); 6] = [(6, 17), (6, 25), (9, 17), (9, 25), (12, 17), (12, 25)];
    // What the third run adds.
    let mut last = [[[0.0; 40]; 2]; 2];
    for (last, v) in last.iter_mut().zip(values) {
        for first in (0..40).step_by(8) {
            let x = f32x8::splat(simd, sums.x[32]) - f32x8::from_slice(simd, &sums.x[first..first + 8]);
            let w = f32x8::splat(simd, sums.w[32]) - f32x8::from_slice(simd, &sums.w[first..first + 8]);
            (x * v[2]).store_slice(&mut last[0][first..first + 8]);
            (w * v[2] * v[2]).store_slice(&mut last[1][first..first + 8]);
        }
    }
    let mut likely = f32x8::splat(simd, 0.0);
    for ends in LIKELY {
        for [sumqx, sumq2] in &eight_in_step(simd, sums, &last, values, ends) {
            likely = likely.max(*sumqx * *sumqx / *sumq2);
        }
    }
    let mut best = Best::from(largest(likely), sums.w[32]);
    let rough = rough_in_step(simd, sums, &last, values, best.score);
    for second in 0..=32 {
        for third in (second..=32).step_by(8) {
            if !rough.reaches(simd, (second, third), best.score) {
                continue;
            }
            let found = eight_in_step(simd, sums, &last, values, (second, third));
            best.meet_eight(&found, (second, third));
        }
    }
    best
}

/// The rough sums of all splits.
#[inline(always)]
fn rough_in_step<S: Simd>(
    simd: S,
    sums: &Running<40>,
    last: &[[[f32; 40]; 2]; 2],
    values: &[[f32; 3]; 2],
    score: f32,
) -> Rough {
    let mut rough = Rough::new(score, &sums.x, largest_sum(simd, &sums.x), sums.w[32]);
    for s in 0..2 {
        let v = values[s];
        let [last_x, last_w] = &last[s];
        for first in (0..40).step_by(8) {
            let x = f32x8::from_slice(simd, &sums.x[first..first + 8]);
            let w = f32x8::from_slice(simd, &sums.w[first..first + 8]);
            let last_x = f32x8::from_slice(simd, &last_x[first..first + 8]);
            let last_w = f32x8::from_slice(simd, &last_w[first..first + 8]);
            (x * v[1] + last_x).store_slice(&mut rough.x[s][first..first + 8]);
            (w * v[1] * v[1] + last_w).store_slice(&mut rough.w[s][first..first + 8]);
            (w * (v[0] * v[0] - v[1] * v[1])).store_slice(&mut rough.first[s][first..first + 8]);
        }
    }
    rough
}

/// The sums of eight splits, of which the first has these ends.
#[inline(always)]
fn eight_in_step<S: Simd>(
    simd: S,
    sums: &Running<40>,
    last: &[[[f32; 40]; 2]; 2],
    values: &[[f32; 3]; 2],
    (second, third): (usize, usize),
) -> [[f32x8<S>; 2]; 2] {
    let (x0, w0) = (sums.x[second], sums.w[second]);
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
    found
}

/// The best split of 16 weights, of which each half has one of these threes of values: both the first, the second half
/// the second, the first half the second, both the second.
pub fn split_by_halves(level: Level, halves: &[Running<24>; 2], values: &[[f32; 3]; 2]) -> Best {
    dispatch!(level, simd => by_halves(simd, halves, values))
}

#[inline(always)]
fn by_halves<S: Simd>(simd: S, halves: &[Running<24>; 2], values: &[[f32; 3]; 2]) -> Best {
    /// Where the second and the third run begin in splits of which one is nearly the best.
    const LIKELY: [(usize, usize); 4] = [(3, 9), (4, 9), (5, 9), (6, 9)];
    // What the third run adds to the sums of the weights.
    let mut last = [[[0.0; 24]; 2]; 2];
    for (last, half) in last.iter_mut().zip(halves) {
        for (last, v) in last.iter_mut().zip(values) {
            for first in (0..24).step_by(8) {
                let w = f32x8::from_slice(simd, &half.w[first..first + 8]);
                (w * (v[1] * v[1] - v[2] * v[2])).store_slice(&mut last[first..first + 8]);
            }
        }
    }
    let mut likely = f32x8::splat(simd, 0.0);
    for ends in LIKELY {
        for [sumqx, sumq2] in &eight_by_halves(simd, halves, &last, values, ends) {
            likely = likely.max(*sumqx * *sumqx / *sumq2);
        }
    }
    let mut best = Best::from(largest(likely), halves[0].w[16] + halves[1].w[16]);
    for second in 0..=16 {
        for third in (second..=16).step_by(8) {
            let found = eight_by_halves(simd, halves, &last, values, (second, third));
            best.meet_eight(&found, (second, third));
        }
    }
    best
}

/// The sums of eight splits, of which the first has these ends.
#[inline(always)]
fn eight_by_halves<S: Simd>(
    simd: S,
    halves: &[Running<24>; 2],
    last: &[[[f32; 24]; 2]; 2],
    values: &[[f32; 3]; 2],
    (second, third): (usize, usize),
) -> [[f32x8<S>; 2]; 4] {
    let mut sums = [[[f32x8::splat(simd, 0.0); 2]; 2]; 2];
    for h in 0..2 {
        let half = &halves[h];
        let x = f32x8::from_slice(simd, &half.x[third..third + 8]) + half.x[second];
        for s in 0..2 {
            let v = values[s];
            let before = half.w[16] * v[2] * v[2] + half.w[second] * (v[0] * v[0] - v[1] * v[1]);
            let all = f32x8::splat(simd, half.x[16] * v[2]);
            sums[h][s] = [all - x, f32x8::from_slice(simd, &last[h][s][third..third + 8]) + before];
        }
    }
    let [a, b] = sums;
    let mut found = [a[0]; 4];
    for (k, found) in found.iter_mut().enumerate() {
        let (a, b) = (a[k / 2], b[k % 2]);
        *found = [a[0] + b[0], a[1] + b[1]];
    }
    found
}
