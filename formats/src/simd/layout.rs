//! From blocks to lanes: sub-blocks laid side by side, and the weights of their elements.

use super::{Columns, LANES, Lanes, Level};
use fearless_simd::{Simd, dispatch, f32x16, i32x16, mask32x16, prelude::*};

/// Lays up to sixteen sub-blocks, which `x` holds end to end, side by side; lanes that are left over hold zeros.
pub fn by_sub_block<const N: usize>(level: Level, x: &[f32]) -> Columns<N> {
    let mut columns = [[0.0; LANES]; N];
    dispatch!(level, _simd => transpose(x, &mut columns));
    columns
}

#[inline(always)]
fn transpose<const N: usize>(x: &[f32], columns: &mut Columns<N>) {
    for (lane, sub) in x.as_chunks::<N>().0.iter().take(LANES).enumerate() {
        for i in 0..N {
            columns[i][lane] = sub[i];
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

/// `nearest_int` of `quant/search.rs` bit for bit, whatever the number, bounded.
#[inline(always)]
pub(super) fn nearest_int<S: Simd>(x: f32x16<S>, least: i32, most: i32) -> i32x16<S> {
    const MAGIC: f32 = 12582912.0;
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
