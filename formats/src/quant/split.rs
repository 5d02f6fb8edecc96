//! The searches of IQ1: the weights of a sub-block, sorted, are split into three runs that stand for -1, 0 and 1, all
//! shifted up or down by an eighth; every split is tried. Then entries of the codebook stand for the codes. Serves `iq1.rs`.
//! Specification: ggml `quantize_row_iq1_s_impl`, `quantize_row_iq1_m_impl`.

use super::codebook::{Codebook, IQ1};
use crate::simd::{level, vectorized};

/// Code -> value, shifted up and shifted down; twice, as `Codebook::nearest` has it.
const VALUES: [[f32; 8]; 2] = [
    [-0.875, 0.125, 1.125, 0.0, -0.875, 0.125, 1.125, 0.0],
    [-1.125, -0.125, 0.875, 0.0, -1.125, -0.125, 0.875, 0.0],
];

/// What was found for a sub-block of `8 * G` elements.
#[derive(Clone, Copy)]
pub(super) struct Ternary<const G: usize> {
    pub scale: f32,
    /// For each eight elements, as are those below.
    pub entries: [u16; G],
    pub down: [bool; G],
}

impl<const G: usize> Ternary<G> {
    /// A sub-block that counts as zero.
    pub const ZERO: Self = Ternary { scale: 0.0, entries: [0; G], down: [false; G] };

    /// The values that the elements of group `i` stand for, before the scale.
    pub fn values(&self, i: usize) -> [f32; 8] {
        let values = &VALUES[usize::from(self.down[i])];
        Codebook::<8>::codes(IQ1.word_of(self.entries[i])).map(|code| values[usize::from(code)])
    }

    /// The entries nearest to the codes of a split, and the scale that fits them.
    fn of_split(split: Split<G>, x: &[[f32; 8]; G], weights: &[[f32; 8]; G]) -> Self {
        let Split { mut scale, mut codes, mut down } = split;
        if scale < 0.0 {
            codes = codes.map(|codes| codes.map(|code| 2 - code));
            scale = -scale;
            down = down.map(|down| !down);
        }
        let level = level();
        let mut all = true;
        let mut found = Ternary { scale, entries: [0; G], down };
        for i in 0..G {
            let values = VALUES[usize::from(down[i])].map(|value| scale * value);
            let (entry, on) = IQ1.nearest(level, Codebook::word(&codes[i]), &x[i], &weights[i], &values);
            found.entries[i] = entry;
            all &= on;
        }
        if all {
            return found;
        }
        let (mut sumqx, mut sumq2) = (0.0, 0.0);
        for i in 0..G {
            for ((x, w), q) in x[i].iter().zip(&weights[i]).zip(found.values(i)) {
                sumqx += w * q * x;
                sumq2 += w * q * q;
            }
        }
        if sumqx > 0.0 && sumq2 > 0.0 {
            found.scale = sumqx / sumq2;
        }
        found
    }
}

/// A split into three runs.
struct Split<const G: usize> {
    scale: f32,
    codes: [[u8; 8]; G],
    down: [bool; G],
}

/// The best split so far.
struct Best {
    score: f32,
    scale: f32,
    /// Where the second run begins, and where the third.
    ends: (usize, usize),
    shift: usize,
}

/// Tries every split of `N - 8` elements: `sums` are given the ends of the first two runs and make the sums of `w * q * x`
/// and of `w * q * q` for that split and the seven that follow it, for each of the shifts. Of equal splits the first
/// wins; `None` if none has weights.
#[inline(always)]
fn best<const SHIFTS: usize>(
    last: usize,
    sums: impl Fn(usize, usize) -> [[[f32; 8]; 2]; SHIFTS],
) -> Option<Best> {
    let mut best = Best { score: f32::MIN, scale: 0.0, ends: (0, 0), shift: usize::MAX };
    for second in 0..=last {
        for third in (second..=last).step_by(8) {
            let found = sums(second, third);
            // Rarely is any better, and what is not better changes nothing.
            let mut better = false;
            for [sumqx, sumq2] in &found {
                for i in 0..8 {
                    better |= (sumq2[i] > 0.0) & (sumqx[i] * sumqx[i] > best.score * sumq2[i]);
                }
            }
            if !better {
                continue;
            }
            for i in 0..8 {
                for (shift, [sumqx, sumq2]) in found.iter().enumerate() {
                    let (sumqx, sumq2) = (sumqx[i], sumq2[i]);
                    if sumq2 > 0.0 && sumqx * sumqx > best.score * sumq2 {
                        let scale = sumqx / sumq2;
                        best = Best { score: scale * sumqx, scale, ends: (second, third + i), shift };
                    }
                }
            }
        }
    }
    (best.shift < SHIFTS).then_some(best)
}

/// Eight running sums.
#[inline(always)]
fn eight(sums: &[f32], first: usize) -> [f32; 8] {
    std::array::from_fn(|i| sums[first + i])
}

/// The places of the elements, the smallest first, equal ones in their order.
fn sorted<const N: usize>(x: &[f32; N]) -> [usize; N] {
    let mut order = std::array::from_fn(|i| i);
    for end in 1..N {
        let new = order[end];
        let place = order[..end].iter().rposition(|i| x[*i] <= x[new]).map_or(0, |i| i + 1);
        order[place..=end].rotate_right(1);
    }
    order
}

fn largest_magnitude(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |max: f32, x| if x.abs() > max { x.abs() } else { max })
}

/// The codes of the elements in this order.
fn codes_of<const G: usize>(order: &[usize], (second, third): (usize, usize)) -> [[u8; 8]; G] {
    let mut codes = [[0; 8]; G];
    for (place, i) in order.iter().enumerate() {
        codes[i / 8][i % 8] = u8::from(place >= second) + u8::from(place >= third);
    }
    codes
}

/// The best for the 32 elements of IQ1_S, all shifted alike.
pub(super) fn in_step(x: &[f32; 32], weights: &[f32; 32]) -> Ternary<4> {
    if largest_magnitude(x) < 1e-12 {
        return Ternary::ZERO;
    }
    let order = sorted(x);
    // Beyond the end is nothing that is better than anything.
    let (mut sumx, mut sumw) = ([f32::NAN; 40], [f32::NAN; 40]);
    (sumx[0], sumw[0]) = (0.0, 0.0);
    for (j, i) in order.iter().enumerate() {
        sumx[j + 1] = sumx[j] + weights[*i] * x[*i];
        sumw[j + 1] = sumw[j] + weights[*i];
    }
    let Some(best) = vectorized(
        #[inline(always)]
        || {
            best(
                32,
                #[inline(always)]
                |second, third| sums_in_step(&sumx, &sumw, second, third),
            )
        },
    ) else {
        return Ternary::ZERO;
    };
    let codes = codes_of(&order, best.ends);
    let split = Split { scale: best.scale, codes, down: [best.shift == 1; 4] };
    Ternary::of_split(split, &eights(x), &eights(weights))
}

/// The best for the 16 elements of IQ1_M, of which each half has its own shift.
pub(super) fn by_halves(x: &[f32; 16], weights: &[f32; 16]) -> Ternary<2> {
    if largest_magnitude(x) < 1e-7 {
        return Ternary::ZERO;
    }
    let order = sorted(x);
    let mut halves = [Half::START; 2];
    for (j, i) in order.iter().enumerate() {
        for (h, half) in halves.iter_mut().enumerate() {
            let (x, w) = if i / 8 == h { (weights[*i] * x[*i], weights[*i]) } else { (0.0, 0.0) };
            half.x[j + 1] = half.x[j] + x;
            half.w[j + 1] = half.w[j] + w;
        }
    }
    let Some(best) = vectorized(
        #[inline(always)]
        || {
            best(
                16,
                #[inline(always)]
                |second, third| sums_by_halves(&halves, second, third),
            )
        },
    ) else {
        return Ternary::ZERO;
    };
    let codes = codes_of(&order, best.ends);
    let split = Split { scale: best.scale, codes, down: [best.shift >= 2, best.shift % 2 == 1] };
    Ternary::of_split(split, &eights(x), &eights(weights))
}

/// The sums of eight splits, shifted up and shifted down.
#[inline(always)]
fn sums_in_step(sumx: &[f32; 40], sumw: &[f32; 40], second: usize, third: usize) -> [[[f32; 8]; 2]; 2] {
    let (x, w) = (eight(sumx, third), eight(sumw, third));
    let (x0, w0, all_x, all_w) = (sumx[second], sumw[second], sumx[32], sumw[32]);
    VALUES.map(|v| {
        let sumqx = x.map(|x| x0 * v[0] + (x - x0) * v[1] + (all_x - x) * v[2]);
        let sumq2 = w.map(|w| w0 * v[0] * v[0] + (w - w0) * v[1] * v[1] + (all_w - w) * v[2] * v[2]);
        [sumqx, sumq2]
    })
}

/// The running sums of the elements of one half, in the order of both.
#[derive(Clone, Copy)]
struct Half {
    x: [f32; 24],
    w: [f32; 24],
}

impl Half {
    const START: Half = {
        let mut sums = [f32::NAN; 24];
        sums[0] = 0.0;
        Half { x: sums, w: sums }
    };

    /// The sums of eight splits, shifted up and shifted down. Neighbouring values differ by 1.
    #[inline(always)]
    fn sums(&self, second: usize, third: usize) -> [[[f32; 8]; 2]; 2] {
        let (x, w) = (eight(&self.x, third), eight(&self.w, third));
        VALUES.map(|v| {
            let (first, last) = (v[0] * v[0] - v[1] * v[1], v[1] * v[1] - v[2] * v[2]);
            let (all_x, all_w) = (self.x[16] * v[2], self.w[16] * v[2] * v[2] + self.w[second] * first);
            [x.map(|x| all_x - (self.x[second] + x)), w.map(|w| all_w + w * last)]
        })
    }
}

/// The sums of eight splits: both halves shifted up, the second down, the first down, both down.
#[inline(always)]
fn sums_by_halves(halves: &[Half; 2], second: usize, third: usize) -> [[[f32; 8]; 2]; 4] {
    let [a, b] = [halves[0].sums(second, third), halves[1].sums(second, third)];
    let both = |i: usize, k: usize| std::array::from_fn(|s| std::array::from_fn(|l| a[i][s][l] + b[k][s][l]));
    [both(0, 0), both(0, 1), both(1, 0), both(1, 1)]
}

fn eights<const N: usize, const G: usize>(x: &[f32; N]) -> [[f32; 8]; G] {
    std::array::from_fn(|i| std::array::from_fn(|k| x[8 * i + k]))
}
