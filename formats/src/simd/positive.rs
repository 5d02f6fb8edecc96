//! The search for a common scale of a super-block's scales or minima, of eight super-blocks at once:
//! `quant/search.rs`, `make_qp_quants`.

use super::affine::AffineLanes;
use super::layout::{load, nearest_int, rounded};
use super::{Columns, EPS, LANES, Lanes, Level, ROUNDS};
use fearless_simd::{Simd, dispatch, f32x16, i32x16, mask32x16, prelude::*};

/// The scales and the minima of up to eight super-blocks of `N` sub-blocks each.
pub struct SuperBlocks<const N: usize> {
    /// Lane `b` holds the scales of super-block `b`, lane `8 + b` its minima.
    values: Columns<N>,
    weights: Columns<N>,
}

impl<const N: usize> SuperBlocks<N> {
    pub fn new() -> Self {
        SuperBlocks { values: [[0.0; LANES]; N], weights: [[0.0; LANES]; N] }
    }

    /// Puts in the sixteen sub-blocks that begin with super-block `first`; each weighs `sums`.
    pub fn put(&mut self, first: usize, fits: &AffineLanes, sums: &Lanes) {
        for (lane, sum) in sums.iter().enumerate() {
            let (block, sub) = (first + lane / N, lane % N);
            (self.values[sub][block], self.values[sub][8 + block]) = (fits.scale[lane], fits.min[lane]);
            (self.weights[sub][block], self.weights[sub][8 + block]) = (*sum, *sum);
        }
    }
}

/// The fit of each lane.
pub struct PositiveLanes<const N: usize> {
    scale: Lanes,
    codes: [[u8; LANES]; N],
    /// Bit `i` tells that lane `i` is certain to be what the scalar search finds.
    exact: u16,
}

impl<const N: usize> PositiveLanes<N> {
    /// The common scale of the scales of a super-block, and their codes.
    pub fn scales(&self, block: usize) -> (f32, [u8; N]) {
        (self.scale[block], self.codes.map(|codes| codes[block]))
    }

    /// The same of the minima.
    pub fn mins(&self, block: usize) -> (f32, [u8; N]) {
        self.scales(8 + block)
    }

    /// Whether both are exact.
    pub fn are_exact(&self, block: usize) -> bool {
        self.exact >> block & self.exact >> (8 + block) & 1 == 1
    }
}

/// `make_qp_quants` of the scales and of the minima of each super-block.
pub fn qp<const N: usize>(level: Level, nmax: u8, blocks: &SuperBlocks<N>) -> PositiveLanes<N> {
    dispatch!(level, simd => search::<_, N>(simd, nmax, &blocks.values, &blocks.weights))
}

#[inline(always)]
fn search<S: Simd, const N: usize>(
    simd: S,
    nmax: u8,
    x: &Columns<N>,
    weights: &Columns<N>,
) -> PositiveLanes<N> {
    let n = f32::from(nmax);
    let (max, sound) = largest(simd, x);
    let nil = max.simd_lt(EPS);
    let max = nil.select(f32x16::splat(simd, 1.0), max);
    let mut iscale = f32x16::splat(simd, n) / max;
    let mut best = error(simd, n, x, weights, iscale);
    for step in [-4i8, -3, -2, -1, 1, 2, 3, 4] {
        let trial = f32x16::splat(simd, 0.1 * f32::from(step) + n) / max;
        let error = error(simd, n, x, weights, trial);
        let better = error.simd_lt(best);
        best = better.select(error, best);
        iscale = better.select(trial, iscale);
    }
    let (scale, codes, rounds) = descend(simd, n, x, weights, iscale);
    let zero = f32x16::splat(simd, 0.0);
    let mut bytes = [[0; LANES]; N];
    for (bytes, l) in bytes.iter_mut().zip(codes) {
        *bytes = nil.select(zero, l).to_array().map(|l| l as u8);
    }
    PositiveLanes {
        scale: nil.select(zero, scale).to_array(),
        codes: bytes,
        exact: (sound & (rounds | nil)).to_bitmask() as u16,
    }
}

/// The first search of `make_qp_quants` for one row of values, with lanes as candidates: the inverse of the scale of least
/// error. `max` is the largest of them; they may be any numbers.
pub fn candidate<const N: usize>(level: Level, nmax: u8, max: f32, x: &[f32; N], weights: &[f32; N]) -> f32 {
    dispatch!(level, simd => try_candidates(simd, nmax, max, x, weights))
}

#[inline(always)]
fn try_candidates<S: Simd, const N: usize>(
    simd: S,
    nmax: u8,
    max: f32,
    x: &[f32; N],
    weights: &[f32; N],
) -> f32 {
    const COUNT: usize = 9;
    const STEPS: Lanes = [0., -4., -3., -2., -1., 1., 2., 3., 4., 0., 0., 0., 0., 0., 0., 0.];
    // The codes of the first are bytes, those of the others are bounded.
    let (mut bits, mut most) = ([-1; LANES], [i32::from(nmax); LANES]);
    (bits[0], most[0]) = (255, i32::MAX);
    let (bits, most) = (i32x16::load_array(simd, bits), i32x16::load_array(simd, most));
    let iscale = (load(simd, &STEPS) * 0.1 + f32::from(nmax)) / max;
    let scale = f32x16::splat(simd, 1.0) / iscale;
    let mut sum = f32x16::splat(simd, 0.0);
    for (x, w) in x.iter().zip(weights) {
        let l = nearest_int(iscale * *x, i32::MIN, i32::MAX).min(most) & bits;
        let difference = f32x16::splat(simd, *x) - scale * l.to_float::<f32x16<S>>();
        sum += f32x16::splat(simd, *w) * difference * difference;
    }
    let (iscales, errors) = (iscale.to_array(), sum.to_array());
    let mut best = 0;
    for k in 1..COUNT {
        best = if errors[k] < errors[best] { k } else { best };
    }
    iscales[best]
}

/// The largest element, 0 if none is larger, and whether all are finite and none is negative.
#[inline(always)]
fn largest<S: Simd, const N: usize>(simd: S, x: &Columns<N>) -> (f32x16<S>, mask32x16<S>) {
    let mut largest = f32x16::splat(simd, 0.0);
    let mut sound = mask32x16::splat(simd, true);
    for x in x {
        let x = load(simd, x);
        largest = x.simd_gt(largest).select(x, largest);
        sound = sound & x.simd_ge(0.0) & x.simd_le(f32::MAX);
    }
    (largest, sound)
}

#[inline(always)]
fn error<S: Simd, const N: usize>(
    simd: S,
    n: f32,
    x: &Columns<N>,
    weights: &Columns<N>,
    iscale: f32x16<S>,
) -> f32x16<S> {
    let scale = f32x16::splat(simd, 1.0) / iscale;
    let mut sum = f32x16::splat(simd, 0.0);
    for i in 0..N {
        let x = load(simd, &x[i]);
        let difference = x - scale * rounded::<S, f32x16<S>>(iscale * x).min(n);
        sum += load(simd, &weights[i]) * difference * difference;
    }
    sum
}

/// `descend` of `quant/search.rs`, and whether all its roundings were to the nearest.
#[inline(always)]
fn descend<S: Simd, const N: usize>(
    simd: S,
    n: f32,
    x: &Columns<N>,
    weights: &Columns<N>,
    iscale: f32x16<S>,
) -> (f32x16<S>, [f32x16<S>; N], mask32x16<S>) {
    let zero = f32x16::splat(simd, 0.0);
    let mut rounds = mask32x16::splat(simd, true);
    let (mut sumlx, mut suml2) = (zero, zero);
    let mut codes = [zero; N];
    for i in 0..N {
        let (x, w) = (load(simd, &x[i]), load(simd, &weights[i]));
        let l = rounded::<S, f32x16<S>>(iscale * x).min(n);
        sumlx += w * x * l;
        suml2 += w * l * l;
        codes[i] = l;
    }
    for _ in 0..5 {
        let mut changed = mask32x16::splat(simd, false);
        for i in 0..N {
            let (x, w, old) = (load(simd, &x[i]), load(simd, &weights[i]), codes[i]);
            let slx = sumlx - w * x * old;
            let sl2 = suml2 - w * old * old;
            let open = slx.simd_gt(zero) & sl2.simd_gt(zero);
            let quotient = x * sl2 / slx;
            rounds &= !open | quotient.simd_lt(ROUNDS);
            let l = rounded::<S, f32x16<S>>(quotient).min(n);
            let (new_slx, new_sl2) = (slx + w * x * l, sl2 + w * l * l);
            let better = open
                & !l.simd_eq(old)
                & new_sl2.simd_gt(zero)
                & (new_slx * new_slx * suml2).simd_gt(sumlx * sumlx * new_sl2);
            codes[i] = better.select(l, old);
            sumlx = better.select(new_slx, sumlx);
            suml2 = better.select(new_sl2, suml2);
            changed |= better;
        }
        if changed.all_false() {
            break;
        }
    }
    (suml2.simd_gt(zero).select(sumlx / suml2, zero), codes, rounds)
}
