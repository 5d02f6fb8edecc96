//! The search for the best split of sorted weights into three runs, of eight sub-blocks abreast: `quant/split.rs`. A lane is a
//! sub-block. Every split is scored roughly (`rough.rs`); those that may be the best are computed as the scalar code
//! computes them, in its order.

use super::rough::{ABREAST, Rough};
use super::running::{Running, SHIFTED};
use super::{Columns, Level};
use fearless_simd::{Simd, dispatch, f32x8, i32x8, prelude::*};
use std::cell::RefCell;

/// The best split so far. Of equal ones the first stays.
#[derive(Clone, Copy)]
pub struct Best {
    pub score: f32,
    pub scale: f32,
    /// Where the second run begins, and where the third.
    pub ends: (usize, usize),
    /// Which of the shifts, or of their pairs; `usize::MAX` if no split has weights.
    pub shift: usize,
}

impl Best {
    pub const NONE: Best = Best { score: f32::MIN, scale: 0.0, ends: (0, 0), shift: usize::MAX };

    #[inline(always)]
    pub fn meet(&mut self, sumqx: f32, sumq2: f32, ends: (usize, usize), shift: usize) {
        if sumq2 > 0.0 && sumqx * sumqx > self.score * sumq2 {
            let scale = sumqx / sumq2;
            *self = Best { score: scale * sumqx, scale, ends, shift };
        }
    }
}

thread_local! {
    // Clearing them for each search would take as long as a tenth of it.
    static IN_STEP: RefCell<Box<Rough<33, 2, 561>>> = RefCell::new(Box::new(Rough::ZERO));
    static BY_HALVES: RefCell<Box<Rough<17, 4, 153>>> = RefCell::new(Box::new(Rough::ZERO));
}

/// What was found for eight sub-blocks.
pub struct Splits {
    pub best: [Best; ABREAST],
    /// For each eight elements the word of their codes in each sub-block, two bits a code, the first in the lowest.
    pub words: [[i32; ABREAST]; 4],
    /// Bit `i` tells that sub-block `i` is certain to be what the scalar search finds.
    pub exact: u8,
}

impl Splits {
    /// The words of sub-block `i`.
    pub fn words_of<const G: usize>(&self, i: usize) -> [u16; G] {
        let mut words = [0; G];
        for (word, all) in words.iter_mut().zip(&self.words) {
            *word = all[i] as u16;
        }
        words
    }
}

/// The best splits of eight sub-blocks of 32 weights, of which `first` is the first; all are shifted alike.
pub fn split_in_step(level: Level, x: &Columns<32>, weights: &Columns<32>, first: usize) -> Splits {
    IN_STEP.with_borrow_mut(
        |rough| dispatch!(level, simd => search::<_, 32, 33, 561, 1, 2>(simd, x, weights, first, rough)),
    )
}

/// The best splits of eight sub-blocks of 16 weights, of which each half has its own shift: both up, the second half down,
/// the first half down, both down.
pub fn split_by_halves(level: Level, x: &Columns<16>, weights: &Columns<16>, first: usize) -> Splits {
    BY_HALVES.with_borrow_mut(
        |rough| dispatch!(level, simd => search::<_, 16, 17, 153, 2, 4>(simd, x, weights, first, rough)),
    )
}

/// The search among `T` splits of `N` elements in `H` parts, which may be shifted in `K` ways; there are `P` places where a
/// run may begin.
#[inline(always)]
fn search<S: Simd, const N: usize, const P: usize, const T: usize, const H: usize, const K: usize>(
    simd: S,
    x: &Columns<N>,
    weights: &Columns<N>,
    first: usize,
    rough: &mut Rough<P, K, T>,
) -> Splits {
    let (places, ordered) = places(simd, x, first);
    let mut parts = [Running::ZERO; H];
    sort(simd, x, weights, first, &places, &mut parts);
    let enough = rough.fill(simd, &parts);
    let mut all = f32x8::splat(simd, 0.0);
    for part in &parts {
        all += f32x8::load_array_ref(simd, &part.w[N]);
    }
    let weightless = all.simd_eq(0.0).to_bitmask() as u8;
    let known = enough.simd_lt(f32::INFINITY).to_bitmask() as u8 & ordered;
    let mut best = [Best::NONE; ABREAST];
    for split in rough.reached(simd, enough) {
        let [lanes, third, second, _] = split.to_le_bytes();
        let ends = (usize::from(second), usize::from(third));
        let mut sums = [[[0.0; ABREAST]; 2]; K];
        for (sums, found) in sums.iter_mut().zip(sums_of::<_, P, H, K>(simd, &parts, ends)) {
            found[0].store_array(&mut sums[0]);
            found[1].store_array(&mut sums[1]);
        }
        let mut lanes = lanes & known;
        while lanes != 0 {
            let lane = lanes.trailing_zeros() as usize & 7;
            for (shift, [sumqx, sumq2]) in sums.iter().enumerate() {
                best[lane].meet(sumqx[lane], sumq2[lane], ends, shift);
            }
            lanes &= lanes - 1;
        }
    }
    Splits { words: words(simd, &best, &places), best, exact: known | weightless }
}

/// The sums of a split for each of its shifts, as the scalar code computes them.
#[inline(always)]
fn sums_of<S: Simd, const P: usize, const H: usize, const K: usize>(
    simd: S,
    parts: &[Running<P, ABREAST>; H],
    (second, third): (usize, usize),
) -> [[f32x8<S>; 2]; K] {
    let mut of_parts = [[[f32x8::splat(simd, 0.0); 2]; 2]; H];
    for (part, found) in parts.iter().zip(&mut of_parts) {
        let [x0, x1, x] = [second, third, P - 1].map(|end| f32x8::load_array_ref(simd, &part.x[end]));
        let [w0, w1, w] = [second, third, P - 1].map(|end| f32x8::load_array_ref(simd, &part.w[end]));
        for (found, v) in found.iter_mut().zip(&SHIFTED) {
            *found = if H == 1 {
                [
                    x0 * v[0] + (x1 - x0) * v[1] + (x - x1) * v[2],
                    w0 * v[0] * v[0] + (w1 - w0) * v[1] * v[1] + (w - w1) * v[2] * v[2],
                ]
            } else {
                let (one, two) = (v[0] * v[0] - v[1] * v[1], v[1] * v[1] - v[2] * v[2]);
                [x * v[2] - (x0 + x1), w * v[2] * v[2] + w0 * one + w1 * two]
            };
        }
    }
    let mut sums = [of_parts[0][0]; K];
    for (k, sums) in sums.iter_mut().enumerate() {
        *sums = match H {
            1 => of_parts[0][k],
            _ => {
                let (a, b) = (of_parts[0][k / 2], of_parts[H - 1][k % 2]);
                [a[0] + b[0], a[1] + b[1]]
            }
        };
    }
    sums
}

/// The place of each element among all of its sub-block, the smallest first, equal ones in their order; and which
/// sub-blocks have no NaN.
#[inline(always)]
fn places<S: Simd, const N: usize>(simd: S, x: &Columns<N>, first: usize) -> ([[i32; ABREAST]; N], u8) {
    let one = i32x8::splat(simd, 1);
    let mut places = [[0; ABREAST]; N];
    let mut ordered = 0xff;
    for i in 0..N {
        let at = eight(simd, &x[i], first);
        let mut place = i32x8::splat(simd, 0);
        for before in &x[..i] {
            place += at.simd_ge(eight(simd, before, first)).select(one, i32x8::splat(simd, 0));
        }
        for after in &x[i + 1..] {
            place += at.simd_gt(eight(simd, after, first)).select(one, i32x8::splat(simd, 0));
        }
        place.store_array(&mut places[i]);
        ordered &= at.simd_eq(at).to_bitmask() as u8;
    }
    (places, ordered)
}

#[inline(always)]
fn eight<S: Simd>(simd: S, lanes: &[f32], first: usize) -> f32x8<S> {
    f32x8::from_slice(simd, &lanes[first..first + ABREAST])
}

/// The running sums of each part of the elements, from zeros.
#[inline(always)]
fn sort<S: Simd, const N: usize, const P: usize, const H: usize>(
    simd: S,
    x: &Columns<N>,
    weights: &Columns<N>,
    first: usize,
    places: &[[i32; ABREAST]; N],
    parts: &mut [Running<P, ABREAST>; H],
) {
    for (i, places) in places.iter().enumerate() {
        let part = &mut parts[i * H / N];
        let w = eight(simd, &weights[i], first);
        let wx = (w * eight(simd, &x[i], first)).to_array();
        let w = w.to_array();
        for lane in 0..ABREAST {
            // Where there is a NaN places may be the same, but none is larger.
            let place = places[lane] as usize + 1;
            (part.x[place][lane], part.w[place][lane]) = (wx[lane], w[lane]);
        }
    }
    for part in parts {
        part.add_up();
    }
}

/// The words of the codes of the elements at these places.
#[inline(always)]
fn words<S: Simd, const N: usize>(
    simd: S,
    best: &[Best; ABREAST],
    places: &[[i32; ABREAST]; N],
) -> [[i32; ABREAST]; 4] {
    let (mut ends, mut words) = ([[0; ABREAST]; 2], [[0; ABREAST]; 4]);
    for (lane, best) in best.iter().enumerate() {
        (ends[0][lane], ends[1][lane]) = (best.ends.0 as i32, best.ends.1 as i32);
    }
    let [second, third] = [i32x8::load_array(simd, ends[0]), i32x8::load_array(simd, ends[1])];
    let (zero, one) = (i32x8::splat(simd, 0), i32x8::splat(simd, 1));
    for (word, places) in words.iter_mut().zip(places.as_chunks::<8>().0) {
        let mut codes = zero;
        for place in places.iter().rev() {
            let place = i32x8::load_array_ref(simd, place);
            let code = place.simd_ge(second).select(one, zero) + place.simd_ge(third).select(one, zero);
            codes = (codes << 2) | code;
        }
        codes.store_array(word);
    }
    words
}
