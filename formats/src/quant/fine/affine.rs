//! Blocks with minima: an element is `d * scale * code - dmin * minimum`. Scales and minima of the sub-blocks are whole
//! numbers; blocks of one scale have 1 for both, and a minimum of any sign.

use super::{LANES, half_near, inverse, lanes, total, whole};
use crate::quant::float::{f16_bits, f32_of_f16};
use crate::quant::scales::Affine;

/// What a format of this kind allows.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// The last code.
    pub top: f32,
    /// The least and the greatest scale, or minimum, of a sub-block.
    pub scales: (i32, i32),
    /// How many common scales, and how many common minima for each, are tried, and how far apart.
    pub common: (u8, u8, f32),
}

/// What a sub-block would have if anything could be stored.
#[derive(Clone, Copy, Default)]
struct Fit {
    scale: f32,
    min: f32,
    /// The weighted mean of the codes: so much more the minimum is if the scale is larger by 1.
    code: f32,
}

/// The weighted sums of a regression on the codes.
#[derive(Clone, Copy)]
struct Sums {
    w: f32,
    x: f32,
    l: f32,
    ll: f32,
    xl: f32,
}

/// How far the ends of the codes are taken into the range of the elements, as a part of it.
const ENDS: [f32; 5] = [-0.02, 0.02, 0.06, 0.12, 0.2];

impl Form {
    /// Whether a block has one scale and one minimum.
    const fn is_one(&self) -> bool {
        self.scales.0 == self.scales.1
    }

    /// The codes of a block.
    #[inline(always)]
    pub fn codes<const G: usize, const S: usize>(
        &self,
        x: &[[f32; S]; G],
        scales: &Affine<G>,
    ) -> [[u8; S]; G] {
        let (d, dmin) = (f32_of_f16(scales.d), f32_of_f16(scales.dmin));
        std::array::from_fn(|j| {
            let inverse = inverse(d * scales.of_subs[j] as f32);
            let min = dmin * scales.mins[j] as f32;
            x[j].map(|x| whole((x + min) * inverse, 0.0, self.top) as u8)
        })
    }

    /// The weighted squared error of a sub-block.
    #[inline(always)]
    fn error<const S: usize>(&self, x: &[f32; S], w: &[f32; S], scale: f32, min: f32) -> f32 {
        let inverse = inverse(scale);
        let mut sums = [0.0; LANES];
        for (x, w) in lanes(x).iter().zip(lanes(w)) {
            for k in 0..LANES {
                let l = whole((x[k] + min) * inverse, 0.0, self.top);
                let e = x[k] - (scale * l - min);
                sums[k] += w[k] * e * e;
            }
        }
        total(&sums)
    }

    #[inline(always)]
    fn sums<const S: usize>(&self, x: &[f32; S], w: &[f32; S], scale: f32, min: f32) -> Sums {
        let inverse = inverse(scale);
        let mut sums = [[0.0; LANES]; 5];
        for (x, w) in lanes(x).iter().zip(lanes(w)) {
            for k in 0..LANES {
                let l = whole((x[k] + min) * inverse, 0.0, self.top);
                let wl = w[k] * l;
                sums[0][k] += w[k];
                sums[1][k] += w[k] * x[k];
                sums[2][k] += wl;
                sums[3][k] += wl * l;
                sums[4][k] += wl * x[k];
            }
        }
        let [w, x, l, ll, xl] = sums.map(|sums| total(&sums));
        Sums { w, x, l, ll, xl }
    }

    /// The scale and the minimum of the least squares for these codes, and by how much they lessen the sum of squares.
    #[inline(always)]
    fn solved(&self, s: &Sums) -> (f32, Fit) {
        let code = s.l / s.w;
        let determinant = s.w * s.ll - s.l * s.l;
        let min = (s.l * s.xl - s.ll * s.x) / determinant;
        let (scale, min) = match min < 0.0 && !self.is_one() {
            true => (s.xl / s.ll, 0.0),
            false => ((s.w * s.xl - s.l * s.x) / determinant, min),
        };
        (scale * s.xl - min * s.x, Fit { scale, min, code })
    }

    /// The scale and the minimum that fit a sub-block best, whatever can be stored.
    #[inline(always)]
    fn best<const S: usize>(&self, x: &[f32; S], w: &[f32; S]) -> Fit {
        let least = x.iter().fold(f32::MAX, |a, b| if *b < a { *b } else { a });
        let most = x.iter().fold(f32::MIN, |a, b| if *b > a { *b } else { a });
        let least = if least > 0.0 && !self.is_one() { 0.0 } else { least };
        let range = most - least;
        let mut best = (0.0, Fit { scale: 0.0, min: -least, code: 0.0 });
        for i in 0..ENDS.len() * ENDS.len() + 3 {
            let (scale, min) = match i.checked_sub(ENDS.len() * ENDS.len()) {
                Some(_) => (best.1.scale, best.1.min),
                None => {
                    let (low, high) = (ENDS[i / ENDS.len()], ENDS[i % ENDS.len()]);
                    (range * (1.0 - low - high) / self.top, -(least + range * low))
                }
            };
            let found = self.solved(&self.sums(x, w, scale, min));
            if found.0 > best.0 {
                best = found;
            }
        }
        best.1
    }

    /// Of the scales and minima next to those that are wished for the best, under common ones, and their error.
    #[inline(always)]
    fn round<const G: usize, const S: usize>(
        &self,
        (x, w): (&[[f32; S]; G], &[[f32; S]; G]),
        (d, dmin): (u16, u16),
        wished: &[Fit; G],
        reaches: bool,
    ) -> (f32, Affine<G>) {
        let (common, least) = (f32_of_f16(d), f32_of_f16(dmin));
        let (of_scale, of_min) = (inverse(common), inverse(least));
        let (first, last) = (self.scales.0 as f32, self.scales.1 as f32);
        let mut found = Affine { d, dmin, of_subs: [0; G], mins: [0; G] };
        let mut sum = 0.0;
        for j in 0..G {
            let Fit { scale: s, min: m, code } = wished[j];
            let near = whole(s * of_scale, first, last);
            let mut best = f32::INFINITY;
            let tries = if self.is_one() || !reaches { 4..5u8 } else { 0..9 };
            for i in tries {
                let scale = whole(near + f32::from(i / 3) - 1.0, first, last);
                let shifted = m + (scale * common - s) * code;
                let min = whole(shifted * of_min + f32::from(i % 3) - 1.0, first, last);
                let error = self.error(&x[j], &w[j], common * scale, least * min);
                if error < best {
                    best = error;
                    (found.of_subs[j], found.mins[j]) = (scale as i32, min as i32);
                }
            }
            sum += best;
        }
        (sum, found)
    }

    /// What is wished for is what there is, under other common scales.
    #[inline(always)]
    fn kept<const G: usize>(scales: &Affine<G>, d: u16, dmin: u16) -> [Fit; G] {
        let (d, dmin) = (f32_of_f16(d), f32_of_f16(dmin));
        std::array::from_fn(|j| Fit {
            scale: d * scales.of_subs[j] as f32,
            min: dmin * scales.mins[j] as f32,
            code: 0.0,
        })
    }

    /// The common scale and minimum of the least squares for the codes and scales that there are.
    #[inline(always)]
    fn common<const G: usize, const S: usize>(
        &self,
        x: &[[f32; S]; G],
        w: &[[f32; S]; G],
        scales: &Affine<G>,
    ) -> (f32, f32) {
        let (d, dmin) = (f32_of_f16(scales.d), f32_of_f16(scales.dmin));
        // With a and b the products of codes and scales, and the minima.
        let (mut aa, mut ab, mut bb, mut xa, mut xb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for j in 0..G {
            let (a, b) = (scales.of_subs[j] as f32, scales.mins[j] as f32);
            let s = self.sums(&x[j], &w[j], d * a, dmin * b);
            aa += a * a * s.ll;
            ab += a * b * s.l;
            bb += b * b * s.w;
            xa += a * s.xl;
            xb += b * s.x;
        }
        let determinant = aa * bb - ab * ab;
        if determinant > 0.0 {
            ((bb * xa - ab * xb) / determinant, (ab * xa - aa * xb) / determinant)
        } else {
            (xa / aa, dmin)
        }
    }

    /// Scales that fit a block no worse than those that it has.
    #[inline(always)]
    pub fn refined<const G: usize, const S: usize>(
        &self,
        x: &[[f32; S]; G],
        w: &[[f32; S]; G],
        start: Affine<G>,
    ) -> Affine<G> {
        let block = (x, w);
        let wished: [Fit; G] = std::array::from_fn(|j| self.best(&x[j], &w[j]));
        let mut best =
            self.round(block, (start.d, start.dmin), &Self::kept(&start, start.d, start.dmin), false);
        let largest = |of: fn(&Fit) -> f32| wished.iter().map(of).fold(0.0, |a, b| if b > a { b } else { a });
        let (scale, min) = match self.is_one() {
            true => (wished[0].scale, wished[0].min),
            false => (largest(|fit| fit.scale), largest(|fit| fit.min)),
        };
        let (scales, mins, step) = self.common;
        let last = self.scales.1 as f32;
        for i in 0..u32::from(scales) * u32::from(mins) {
            let (i, k) = (i / u32::from(mins), i % u32::from(mins));
            let d = f16_bits(scale / (last - step * i as f32));
            let dmin = f16_bits(min / (last - step * k as f32));
            let found = self.round(block, (d, dmin), &wished, false);
            if found.0 < best.0 {
                best = found;
            }
        }
        for _ in 0..super::ROUNDS {
            let (before, scales) = best;
            let (d, dmin) = self.common(x, w, &scales);
            let (d, dmin) = (half_near(d), half_near(dmin));
            for (i, k) in [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2)] {
                let found =
                    self.round(block, (d[i], dmin[k]), &Self::kept(&scales, d[i], dmin[k]), i + k == 0);
                if found.0 < best.0 {
                    best = found;
                }
            }
            if best.0 >= before {
                break;
            }
        }
        best.1
    }
}
