//! The search for a scale and a minimum of sixteen sub-blocks at once: `quant/search.rs`, `make_qkx2_quants`.

use super::layout::{load, nearest_codes, rounded};
use super::{Columns, LANES, Lanes, Level, ROUNDS};
use fearless_simd::{Simd, dispatch, f32x16, mask32x16, prelude::*};
use std::ops::Range;

/// The candidates of an affine search: `count + 1` inverse scales in equal steps, each `(from + step * i + nmax)`
/// over the range of the values.
pub struct Candidates {
    pub from: f32,
    pub step: f32,
    pub count: u8,
    /// What is minimised is the weighted sum of these of the differences.
    pub loss: Loss,
}

#[derive(Clone, Copy)]
pub enum Loss {
    Absolute,
    Squared,
}

/// The best fit of each sub-block.
pub struct AffineLanes {
    pub scale: Lanes,
    /// Not negative.
    pub min: Lanes,
    /// The codes of the fit are `iscale * (x - base)`, rounded and bounded.
    pub iscale: Lanes,
    pub base: Lanes,
    /// Bit `i` tells that lane `i` is certain to be what the scalar search finds.
    pub exact: u16,
}

impl AffineLanes {
    /// Whether all of these lanes are exact.
    pub fn are_exact(&self, lanes: Range<usize>) -> bool {
        lanes.into_iter().all(|lane| self.exact >> lane & 1 == 1)
    }
}

/// `make_qkx2_quants` of sixteen sub-blocks.
pub fn qkx<const N: usize>(
    level: Level,
    nmax: u8,
    x: &Columns<N>,
    weights: &Columns<N>,
    candidates: &Candidates,
) -> AffineLanes {
    match candidates.loss {
        Loss::Absolute => dispatch!(level, simd => search::<_, N, true>(simd, nmax, x, weights, candidates)),
        Loss::Squared => dispatch!(level, simd => search::<_, N, false>(simd, nmax, x, weights, candidates)),
    }
}

/// The codes of `x`, which holds sub-blocks of `N` end to end: those of the scale and minimum as they are stored or,
/// where the scale is 0 and so says nothing, those of the fit.
pub fn affine_codes<const N: usize>(
    level: Level,
    nmax: u8,
    x: &[f32],
    stored: (&[f32], &[f32]),
    fits: &AffineLanes,
    first: usize,
    out: &mut [u8],
) {
    dispatch!(level, simd => recode::<_, N>(simd, nmax, x, stored, fits, first, out));
}

#[inline(always)]
fn recode<S: Simd, const N: usize>(
    simd: S,
    nmax: u8,
    x: &[f32],
    (scales, mins): (&[f32], &[f32]),
    fits: &AffineLanes,
    first: usize,
    out: &mut [u8],
) {
    let subs = x.as_chunks::<N>().0.iter().zip(out.as_chunks_mut::<N>().0);
    for (i, (x, out)) in subs.enumerate() {
        for (x, out) in x.as_chunks().0.iter().zip(out.as_chunks_mut::<LANES>().0) {
            let x = load(simd, x);
            let quotient = if scales[i] != 0.0 {
                (x + mins[i]) / scales[i]
            } else {
                (x - fits.base[first + i]) * fits.iscale[first + i]
            };
            *out = nearest_codes(quotient, 0, i32::from(nmax));
        }
    }
}

#[inline(always)]
fn search<S: Simd, const N: usize, const ABSOLUTE: bool>(
    simd: S,
    nmax: u8,
    x: &Columns<N>,
    weights: &Columns<N>,
    candidates: &Candidates,
) -> AffineLanes {
    let zero = f32x16::splat(simd, 0.0);
    let n = f32::from(nmax);
    let nmax = f32x16::splat(simd, n);
    let totals = Totals::new(simd, x, weights);
    let (least, max) = bounds(simd, x);
    let mut min = least.simd_gt(zero).select(zero, least);
    // A constant sub-block has no range: any will do, for no candidate of it can be accepted.
    let constant = max.simd_eq(min);
    let one = f32x16::splat(simd, 1.0);
    let mut exact = totals.sum_x.simd_eq(totals.sum_x);
    let mut codes = [zero; N];

    let mut iscale = nmax / constant.select(one, max - min);
    exact &= rounds(least, max, min, iscale);
    for i in 0..N {
        codes[i] = code(load(simd, &x[i]), min, iscale, nmax);
    }
    let mut scale = one / iscale;
    let mut base = min;
    let mut best = error::<S, N, ABSOLUTE>(simd, x, weights, &codes, scale, min);
    for i in 0..=candidates.count {
        let numerator = candidates.from + candidates.step * f32::from(i) + n;
        let range = constant.select(one, max - min);
        let trial = f32x16::splat(simd, numerator) / range;
        exact &= rounds(least, max, min, trial);
        // No code passes the largest if that of the greatest element does not.
        let fit = match numerator < n + 0.49 && range.simd_gt(zero).all_true() {
            true => totals.regress::<N, false>(x, weights, &mut codes, min, trial, nmax),
            false => totals.regress::<N, true>(x, weights, &mut codes, min, trial, nmax),
        };
        let error = error::<S, N, ABSOLUTE>(simd, x, weights, &codes, fit.scale, fit.min);
        let better = fit.exists & error.simd_lt(best);
        scale = better.select(fit.scale, scale);
        iscale = better.select(trial, iscale);
        base = better.select(min, base);
        best = better.select(error, best);
        min = better.select(fit.min, min);
    }
    AffineLanes {
        scale: constant.select(zero, scale).to_array(),
        min: (-min).to_array(),
        iscale: iscale.to_array(),
        base: base.to_array(),
        exact: (exact | constant).to_bitmask() as u16,
    }
}

/// The sums of a regression that do not depend on the codes.
struct Totals<S: Simd> {
    sum_w: f32x16<S>,
    sum_x: f32x16<S>,
}

/// What a regression finds, where it `exists`.
struct Fit<S: Simd> {
    scale: f32x16<S>,
    min: f32x16<S>,
    exists: mask32x16<S>,
}

impl<S: Simd> Totals<S> {
    #[inline(always)]
    fn new<const N: usize>(simd: S, x: &Columns<N>, weights: &Columns<N>) -> Totals<S> {
        let mut sum_w = f32x16::splat(simd, 0.0);
        let mut sum_x = sum_w;
        for i in 0..N {
            let w = load(simd, &weights[i]);
            sum_w += w;
            sum_x += w * load(simd, &x[i]);
        }
        Totals { sum_w, sum_x }
    }

    /// Fills in the codes at `iscale`, which may pass `nmax`, and fits a line through them.
    #[inline(always)]
    fn regress<const N: usize, const MOST: bool>(
        &self,
        x: &Columns<N>,
        weights: &Columns<N>,
        codes: &mut [f32x16<S>; N],
        base: f32x16<S>,
        iscale: f32x16<S>,
        nmax: f32x16<S>,
    ) -> Fit<S> {
        let simd = self.sum_w.token();
        let zero = f32x16::splat(simd, 0.0);
        let (mut sum_l, mut sum_l2, mut sum_xl) = (zero, zero, zero);
        for i in 0..N {
            let x = load(simd, &x[i]);
            let l = if MOST { code(x, base, iscale, nmax) } else { free_code(x, base, iscale) };
            codes[i] = l;
            let wl = load(simd, &weights[i]) * l;
            sum_l += wl;
            sum_l2 += wl * l;
            sum_xl += wl * x;
        }
        let determinant = self.sum_w * sum_l2 - sum_l * sum_l;
        let min = (sum_l2 * self.sum_x - sum_l * sum_xl) / determinant;
        let scale = (self.sum_w * sum_xl - self.sum_x * sum_l) / determinant;
        let positive = min.simd_gt(zero);
        Fit {
            scale: positive.select(sum_xl / sum_l2, scale),
            min: positive.select(zero, min),
            exists: determinant.simd_gt(zero),
        }
    }
}

/// The least and the greatest element, the first of equals.
#[inline(always)]
fn bounds<S: Simd, const N: usize>(simd: S, x: &Columns<N>) -> (f32x16<S>, f32x16<S>) {
    let mut least = f32x16::splat(simd, f32::MAX);
    let mut max = f32x16::splat(simd, f32::MIN);
    for x in x {
        let x = load(simd, x);
        least = x.simd_lt(least).select(x, least);
        max = x.simd_gt(max).select(x, max);
    }
    (least, max)
}

/// Whether the codes of all elements round as in the scalar code; those of the extremes bound them.
#[inline(always)]
fn rounds<S: Simd>(least: f32x16<S>, max: f32x16<S>, base: f32x16<S>, iscale: f32x16<S>) -> mask32x16<S> {
    let (low, high) = (iscale * (least - base), iscale * (max - base));
    low.abs().simd_lt(ROUNDS) & high.abs().simd_lt(ROUNDS)
}

#[inline(always)]
fn code<S: Simd>(x: f32x16<S>, base: f32x16<S>, iscale: f32x16<S>, nmax: f32x16<S>) -> f32x16<S> {
    free_code(x, base, iscale).min(nmax)
}

/// A code that may pass the largest.
#[inline(always)]
fn free_code<S: Simd>(x: f32x16<S>, base: f32x16<S>, iscale: f32x16<S>) -> f32x16<S> {
    rounded::<S, f32x16<S>>(iscale * (x - base)).max(0.0)
}

#[inline(always)]
fn error<S: Simd, const N: usize, const ABSOLUTE: bool>(
    simd: S,
    x: &Columns<N>,
    weights: &Columns<N>,
    codes: &[f32x16<S>; N],
    scale: f32x16<S>,
    min: f32x16<S>,
) -> f32x16<S> {
    let mut sum = f32x16::splat(simd, 0.0);
    for i in 0..N {
        let difference = scale * codes[i] + min - load(simd, &x[i]);
        let loss = if ABSOLUTE { difference.abs() } else { difference * difference };
        sum += load(simd, &weights[i]) * loss;
    }
    sum
}
