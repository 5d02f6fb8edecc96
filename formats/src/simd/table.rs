//! The search for a scale of codes that look a value up, of sixteen sub-blocks at once: `quant/iq4.rs`.
//! The candidates lie so close together that no element meets more than two values: both are found once, and what
//! they add to the sums is computed once.

use super::layout::load;
use super::{Columns, EPS, LANES, Lanes, Level};
use fearless_simd::{Simd, dispatch, f32x16, i32x16, prelude::*};

/// Code -> value (`kvalues_iq4nl`), rising.
pub const VALUES: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0,
];

/// From border `i` on, code `i + 1` is the nearest. The borders lie in the middle and are exact.
const BORDERS: [f32; 15] = {
    let mut borders = [0.0; 15];
    let mut i = 0;
    while i < borders.len() {
        borders[i] = (VALUES[i] + VALUES[i + 1]) / 2.0;
        i += 1;
    }
    borders
};

/// All candidates but the first take the extreme to the first value, more or less so many units.
const REACH: f32 = 7.0;

/// The two borders that are nearest to each other, as a ratio, lie farther apart than the two outermost candidates.
const _: () = {
    let mut i = 0;
    while i + 1 < BORDERS.len() {
        let (a, b) = (BORDERS[i], BORDERS[i + 1]);
        let ratio = if a > 0.0 { b / a } else { a / b };
        assert!(a < 0.0 && b > 0.0 || ratio > 1.001 * (VALUES[0] - REACH) / (VALUES[0] + REACH));
        i += 1;
    }
};

/// The best fit of each sub-block.
pub struct TableLanes {
    pub scale: Lanes,
    /// Bit `i` tells that lane `i` is certain to be what the scalar search finds.
    pub exact: u16,
}

/// `search` of `quant/iq4.rs` for sixteen sub-blocks.
pub fn table_scales(level: Level, x: &Columns<32>, weights: &Columns<32>) -> TableLanes {
    dispatch!(level, simd => search(simd, x, weights))
}

/// How many candidates are tried at once: their sums do not wait for each other.
const ABREAST: usize = 3;

#[inline(always)]
fn search<S: Simd>(simd: S, x: &Columns<32>, weights: &Columns<32>) -> TableLanes {
    let zero = f32x16::splat(simd, 0.0);
    let mut max = zero;
    for x in x {
        let x = load(simd, x);
        max = x.abs().simd_gt(max.abs()).select(x, max);
    }
    let nil = max.abs().simd_lt(EPS);
    let max = nil.select(f32x16::splat(simd, 1.0), max);
    let trial = |value: f32| f32x16::splat(simd, value) / max;
    let terms = Terms::new(simd, x, weights, [trial(VALUES[0] + REACH), trial(VALUES[0] - REACH)]);

    // It takes the extreme to the other end of the values.
    let first = f32x16::splat(simd, 1.0) / (-max / VALUES[0]);
    let (sumqx, sumq2) = sums(simd, x, weights, first);
    // A NaN or an infinity among the elements shows here.
    let mut exact = sumqx.simd_eq(sumqx) & max.abs().simd_le(f32::MAX);
    let mut scale = sumq2.simd_gt(0.0).select(sumqx / sumq2, zero);
    let mut best = scale * sumqx;
    const STEPS: [[i8; ABREAST]; 5] = [[-7, -6, -5], [-4, -3, -2], [-1, 0, 1], [2, 3, 4], [5, 6, 7]];
    for steps in STEPS {
        let found = terms.sums(x, steps.map(|step| f32x16::splat(simd, f32::from(step) + VALUES[0]) / max));
        for (sumqx, sumq2) in found {
            let better = sumq2.simd_gt(0.0) & (sumqx * sumqx).simd_gt(best * sumq2);
            scale = better.select(sumqx / sumq2, scale);
            best = better.select(scale * sumqx, best);
        }
    }
    exact &= scale.simd_eq(scale);
    TableLanes { scale: nil.select(zero, scale).to_array(), exact: (exact | nil).to_bitmask() as u16 }
}

/// The sums over all elements, `w * q * x` and `w * q * q`, of one candidate.
#[inline(always)]
fn sums<S: Simd>(
    simd: S,
    x: &Columns<32>,
    weights: &Columns<32>,
    iscale: f32x16<S>,
) -> (f32x16<S>, f32x16<S>) {
    let zero = f32x16::splat(simd, 0.0);
    let (mut sumqx, mut sumq2) = (zero, zero);
    for i in 0..32 {
        let (x, w) = (load(simd, &x[i]), load(simd, &weights[i]));
        let q = value(iscale * x);
        sumqx += w * q * x;
        sumq2 += w * q * q;
    }
    (sumqx, sumq2)
}

/// What each element adds to those sums below its border and from it on.
struct Terms<S: Simd> {
    border: [f32x16<S>; 32],
    below: [(f32x16<S>, f32x16<S>); 32],
    above: [(f32x16<S>, f32x16<S>); 32],
}

impl<S: Simd> Terms<S> {
    /// For candidates that lie between these two.
    #[inline(always)]
    fn new(simd: S, x: &Columns<32>, weights: &Columns<32>, outermost: [f32x16<S>; 2]) -> Terms<S> {
        let zero = f32x16::splat(simd, 0.0);
        let mut terms = Terms { border: [zero; 32], below: [(zero, zero); 32], above: [(zero, zero); 32] };
        for i in 0..32 {
            let (x, w) = (load(simd, &x[i]), load(simd, &weights[i]));
            let (a, b) = (value(x * outermost[0]), value(x * outermost[1]));
            let (below, above) = (a.min(b), a.max(b));
            terms.border[i] = (below + above) * 0.5;
            terms.below[i] = (w * below * x, w * below * below);
            terms.above[i] = (w * above * x, w * above * above);
        }
        terms
    }

    /// The sums of several candidates.
    #[inline(always)]
    fn sums<const K: usize>(&self, x: &Columns<32>, iscales: [f32x16<S>; K]) -> [(f32x16<S>, f32x16<S>); K] {
        let simd = self.border[0].token();
        let zero = f32x16::splat(simd, 0.0);
        let mut sums = [(zero, zero); K];
        for i in 0..32 {
            let x = load(simd, &x[i]);
            for k in 0..K {
                let below = (iscales[k] * x).simd_lt(self.border[i]);
                sums[k].0 += below.select(self.below[i].0, self.above[i].0);
                sums[k].1 += below.select(self.below[i].1, self.above[i].1);
            }
        }
        sums
    }
}

/// The nearest value; that of a NaN is the last.
#[inline(always)]
fn value<S: Simd>(x: f32x16<S>) -> f32x16<S> {
    let simd = x.token();
    let mut value = f32x16::splat(simd, VALUES[15]);
    for i in (0..15).rev() {
        value = x.simd_lt(BORDERS[i]).select(f32x16::splat(simd, VALUES[i]), value);
    }
    value
}

/// The codes of sub-blocks, each at its inverse scale.
pub fn table_codes(level: Level, x: &[[f32; 32]], iscales: &[f32], out: &mut [[u8; 32]]) {
    dispatch!(level, simd => recode(simd, x, iscales, out));
}

#[inline(always)]
fn recode<S: Simd>(simd: S, x: &[[f32; 32]], iscales: &[f32], out: &mut [[u8; 32]]) {
    for ((x, iscale), out) in x.iter().zip(iscales).zip(out) {
        for (x, out) in x.as_chunks().0.iter().zip(out.as_chunks_mut::<LANES>().0) {
            *out = code(load(simd, x) * *iscale).to_array().map(|l| l as u8);
        }
    }
}

/// The code of the nearest value; that of a NaN is the last.
#[inline(always)]
fn code<S: Simd>(x: f32x16<S>) -> i32x16<S> {
    let simd = x.token();
    let mut code = i32x16::splat(simd, 15);
    for i in (0..15).rev() {
        code = x.simd_lt(BORDERS[i]).select(i32x16::splat(simd, i as i32), code);
    }
    code
}
