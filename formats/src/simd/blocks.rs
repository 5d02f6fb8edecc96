//! The plain encoders of 32-blocks, sixteen blocks at a time: one pass finds the extremes of each block, then the
//! scales of all are lanes, and a second pass rounds. `quant/q4.rs`, `q5.rs`, `q8.rs`, `encode`.

use super::layout::load;
use super::{LANES, Lanes, Level};
use fearless_simd::{Simd, dispatch, f32x16, i32x16, prelude::*};

/// Up to sixteen blocks.
pub struct Blocks {
    pub scale: Lanes,
    pub min: Lanes,
    pub codes: [[u8; 32]; LANES],
    /// Bit `i` tells that block `i` is certain to be what the scalar code gives.
    pub exact: u16,
}

/// Codes up to `most` of `x / scale + half`, where the element of largest magnitude has code 0 and the scale is a
/// `-nmax`th of it.
pub fn symmetric_blocks(level: Level, nmax: f32, x: &[[f32; 32]]) -> Blocks {
    dispatch!(level, simd => symmetric(simd, nmax, x))
}

#[inline(always)]
fn symmetric<S: Simd>(simd: S, nmax: f32, x: &[[f32; 32]]) -> Blocks {
    let (least, max) = bounds(simd, x, 0.0, 0.0);
    // Which of two equal magnitudes comes first is not known here.
    let tie = max.simd_eq(-least) & !max.simd_eq(0.0);
    let extreme = max.simd_gt(-least).select(max, least);
    let zero = f32x16::splat(simd, 0.0);
    let extreme = extreme.simd_eq(zero).select(zero, extreme);
    let scale = extreme / -nmax;
    let inverse = invert(scale);
    let exact = !tie & extreme.abs().simd_le(f32::MAX) & inverse.abs().simd_le(f32::MAX);
    let mut codes = [[0; 32]; LANES];
    for ((x, codes), id) in x.iter().zip(&mut codes).zip(inverse.to_array()) {
        for (x, codes) in halves(x, codes) {
            let l: i32x16<S> = (load(simd, x) * id + (nmax + 0.5)).to_int();
            *codes = bytes(l.min(2 * nmax as i32 - 1));
        }
    }
    Blocks { scale: scale.to_array(), min: [0.0; LANES], codes, exact: exact.to_bitmask() as u16 }
}

/// Codes up to `nmax` from the least element to the greatest.
pub fn affine_blocks(level: Level, nmax: f32, x: &[[f32; 32]]) -> Blocks {
    dispatch!(level, simd => affine(simd, nmax, x))
}

#[inline(always)]
fn affine<S: Simd>(simd: S, nmax: f32, x: &[[f32; 32]]) -> Blocks {
    let (least, max) = bounds(simd, x, f32::MAX, f32::MIN);
    let scale = (max - least) / nmax;
    let inverse = invert(scale);
    // The sign of a zero depends on the order.
    let exact = !least.simd_eq(0.0) & scale.simd_le(f32::MAX) & inverse.simd_le(f32::MAX);
    let mut codes = [[0; 32]; LANES];
    let lanes = inverse.to_array().into_iter().zip(least.to_array());
    for ((x, codes), (id, least)) in x.iter().zip(&mut codes).zip(lanes) {
        for (x, codes) in halves(x, codes) {
            let l: i32x16<S> = ((load(simd, x) - least) * id + 0.5).to_int();
            *codes = bytes(l.min(nmax as i32));
        }
    }
    Blocks { scale: scale.to_array(), min: least.to_array(), codes, exact: exact.to_bitmask() as u16 }
}

/// Signed codes up to 127 of the largest magnitude, halves rounded away from zero.
pub fn rounded_blocks(level: Level, x: &[[f32; 32]]) -> Blocks {
    dispatch!(level, simd => rounded(simd, x))
}

#[inline(always)]
fn rounded<S: Simd>(simd: S, x: &[[f32; 32]]) -> Blocks {
    let (least, max) = bounds(simd, x, 0.0, 0.0);
    let zero = f32x16::splat(simd, 0.0);
    let scale = max.simd_gt(-least).select(max, -least);
    let scale = scale.simd_eq(zero).select(zero, scale) / 127.0;
    let inverse = invert(scale);
    let exact = scale.simd_le(f32::MAX) & inverse.simd_le(f32::MAX);
    let mut codes = [[0; 32]; LANES];
    for ((x, codes), id) in x.iter().zip(&mut codes).zip(inverse.to_array()) {
        for (x, codes) in halves(x, codes) {
            let l: i32x16<S> = (load(simd, x) * id).round().to_int();
            *codes = bytes(l);
        }
    }
    Blocks { scale: scale.to_array(), min: [0.0; LANES], codes, exact: exact.to_bitmask() as u16 }
}

/// The least and the greatest element of each block, at most `from` and at least `to`; of zeros of both
/// signs, either. A NaN is passed over or, on some CPUs, is the result.
#[inline(always)]
fn bounds<S: Simd>(simd: S, x: &[[f32; 32]], from: f32, to: f32) -> (f32x16<S>, f32x16<S>) {
    let zero = f32x16::splat(simd, 0.0);
    let (mut least, mut max) = ([zero; LANES], [zero; LANES]);
    for ((x, least), max) in x.iter().zip(&mut least).zip(&mut max) {
        let (low, high) = x.split_at(LANES);
        let (low, high) = (f32x16::from_slice(simd, low), f32x16::from_slice(simd, high));
        *least = high.min(low.min(from));
        *max = high.max(low.max(to));
    }
    (fold(least, |a, b| a.min(b)), fold(max, |a, b| a.max(b)))
}

/// Lane `i` of the result is all lanes of vector `i` together.
#[inline(always)]
fn fold<S: Simd>(mut x: [f32x16<S>; LANES], f: impl Fn(f32x16<S>, f32x16<S>) -> f32x16<S>) -> f32x16<S> {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            x[i] = f(x[i].zip_low(x[i + half]), x[i].zip_high(x[i + half]));
        }
    }
    x[0]
}

/// `1 / x`, but 0 for 0.
#[inline(always)]
fn invert<S: Simd>(x: f32x16<S>) -> f32x16<S> {
    let simd = x.token();
    let zero = f32x16::splat(simd, 0.0);
    x.simd_eq(zero).select(zero, f32x16::splat(simd, 1.0) / x)
}

#[inline(always)]
fn halves<'a>(
    x: &'a [f32; 32],
    codes: &'a mut [u8; 32],
) -> impl Iterator<Item = (&'a Lanes, &'a mut [u8; LANES])> {
    x.as_chunks().0.iter().zip(codes.as_chunks_mut().0)
}

#[inline(always)]
fn bytes<S: Simd>(codes: i32x16<S>) -> [u8; LANES] {
    codes.to_array().map(|l| l as u8)
}
