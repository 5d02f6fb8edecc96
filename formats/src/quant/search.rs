//! The scale searches: given a block's values and their weights, the scale (and minimum) whose rounded codes
//! reconstruct them best. Named as in ggml, whose every rounding decides a stored byte: products group to the left,
//! sums run in index order, and of equal candidates the first wins.
//! Specification: ggml `make_qx_quants`, `make_q3_quants`, `make_qkx2_quants`, `make_qkx3_quants`, `make_qp_quants`.

use super::Levels;
use super::block::{extreme, largest};
use crate::simd;
pub(super) use crate::simd::{Candidates, EPS, Loss};

/// Codes without a minimum: an element is `scale * code`, the code less its offset if it is a signed one.
pub(super) struct Symmetric<const N: usize> {
    pub scale: f32,
    pub codes: [u8; N],
}

impl<const N: usize> Symmetric<N> {
    /// The codes of `x` at a scale as it is stored. A scale of 0 says nothing: the codes of the search stay.
    pub fn recode(&self, nmax: u8, x: &[f32; N], scale: f32) -> [u8; N] {
        if scale == 0.0 {
            return self.codes;
        }
        let n = i32::from(nmax);
        x.map(|x| (nearest_int(x / scale).clamp(-n, n - 1) + n) as u8)
    }
}

/// Codes with a minimum: an element is `scale * code - min`, where `min` is not negative.
pub(super) struct Affine<const N: usize> {
    pub scale: f32,
    pub min: f32,
    pub codes: [u8; N],
}

impl<const N: usize> Affine<N> {
    /// The codes of `x` at a scale and minimum as they are stored. A scale of 0 says nothing: the codes of the search
    /// stay.
    pub fn recode(&self, nmax: u8, x: &[f32; N], scale: f32, min: f32) -> [u8; N] {
        if scale == 0.0 {
            return self.codes;
        }
        x.map(|x| nearest_int((x + min) / scale).clamp(0, i32::from(nmax)) as u8)
    }
}

/// Rounds halves to even, by letting the addition of 1.5 * 2^23 drop the fraction. Beyond 2^22 the result is what
/// the low bits happen to be, as in ggml.
pub(super) fn nearest_int(x: f32) -> i32 {
    const MAGIC: f32 = 12582912.0;
    ((x + MAGIC).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

/// The least and the greatest value, the first of equals (which tells 0 from -0).
pub(super) fn bounds<const N: usize>(x: &[f32; N]) -> (f32, f32) {
    x.iter().fold((f32::MAX, f32::MIN), |(min, max), &x| {
        (if x < min { x } else { min }, if x > max { x } else { max })
    })
}

/// Signed codes from `-nmax` to `nmax - 1`, stored with `nmax` added. Without weights an element weighs its square.
pub(super) fn make_qx_quants<const N: usize>(
    nmax: u8,
    x: &[f32; N],
    weights: Option<&[f32; N]>,
) -> Symmetric<N> {
    let max = extreme(x);
    if max.abs() < EPS {
        return Symmetric { scale: 0.0, codes: [0; N] };
    }
    let weights = weights.copied().unwrap_or_else(|| x.map(|x| x * x));
    let n = i32::from(nmax);
    let code = |iscale: f32, x: f32| nearest_int(iscale * x).clamp(-n, n - 1);
    let sums = |iscale: f32| {
        let (mut sumlx, mut suml2) = (0.0, 0.0);
        for (x, w) in x.iter().zip(&weights) {
            let l = code(iscale, *x) as f32;
            sumlx += w * x * l;
            suml2 += w * l * l;
        }
        (sumlx, suml2)
    };
    let mut best_iscale = -f32::from(nmax) / max;
    let (sumlx, suml2) = sums(best_iscale);
    let mut scale = if suml2 == 0.0 { 0.0 } else { sumlx / suml2 };
    let mut best = scale * sumlx;
    for step in (-9i8..=9).filter(|step| *step != 0) {
        let iscale = -(f32::from(nmax) + 0.1 * f32::from(step)) / max;
        let (sumlx, suml2) = sums(iscale);
        if suml2 > 0.0 && sumlx * sumlx > best * suml2 {
            scale = sumlx / suml2;
            best = scale * sumlx;
            best_iscale = iscale;
        }
    }
    Symmetric { scale, codes: x.map(|x| (code(best_iscale, x) + n) as u8) }
}

/// Signed codes from `-nmax` to `nmax - 1`, stored with `nmax` added, refined by coordinate descent; an element
/// weighs its square.
pub(super) fn make_q3_quants<const N: usize>(nmax: u8, x: &[f32; N]) -> Symmetric<N> {
    let max = extreme(x);
    if max.abs() < EPS {
        return Symmetric { scale: 0.0, codes: [0; N] };
    }
    let n = i32::from(nmax);
    let iscale = -f32::from(nmax) / max;
    let (scale, codes) = descend::<N, true>(x, &x.map(|x| x * x), iscale, |l| l.clamp(-n, n - 1));
    Symmetric { scale, codes: codes.map(|l| (l + n) as u8) }
}

/// Unsigned codes up to `nmax` of values that are not negative (if they are, see `byte`): the best of nine scales,
/// refined by coordinate descent. Used for the scales and minima of a super-block, each of which weighs as much as
/// the weights it stands for do together.
pub(super) fn make_qp_quants<const N: usize>(nmax: u8, x: &[f32; N], weights: &[f32; N]) -> Symmetric<N> {
    let max = largest(x);
    if max < EPS {
        return Symmetric { scale: 0.0, codes: [0; N] };
    }
    let limit = |l: i32| l.min(i32::from(nmax));
    let iscale = match simd::level() {
        Some(level) => simd::candidate(level, nmax, max, x, weights),
        None => candidate(nmax, max, x, weights),
    };
    let (scale, codes) = descend::<N, false>(x, weights, iscale, limit);
    Symmetric { scale, codes: codes.map(|l| l as u8) }
}

/// Of nine scales from the one that takes `max` to `nmax` on the inverse of that of least error, the first of equals.
fn candidate<const N: usize>(nmax: u8, max: f32, x: &[f32; N], weights: &[f32; N]) -> f32 {
    let codes_at = |iscale: f32| x.map(|x| nearest_int(iscale * x));
    let error = |iscale: f32, codes: [i32; N]| {
        let (scale, mut sum) = (1.0 / iscale, 0.0);
        for i in 0..N {
            let difference = x[i] - scale * codes[i] as f32;
            sum += weights[i] * difference * difference;
        }
        sum
    };
    let mut best_iscale = f32::from(nmax) / max;
    let mut best = error(best_iscale, codes_at(best_iscale).map(byte));
    for step in (-4i8..=4).filter(|step| *step != 0) {
        let iscale = (0.1 * f32::from(step) + f32::from(nmax)) / max;
        let error = error(iscale, codes_at(iscale).map(|l| l.min(i32::from(nmax))));
        if error < best {
            best = error;
            best_iscale = iscale;
        }
    }
    best_iscale
}

/// A code as ggml keeps it in a byte. Where nearly all weights are 0, a regression may give a negative scale; its
/// code then wraps.
fn byte(l: i32) -> i32 {
    i32::from(l as u8)
}

/// Codes at `iscale`, then up to five sweeps that give each element in turn the code that fits the others' scale
/// best, as long as that betters the fit. Returns the scale and the codes.
fn descend<const N: usize, const SIGNED: bool>(
    x: &[f32; N],
    weights: &[f32; N],
    iscale: f32,
    limit: impl Fn(i32) -> i32,
) -> (f32, [i32; N]) {
    let stored = if SIGNED { |l| l } else { byte };
    let (mut sumlx, mut suml2) = (0.0, 0.0);
    let mut codes = [0; N];
    for i in 0..N {
        let l = limit(nearest_int(iscale * x[i]));
        codes[i] = stored(l);
        sumlx += weights[i] * x[i] * l as f32;
        suml2 += weights[i] * l as f32 * l as f32;
    }
    for _ in 0..5 {
        let mut changed = false;
        for i in 0..N {
            let (x, w, old) = (x[i], weights[i], codes[i] as f32);
            let mut slx = sumlx - w * x * old;
            let mut sl2 = suml2 - w * old * old;
            if !(slx > 0.0 && (SIGNED || sl2 > 0.0)) {
                continue;
            }
            let l = limit(nearest_int(x * sl2 / slx));
            if l == codes[i] {
                continue;
            }
            slx += w * x * l as f32;
            sl2 += w * l as f32 * l as f32;
            if sl2 > 0.0 && slx * slx * suml2 > sumlx * sumlx * sl2 {
                codes[i] = stored(l);
                (sumlx, suml2) = (slx, sl2);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    (if suml2 > 0.0 { sumlx / suml2 } else { 0.0 }, codes)
}

/// Codes from 0 to `nmax` with a minimum. The codes of each candidate are counted from the best minimum so far;
/// their best scale and minimum are those of the weighted linear regression.
pub(super) fn make_qkx2_quants<const N: usize>(
    nmax: u8,
    x: &[f32; N],
    weights: &[f32; N],
    candidates: &Candidates,
) -> Affine<N> {
    affine(nmax, x, weights, candidates, Levels::Rounded)
}

fn affine<const N: usize>(
    nmax: u8,
    x: &[f32; N],
    weights: &[f32; N],
    candidates: &Candidates,
    levels: Levels,
) -> Affine<N> {
    let (least, max) = bounds(x);
    let mut min = if least > 0.0 { 0.0 } else { least };
    if max == min {
        return Affine { scale: 0.0, min: -min, codes: [0; N] };
    }
    let codes_at =
        |iscale: f32, min: f32| x.map(|x| nearest_int(iscale * (x - min)).clamp(0, i32::from(nmax)) as u8);
    let bounded = |iscale: f32, min: f32| x.map(|x| bounded_level(iscale * (x - min), nmax));
    let error_of = |scale: f32, min: f32, codes: &[u8; N]| {
        let mut sum = 0.0;
        for i in 0..N {
            let difference = scale * f32::from(codes[i]) + min - x[i];
            sum += weights[i]
                * match candidates.loss {
                    Loss::Absolute => difference.abs(),
                    Loss::Squared => difference * difference,
                };
        }
        sum
    };
    let totals = Totals::new(x, weights);
    let iscale = f32::from(nmax) / (max - min);
    let mut scale = 1.0 / iscale;
    let mut codes = codes_at(iscale, min);
    let mut error = error_of(scale, min, &codes);
    for i in 0..=candidates.count {
        let iscale = (candidates.from + candidates.step * f32::from(i) + f32::from(nmax)) / (max - min);
        let candidate = match levels {
            Levels::Rounded => codes_at(iscale, min),
            Levels::Bounded => bounded(iscale, min),
        };
        let Some((new_scale, new_min)) = totals.regress(x, weights, &candidate) else { continue };
        let new_error = error_of(new_scale, new_min, &candidate);
        if new_error < error {
            (scale, min, codes, error) = (new_scale, new_min, candidate, new_error);
        }
    }
    Affine { scale, min: -min, codes }
}

/// The same as ggml calls it with importance weights, in which `levels` tell versions apart.
pub(super) fn make_qkx3_quants<const N: usize>(
    nmax: u8,
    x: &[f32; N],
    weights: &[f32; N],
    levels: Levels,
) -> Affine<N> {
    affine(nmax, x, weights, &WEIGHTED, levels)
}

/// The code of a level that is bounded before it is rounded; what is no number is 0.
fn bounded_level(level: f32, nmax: u8) -> u8 {
    let most = f32::from(nmax);
    if level > 0.0 { nearest_int(if level < most { level } else { most }) as u8 } else { 0 }
}

/// The candidates of ggml's `make_qkx3_quants` calls, all of them.
pub(super) const WEIGHTED: Candidates = Candidates { from: -0.9, step: 0.05, count: 36, loss: Loss::Squared };

/// The sums of a regression that do not depend on the codes.
struct Totals {
    sum_w: f32,
    sum_x: f32,
}

impl Totals {
    fn new<const N: usize>(x: &[f32; N], weights: &[f32; N]) -> Totals {
        let mut totals = Totals { sum_w: 0.0, sum_x: 0.0 };
        for (x, w) in x.iter().zip(weights) {
            totals.sum_w += w;
            totals.sum_x += w * x;
        }
        totals
    }

    /// The scale and the minimum (not above 0) of the least weighted squares; `None` if the codes do not differ.
    fn regress<const N: usize>(
        &self,
        x: &[f32; N],
        weights: &[f32; N],
        codes: &[u8; N],
    ) -> Option<(f32, f32)> {
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0, 0.0, 0.0);
        for i in 0..N {
            let (w, l) = (weights[i], f32::from(codes[i]));
            sum_l += w * l;
            sum_l2 += w * l * l;
            sum_xl += w * l * x[i];
        }
        let determinant = self.sum_w * sum_l2 - sum_l * sum_l;
        let solve = || match (sum_l2 * self.sum_x - sum_l * sum_xl) / determinant {
            min if min > 0.0 => (sum_xl / sum_l2, 0.0),
            min => ((self.sum_w * sum_xl - self.sum_x * sum_l) / determinant, min),
        };
        (determinant > 0.0).then(solve)
    }
}
