//! Blocks without minima: an element is `d * scale * level`. The levels are whole numbers or a table's, the scales of the
//! sub-blocks whole numbers; blocks of one scale have a scale of 1.

use super::{LANES, half_near, inverse, lanes, total, whole};
use crate::quant::block::extreme;
use crate::quant::float::{f16_bits, f32_of_f16};
use crate::quant::scales::Symmetric;
use crate::simd::VALUES;

/// What a format of this kind allows.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub levels: Levels,
    /// The least and the greatest scale of a sub-block.
    pub scales: (i32, i32),
    /// How far the extreme is taken from the last level, as a part of it: from, step and how many.
    pub ends: (f32, f32, u8),
    /// How many common scales are tried at each end of the scales, and how far apart.
    pub common: (u8, f32),
}

/// What codes stand for.
#[derive(Clone, Copy)]
pub(super) enum Levels {
    /// Whole numbers from the first to the last; the code is the distance from the first.
    Whole(f32, f32),
    /// Those of IQ4; the code is the place.
    Table,
}

impl Levels {
    /// The ends, the lower first.
    fn ends(self) -> (f32, f32) {
        match self {
            Levels::Whole(low, high) => (low, high),
            Levels::Table => (VALUES[0], VALUES[15]),
        }
    }

    /// The nearest level.
    #[inline(always)]
    fn nearest(self, x: f32) -> f32 {
        match self {
            Levels::Whole(low, high) => whole(x, low, high),
            Levels::Table => {
                let step = |level, (a, b): (f32, f32)| level + if x >= (a + b) * 0.5 { b - a } else { 0.0 };
                neighbours().fold(VALUES[0], step)
            }
        }
    }

    /// The code of the nearest level.
    #[inline(always)]
    fn code(self, x: f32) -> u8 {
        match self {
            Levels::Whole(low, high) => (whole(x, low, high) - low) as u8,
            Levels::Table => neighbours().map(|(a, b)| u8::from(x >= (a + b) * 0.5)).sum(),
        }
    }
}

/// Each level of the table, and the next.
#[inline(always)]
fn neighbours() -> impl Iterator<Item = (f32, f32)> {
    (1..VALUES.len()).map(|i| (VALUES[i - 1], VALUES[i]))
}

impl Form {
    /// The codes of a block.
    #[inline(always)]
    pub fn codes<const G: usize, const S: usize>(
        &self,
        x: &[[f32; S]; G],
        scales: &Symmetric<G>,
    ) -> [[u8; S]; G] {
        let d = f32_of_f16(scales.d);
        std::array::from_fn(|j| {
            let inverse = inverse(d * scales.of_subs[j] as f32);
            x[j].map(|x| self.levels.code(x * inverse))
        })
    }

    /// The weighted squared error of a sub-block under a scale.
    #[inline(always)]
    fn error<const S: usize>(&self, x: &[f32; S], w: &[f32; S], scale: f32) -> f32 {
        let inverse = inverse(scale);
        let mut sums = [0.0; LANES];
        for (x, w) in lanes(x).iter().zip(lanes(w)) {
            for k in 0..LANES {
                let e = x[k] - scale * self.levels.nearest(x[k] * inverse);
                sums[k] += w[k] * e * e;
            }
        }
        total(&sums)
    }

    /// The sums of a regression on the levels under a scale: weight x element x level, weight x level x level.
    #[inline(always)]
    fn sums<const S: usize>(&self, x: &[f32; S], w: &[f32; S], inverse: f32) -> (f32, f32) {
        let (mut products, mut squares) = ([0.0; LANES], [0.0; LANES]);
        for (x, w) in lanes(x).iter().zip(lanes(w)) {
            for k in 0..LANES {
                let l = self.levels.nearest(x[k] * inverse);
                products[k] += w[k] * l * x[k];
                squares[k] += w[k] * l * l;
            }
        }
        (total(&products), total(&squares))
    }

    /// The scale that fits a sub-block best, whatever can be stored.
    #[inline(always)]
    fn best<const S: usize>(&self, x: &[f32; S], w: &[f32; S]) -> f32 {
        let most = extreme(x);
        let (low, high) = self.levels.ends();
        let (from, step, count) = self.ends;
        let (mut scale, mut best) = (0.0, 0.0);
        for i in 0..2 * u32::from(count) {
            let end = if i % 2 == 0 { low } else { high };
            let (products, squares) = self.sums(x, w, end * (1.0 + from + step * (i / 2) as f32) / most);
            // The error is the sum of squares less this.
            if products * products > best * squares {
                (scale, best) = (products / squares, products * products / squares);
            }
        }
        for _ in 0..2 {
            let (products, squares) = self.sums(x, w, inverse(scale));
            if products * products > best * squares {
                (scale, best) = (products / squares, products * products / squares);
            }
        }
        scale
    }

    /// Of the scales next to those that are wished for the best, under a common one, and their error.
    #[inline(always)]
    fn round<const G: usize, const S: usize>(
        &self,
        (x, w): (&[[f32; S]; G], &[[f32; S]; G]),
        d: u16,
        wished: &[f32; G],
        reach: i32,
    ) -> (f32, Symmetric<G>) {
        let common = f32_of_f16(d);
        let inverse = inverse(common);
        let mut of_subs = [0; G];
        let mut sum = 0.0;
        for j in 0..G {
            let near = whole(wished[j] * inverse, self.scales.0 as f32, self.scales.1 as f32) as i32;
            let mut best = f32::INFINITY;
            for scale in (near - reach).max(self.scales.0)..=(near + reach).min(self.scales.1) {
                let error = self.error(&x[j], &w[j], common * scale as f32);
                if error < best {
                    (best, of_subs[j]) = (error, scale);
                }
            }
            sum += best;
        }
        (sum, Symmetric { d, of_subs })
    }

    /// Scales that fit a block no worse than those that it has.
    #[inline(always)]
    pub fn refined<const G: usize, const S: usize>(
        &self,
        x: &[[f32; S]; G],
        w: &[[f32; S]; G],
        start: Symmetric<G>,
    ) -> Symmetric<G> {
        let block = (x, w);
        let wished: [f32; G] = std::array::from_fn(|j| self.best(&x[j], &w[j]));
        let most = extreme(&wished);
        let own = f32_of_f16(start.d);
        let mut best = self.round(block, start.d, &start.of_subs.map(|scale| own * scale as f32), 0);
        let (count, step) = self.common;
        for i in 0..2 * u32::from(count) {
            let (end, sign) = if i % 2 == 0 { (self.scales.0, 1.0) } else { (self.scales.1, -1.0) };
            let d = most / (end as f32 + sign * step * (i / 2) as f32);
            let found = self.round(block, f16_bits(d), &wished, 0);
            if found.0 < best.0 {
                best = found;
            }
        }
        for _ in 0..super::ROUNDS {
            let before = best.0;
            let own = f32_of_f16(best.1.d);
            let (mut products, mut squares) = (0.0, 0.0);
            for j in 0..G {
                let scale = best.1.of_subs[j] as f32;
                let sums = self.sums(&x[j], &w[j], inverse(own * scale));
                products += scale * sums.0;
                squares += scale * scale * sums.1;
            }
            let subs = best.1.of_subs;
            for (d, reach) in half_near(products / squares).into_iter().zip([1, 0, 0]) {
                let own = f32_of_f16(d);
                let found = self.round(block, d, &subs.map(|scale| own * scale as f32), reach);
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
