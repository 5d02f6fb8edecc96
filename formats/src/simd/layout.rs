//! From blocks to lanes: sub-blocks laid side by side, and the weights of their elements.

use super::{Columns, LANES, Lanes, Level};
use fearless_simd::{Simd, dispatch, f32x4, f32x16, i32x16, mask32x16, prelude::*};

/// Lays up to sixteen sub-blocks, which `x` holds end to end, side by side; lanes that are left over hold zeros.
pub fn by_sub_block<const N: usize>(level: Level, x: &[f32]) -> Columns<N> {
    let mut columns = [[0.0; LANES]; N];
    dispatch!(level, simd => transpose(simd, x, &mut columns));
    columns
}

/// Turns squares of four by four elements; what is left over one by one.
#[inline(always)]
fn transpose<S: Simd, const N: usize>(simd: S, x: &[f32], columns: &mut Columns<N>) {
    let (fours, left) = x.as_chunks::<N>().0.as_chunks::<4>();
    for (four, subs) in fours.iter().take(LANES / 4).enumerate() {
        let mut parts = subs.each_ref().map(|sub| sub.as_chunks::<4>().0.iter());
        for columns in columns.as_chunks_mut::<4>().0 {
            let mut rows = [f32x4::splat(simd, 0.0); 4];
            for (row, part) in rows.iter_mut().zip(&mut parts) {
                *row = part.next().map_or(*row, |part| f32x4::load_array_ref(simd, part));
            }
            let [a, b, c, d] = rows;
            let (even, odd) = (a.interleave(c), b.interleave(d));
            let (low, high) = (even.0.interleave(odd.0), even.1.interleave(odd.1));
            for (column, turned) in columns.iter_mut().zip([low.0, low.1, high.0, high.1]) {
                turned.store_slice(&mut column[4 * four..4 * four + 4]);
            }
        }
    }
    for (lane, sub) in (4 * fours.len()..LANES).zip(left) {
        for (column, x) in columns.iter_mut().zip(sub) {
            column[lane] = *x;
        }
    }
}

/// The sum of squares of each `run` of elements, in index order. Eight runs are summed abreast, for each addition
/// waits for the one before it.
pub fn sums_of_squares(x: &[f32], run: usize) -> Vec<f32> {
    let mut sums = Vec::with_capacity(x.len() / run.max(1));
    for eight in x.chunks(8 * run.max(1)) {
        let runs = eight.len() / run.max(1);
        // Of runs that are missing the last counts.
        let abreast: [&[f32]; 8] = std::array::from_fn(|k| {
            let first = k.min(runs.saturating_sub(1)) * run;
            eight.get(first..first + run).unwrap_or_default()
        });
        let mut sum = [0.0f32; 8];
        for i in 0..abreast[0].len() {
            for (sum, x) in sum.iter_mut().zip(abreast) {
                *sum += x[i] * x[i];
            }
        }
        sums.extend(&sum[..runs]);
    }
    sums
}

/// An element weighs its magnitude.
pub fn magnitudes<const N: usize>(x: &Columns<N>) -> Columns<N> {
    x.map(|x| x.map(f32::abs))
}

/// An element weighs its square.
pub fn squares<const N: usize>(x: &Columns<N>) -> Columns<N> {
    x.map(|x| x.map(|x| x * x))
}

/// An element weighs its magnitude and the root of the mean square of its sub-block.
pub fn rooted<const N: usize>(level: Level, x: &Columns<N>) -> Columns<N> {
    let mut weights = [[0.0; LANES]; N];
    dispatch!(level, simd => root(simd, x, &mut weights));
    weights
}

#[inline(always)]
fn root<S: Simd, const N: usize>(simd: S, x: &Columns<N>, weights: &mut Columns<N>) {
    let mut sum = f32x16::splat(simd, 0.0);
    for x in x {
        let x = load(simd, x);
        sum += x * x;
    }
    let root = (sum / N as f32).sqrt();
    for (x, w) in x.iter().zip(weights) {
        (root + load(simd, x).abs()).store_array(w);
    }
}

/// An element weighs `importance * sqrt(sigma2 + x * x)`; all hold as many elements as `out`.
pub fn damped(level: Level, importance: &[f32], x: &[f32], sigma2: f32, out: &mut [f32]) {
    dispatch!(level, simd => damp(simd, importance, x, sigma2, out));
}

#[inline(always)]
fn damp<S: Simd>(simd: S, importance: &[f32], x: &[f32], sigma2: f32, out: &mut [f32]) {
    let chunks = importance.as_chunks().0.iter().zip(x.as_chunks().0).zip(out.as_chunks_mut().0);
    for ((w, x), out) in chunks {
        let (w, x) = (load(simd, w), load(simd, x));
        (w * (x * x + sigma2).sqrt()).store_array(out);
    }
}

/// The square root of each.
pub fn roots(x: &[f32; 256]) -> [f32; 256] {
    let mut roots = [0.0; 256];
    super::vectorized(
        #[inline(always)]
        || {
            for (root, x) in roots.iter_mut().zip(x) {
                *root = x.sqrt();
            }
        },
    );
    roots
}

/// The sum of the elements of each sub-block.
pub fn sums<const N: usize>(level: Level, x: &Columns<N>) -> Lanes {
    dispatch!(level, simd => sum(simd, x))
}

#[inline(always)]
fn sum<S: Simd, const N: usize>(simd: S, x: &Columns<N>) -> Lanes {
    let mut sum = f32x16::splat(simd, 0.0);
    for x in x {
        sum += load(simd, x);
    }
    sum.to_array()
}

#[inline(always)]
pub(super) fn load<S: Simd>(simd: S, lanes: &Lanes) -> f32x16<S> {
    f32x16::load_array_ref(simd, lanes)
}

/// As many lanes as a register holds, from `first` on.
#[inline(always)]
pub(super) fn load_from<S: Simd>(simd: S, lanes: &Lanes, first: usize) -> S::f32s {
    S::f32s::from_slice(simd, &lanes[first..first + <S::f32s as SimdBase<S>>::LEN])
}

/// The nearest integer, of two the even one, of numbers below 2^22: adding 1.5 * 2^23 drops the fraction. Instructions that
/// round take the place of two on the units that multiply.
#[inline(always)]
pub(super) fn rounded<S: Simd, V: SimdFloat<S, Element = f32>>(x: V) -> V {
    (x + MAGIC) - MAGIC
}

/// `value` in the lanes of the mask, 0 in others. But with AVX-512 masks are vectors, so that "and" serves; a blend costs more,
/// so much with SSE4.2 that SSE2, which has none, was faster.
#[inline(always)]
pub(super) fn only<S: Simd>(mask: mask32x16<S>, value: i32x16<S>) -> i32x16<S> {
    if <S::f32s as SimdBase<S>>::LEN < LANES {
        mask.to_vector() & value
    } else {
        mask.select(value, i32x16::splat(value.token(), 0))
    }
}

/// 1.5 * 2^23.
const MAGIC: f32 = 12582912.0;

/// `nearest_int` of `quant/search.rs` bit for bit, whatever the number, bounded.
#[inline(always)]
pub(super) fn nearest_int<S: Simd>(x: f32x16<S>, least: i32, most: i32) -> i32x16<S> {
    let bits: i32x16<S> = (x + MAGIC).bitcast();
    ((bits & 0x007f_ffff) - 0x0040_0000).max(least).min(most)
}

#[inline(always)]
pub(super) fn nearest<S: Simd>(x: f32x16<S>, least: i32, most: i32) -> f32x16<S> {
    nearest_int(x, least, most).to_float()
}

/// The same, counted from the least, as bytes.
#[inline(always)]
pub(super) fn nearest_codes<S: Simd>(x: f32x16<S>, least: i32, most: i32) -> [u8; LANES] {
    (nearest_int(x, least, most) - least).to_array().map(|l| l as u8)
}
