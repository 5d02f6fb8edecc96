//! The searches of IQ1: the weights of a sub-block, sorted, are split into three runs that stand for -1, 0 and 1, all
//! shifted up or down by an eighth; every split is tried. Then entries of the codebook stand for the codes. Serves `iq1.rs`.
//! Specification: ggml `quantize_row_iq1_s_impl`, `quantize_row_iq1_m_impl`.

use super::codebook::{Codebook, IQ1};
use crate::simd::{Best, Running, level, places, split_by_halves, split_in_step};

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

/// The place of each element among all, the smallest first, equal ones in their order.
fn places_of<const N: usize>(x: &[f32; N]) -> [u8; N] {
    if let Some(places) = level().and_then(|level| places(level, x)) {
        return places;
    }
    let mut order: [usize; N] = std::array::from_fn(|i| i);
    for end in 1..N {
        let new = order[end];
        let place = order[..end].iter().rposition(|i| x[*i] <= x[new]).map_or(0, |i| i + 1);
        order[place..=end].rotate_right(1);
    }
    let mut places = [0; N];
    order.into_iter().enumerate().for_each(|(place, i)| places[i] = place as u8);
    places
}

fn largest_magnitude(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |max: f32, x| if x.abs() > max { x.abs() } else { max })
}

/// The codes of the elements at these places.
fn codes_of<const G: usize>(places: &[u8], (second, third): (usize, usize)) -> [[u8; 8]; G] {
    let (second, third) = (second as u8, third as u8);
    let mut codes = [[0; 8]; G];
    for (code, place) in codes.as_flattened_mut().iter_mut().zip(places) {
        *code = u8::from(*place >= second) + u8::from(*place >= third);
    }
    codes
}

/// The best for the 32 elements of IQ1_S, all shifted alike.
pub(super) fn in_step(x: &[f32; 32], weights: &[f32; 32]) -> Ternary<4> {
    if largest_magnitude(x) < 1e-12 {
        return Ternary::ZERO;
    }
    let places = places_of(x);
    let mut sums = Running::<40>::START;
    for (i, place) in places.iter().enumerate() {
        let place = usize::from(*place) + 1;
        (sums.x[place], sums.w[place]) = (weights[i] * x[i], weights[i]);
    }
    sums.add_up(33);
    let best = match level() {
        Some(level) => split_in_step(level, &sums, &shifted()),
        None => best_in_step(&sums),
    };
    if best.shift == usize::MAX {
        return Ternary::ZERO;
    }
    let codes = codes_of(&places, best.ends);
    let split = Split { scale: best.scale, codes, down: [best.shift == 1; 4] };
    Ternary::of_split(split, &eights(x), &eights(weights))
}

/// The best for the 16 elements of IQ1_M, of which each half has its own shift.
pub(super) fn by_halves(x: &[f32; 16], weights: &[f32; 16]) -> Ternary<2> {
    if largest_magnitude(x) < 1e-7 {
        return Ternary::ZERO;
    }
    let places = places_of(x);
    let mut halves = [Running::<24>::START; 2];
    for half in &mut halves {
        half.x[..17].fill(0.0);
        half.w[..17].fill(0.0);
    }
    for (i, place) in places.iter().enumerate() {
        let (half, place) = (&mut halves[i / 8], usize::from(*place) + 1);
        (half.x[place], half.w[place]) = (weights[i] * x[i], weights[i]);
    }
    halves.iter_mut().for_each(|half| half.add_up(17));
    let best = match level() {
        Some(level) => split_by_halves(level, &halves, &shifted()),
        None => best_by_halves(&halves),
    };
    if best.shift == usize::MAX {
        return Ternary::ZERO;
    }
    let codes = codes_of(&places, best.ends);
    let split = Split { scale: best.scale, codes, down: [best.shift >= 2, best.shift % 2 == 1] };
    Ternary::of_split(split, &eights(x), &eights(weights))
}

/// The three values, shifted up and shifted down.
fn shifted() -> [[f32; 3]; 2] {
    VALUES.map(|v| [v[0], v[1], v[2]])
}

/// The best of all splits of 32 elements.
fn best_in_step(sums: &Running<40>) -> Best {
    let mut best = Best::NONE;
    for second in 0..=32 {
        for third in second..=32 {
            let runs = |sums: &[f32; 40]| [sums[second], sums[third] - sums[second], sums[32] - sums[third]];
            let (x, w) = (runs(&sums.x), runs(&sums.w));
            for (shift, v) in VALUES.iter().enumerate() {
                let sumqx = x[0] * v[0] + x[1] * v[1] + x[2] * v[2];
                let sumq2 = w[0] * v[0] * v[0] + w[1] * v[1] * v[1] + w[2] * v[2] * v[2];
                best.meet(sumqx, sumq2, (second, third), shift);
            }
        }
    }
    best
}

/// The best of all splits of 16 elements: both halves shifted up, the second down, the first down, both down.
fn best_by_halves(halves: &[Running<24>; 2]) -> Best {
    // Neighbouring values differ by 1, so that what all would have as the last value loses one more for each run.
    let sums = |half: &Running<24>, second: usize, third: usize| {
        VALUES.map(|v| {
            let (one, two) = (v[0] * v[0] - v[1] * v[1], v[1] * v[1] - v[2] * v[2]);
            let sumqx = half.x[16] * v[2] - (half.x[second] + half.x[third]);
            let sumq2 = half.w[16] * v[2] * v[2] + half.w[second] * one + half.w[third] * two;
            (sumqx, sumq2)
        })
    };
    let mut best = Best::NONE;
    for second in 0..=16 {
        for third in second..=16 {
            let (a, b) = (sums(&halves[0], second, third), sums(&halves[1], second, third));
            for shift in 0..4 {
                let (a, b) = (a[shift / 2], b[shift % 2]);
                best.meet(a.0 + b.0, a.1 + b.1, (second, third), shift);
            }
        }
    }
    best
}

fn eights<const N: usize, const G: usize>(x: &[f32; N]) -> [[f32; 8]; G] {
    std::array::from_fn(|i| std::array::from_fn(|k| x[8 * i + k]))
}
