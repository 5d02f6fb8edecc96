//! The searches of IQ1: the weights of a sub-block, sorted, are split into three runs that stand for -1, 0 and 1, all
//! shifted up or down by an eighth; every split is tried. Then entries of the codebook stand for the codes. Serves `iq1.rs`.
//! Specification: ggml `quantize_row_iq1_s_impl`, `quantize_row_iq1_m_impl`.

use super::codebook::{Codebook, IQ1};
use crate::simd::{Best, Running, SHIFTED, by_sub_block, level, split_by_halves, split_in_step};

/// Code -> value, shifted up and shifted down; twice, as `Codebook::nearest` has it.
const VALUES: [[f32; 8]; 2] = [twice(SHIFTED[0]), twice(SHIFTED[1])];

const fn twice([a, b, c]: [f32; 3]) -> [f32; 8] {
    [a, b, c, 0.0, a, b, c, 0.0]
}

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

    /// Fits the scale to the entries.
    fn refit(&mut self, x: &[[f32; 8]], weights: &[[f32; 8]]) {
        let (mut sumqx, mut sumq2) = (0.0, 0.0);
        for (i, (x, weights)) in x.iter().zip(weights).enumerate() {
            for ((x, w), q) in x.iter().zip(weights).zip(self.values(i)) {
                sumqx += w * q * x;
                sumq2 += w * q * q;
            }
        }
        if sumqx > 0.0 && sumq2 > 0.0 {
            self.scale = sumqx / sumq2;
        }
    }
}

/// A split into three runs.
#[derive(Clone, Copy)]
struct Split<const G: usize> {
    scale: f32,
    /// Of the codes.
    words: [u16; G],
    down: [bool; G],
}

impl<const G: usize> Split<G> {
    /// With a scale that is not negative; none if no split has weights. `down` tells which groups a shift shifts down.
    fn new(best: &Best, words: [u16; G], down: impl Fn(usize) -> [bool; G]) -> Option<Self> {
        let down = down(best.shift);
        match best.scale < 0.0 {
            _ if best.shift == usize::MAX => None,
            true => Some(Split {
                scale: -best.scale,
                words: words.map(|word| TWOS - word),
                down: down.map(|down| !down),
            }),
            false => Some(Split { scale: best.scale, words, down }),
        }
    }
}

/// The word of eight times the code 2.
const TWOS: u16 = 0xaaaa;

/// The place of each element among all, the smallest first, equal ones in their order.
fn places_of<const N: usize>(x: &[f32; N]) -> [u8; N] {
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

/// The words of the codes of the elements at these places.
fn words_of<const G: usize>(places: &[u8], (second, third): (usize, usize)) -> [u16; G] {
    let (second, third) = (second as u8, third as u8);
    let mut words = [0; G];
    for (word, places) in words.iter_mut().zip(places.as_chunks::<8>().0) {
        let code = |place: u8| u8::from(place >= second) + u8::from(place >= third);
        *word = Codebook::<8>::word(&places.map(code));
    }
    words
}

/// The best for sub-blocks of the 32 elements of IQ1_S, all shifted alike.
pub(super) fn in_step(x: &[[f32; 32]], weights: &[[f32; 32]]) -> [Ternary<4>; 8] {
    const TINY: f32 = 1e-12;
    let down = |shift| [shift == 1; 4];
    let found = level().map(|level| {
        let columns = [x, weights].map(|x| by_sub_block(level, x.as_flattened()));
        split_in_step(level, &columns[0], &columns[1], 0)
    });
    of_splits(x, weights, |i| match &found {
        _ if largest_magnitude(&x[i]) < TINY => None,
        Some(found) if found.exact >> i & 1 == 1 => Split::new(&found.best[i], found.words_of(i), down),
        _ => {
            let places = places_of(&x[i]);
            let mut sums = Running::<33, 1>::ZERO;
            for ((place, x), w) in places.iter().zip(&x[i]).zip(&weights[i]) {
                let place = usize::from(*place) + 1;
                (sums.x[place], sums.w[place]) = ([w * x], [*w]);
            }
            sums.add_up();
            let best = best_in_step(&sums);
            Split::new(&best, words_of(&places, best.ends), down)
        }
    })
}

/// The best for sub-blocks of the 16 elements of IQ1_M, of which each half has its own shift.
pub(super) fn by_halves(x: &[[f32; 16]], weights: &[[f32; 16]]) -> [Ternary<2>; 16] {
    const TINY: f32 = 1e-7;
    let down = |shift| [shift >= 2, shift % 2 == 1];
    let found = level().map(|level| {
        let columns = [x, weights].map(|x| by_sub_block(level, x.as_flattened()));
        [0, 8].map(|first| split_by_halves(level, &columns[0], &columns[1], first))
    });
    let found = found.as_ref();
    of_splits(x, weights, |i| match found.map(|found| (&found[i / 8], i % 8)) {
        _ if largest_magnitude(&x[i]) < TINY => None,
        Some((found, lane)) if found.exact >> lane & 1 == 1 => {
            Split::new(&found.best[lane], found.words_of(lane), down)
        }
        _ => {
            let places = places_of(&x[i]);
            let mut halves = [Running::<17, 1>::ZERO; 2];
            for (k, place) in places.iter().enumerate() {
                let (half, place) = (&mut halves[k / 8], usize::from(*place) + 1);
                (half.x[place], half.w[place]) = ([weights[i][k] * x[i][k]], [weights[i][k]]);
            }
            halves.iter_mut().for_each(Running::add_up);
            let best = best_by_halves(&halves);
            Split::new(&best, words_of(&places, best.ends), down)
        }
    })
}

/// The entries nearest to the codes of the splits of all sub-blocks of a super-block, and the scales that fit them; zero where
/// there is no split.
fn of_splits<const N: usize, const G: usize, const M: usize>(
    x: &[[f32; N]],
    weights: &[[f32; N]],
    split: impl Fn(usize) -> Option<Split<G>>,
) -> [Ternary<G>; M] {
    let mut found = [Ternary::ZERO; M];
    let (mut own, mut values) = ([[0; G]; M], [[[0.0; 8]; G]; M]);
    for (i, found) in found.iter_mut().enumerate() {
        let Some(split) = split(i) else { continue };
        (own[i], found.scale, found.down) = (split.words, split.scale, split.down);
        for (values, down) in values[i].iter_mut().zip(split.down) {
            *values = VALUES[usize::from(down)].map(|value| split.scale * value);
        }
    }
    let mut words = own;
    let [x, weights] = [x, weights].map(|x| x.as_flattened().as_chunks::<8>().0);
    IQ1.nearest_of_each(level(), words.as_flattened_mut(), x, weights, values.as_flattened());
    let groups = x.chunks_exact(G).zip(weights.chunks_exact(G));
    for (i, (found, (x, weights))) in found.iter_mut().zip(groups).enumerate() {
        found.entries = words[i].map(|word| IQ1.entry_of(word));
        if words[i] != own[i] {
            found.refit(x, weights);
        }
    }
    found
}

/// The best of all splits of 32 elements.
fn best_in_step(sums: &Running<33, 1>) -> Best {
    let mut best = Best::NONE;
    for second in 0..=32 {
        for third in second..=32 {
            let runs = |sums: &[[f32; 1]; 33]| {
                let [[second], [third], [all]] = [sums[second], sums[third], sums[32]];
                [second, third - second, all - third]
            };
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
fn best_by_halves(halves: &[Running<17, 1>; 2]) -> Best {
    // Neighbouring values differ by 1, so that what all would have as the last value loses one more for each run.
    let sums = |half: &Running<17, 1>, second: usize, third: usize| {
        VALUES.map(|v| {
            let (one, two) = (v[0] * v[0] - v[1] * v[1], v[1] * v[1] - v[2] * v[2]);
            let sumqx = half.x[16][0] * v[2] - (half.x[second][0] + half.x[third][0]);
            let sumq2 = half.w[16][0] * v[2] * v[2] + half.w[second][0] * one + half.w[third][0] * two;
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
