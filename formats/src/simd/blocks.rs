//! The plain encoders of 32-blocks, sixteen blocks at a time: one pass finds the extremes of each block, then the
//! scales of all are lanes, and a second pass rounds. `quant/q4.rs`, `q5.rs`, `q8.rs`, `encode`.

use super::float::f16_bits;
use super::{LANES, Level};
use fearless_simd::{Simd, dispatch, f32x16, i32x16, mask32x16, prelude::*};

/// Up to sixteen blocks.
pub struct Blocks<C> {
    /// The scales, and the minima if there are any, as f16 bits.
    pub scale: [u16; LANES],
    pub min: [u16; LANES],
    pub codes: [C; LANES],
    /// Bit `i` tells that block `i` is certain to be what the scalar code gives.
    pub exact: u16,
}

/// The codes of 32 elements.
#[derive(Clone, Copy, Default)]
pub struct Nibbles {
    /// The lower four bits, of elements 0 to 15 low and of elements 16 to 31 high.
    pub low: [u8; LANES],
    /// The fifth bits, that of element `i` as bit `i`.
    pub fifth: u32,
}

/// Codes below `2 * nmax` of signed multiples of the scale, with which the element of largest magnitude has code 0.
pub fn symmetric_blocks(level: Level, nmax: f32, x: &[[f32; 32]]) -> Blocks<Nibbles> {
    dispatch!(level, simd => symmetric(simd, nmax, x))
}

#[inline(always)]
fn symmetric<S: Simd>(simd: S, nmax: f32, x: &[[f32; 32]]) -> Blocks<Nibbles> {
    let zero = f32x16::splat(simd, 0.0);
    let max = extremes::<_, MAX>(simd, x, 0.0);
    let least = extremes::<_, MIN>(simd, x, 0.0);
    // Which of two equal magnitudes comes first is not known here.
    let known = !max.simd_eq(-least) | max.simd_eq(zero);
    let extreme = max.simd_gt(-least).select(max, least);
    let scale = extreme.simd_eq(zero).select(zero, extreme) / -nmax;
    let inverse = invert(simd, scale);
    let exact = known & are_finite(scale, inverse);
    let inverse = inverse.to_array();
    let mut codes = [Nibbles::default(); LANES];
    for (i, (x, codes)) in x.iter().zip(&mut codes).enumerate() {
        let [low, high] = halves(simd, x);
        let (low, high) = (low * inverse[i] + (nmax + 0.5), high * inverse[i] + (nmax + 0.5));
        *codes = nibbles(low, high, 2 * nmax as i32 - 1);
    }
    Blocks { scale: f16_bits(scale), min: [0; LANES], codes, exact: exact.to_bitmask() as u16 }
}

/// Codes up to `nmax` from the least element to the greatest.
pub fn affine_blocks(level: Level, nmax: f32, x: &[[f32; 32]]) -> Blocks<Nibbles> {
    dispatch!(level, simd => affine(simd, nmax, x))
}

#[inline(always)]
fn affine<S: Simd>(simd: S, nmax: f32, x: &[[f32; 32]]) -> Blocks<Nibbles> {
    let max = extremes::<_, MAX>(simd, x, f32::MIN);
    let min = extremes::<_, MIN>(simd, x, f32::MAX);
    let scale = (max - min) / nmax;
    let inverse = invert(simd, scale);
    // The sign of a zero depends on the order.
    let exact = !min.simd_eq(0.0) & are_finite(scale, inverse);
    let (inverse, least) = (inverse.to_array(), min.to_array());
    let mut codes = [Nibbles::default(); LANES];
    for (i, (x, codes)) in x.iter().zip(&mut codes).enumerate() {
        let [low, high] = halves(simd, x);
        let (low, high) = ((low - least[i]) * inverse[i] + 0.5, (high - least[i]) * inverse[i] + 0.5);
        *codes = nibbles(low, high, nmax as i32);
    }
    Blocks { scale: f16_bits(scale), min: f16_bits(min), codes, exact: exact.to_bitmask() as u16 }
}

/// Signed codes, up to 127, of the largest magnitude; halves are rounded away from zero.
pub fn rounded_blocks(level: Level, x: &[[f32; 32]]) -> Blocks<[[i8; LANES]; 2]> {
    dispatch!(level, simd => rounded(simd, x))
}

#[inline(always)]
fn rounded<S: Simd>(simd: S, x: &[[f32; 32]]) -> Blocks<[[i8; LANES]; 2]> {
    let scale = extremes::<_, MAGNITUDE>(simd, x, 0.0) / 127.0;
    let inverse = invert(simd, scale);
    let exact = are_finite(scale, inverse);
    let inverse = inverse.to_array();
    let mut codes = [[[0; LANES]; 2]; LANES];
    for (i, (x, codes)) in x.iter().zip(&mut codes).enumerate() {
        let [low, high] = halves(simd, x);
        *codes = [round(low * inverse[i]), round(high * inverse[i])];
    }
    Blocks { scale: f16_bits(scale), min: [0; LANES], codes, exact: exact.to_bitmask() as u16 }
}

/// What `extremes` finds.
const MIN: u8 = 0;
const MAX: u8 = 1;
const MAGNITUDE: u8 = 2;

/// The extreme element of each block and `from`; of zeros of both signs, either. A NaN is passed over or, on some CPUs,
/// is the result.
#[inline(always)]
fn extremes<S: Simd, const WHAT: u8>(simd: S, x: &[[f32; 32]], from: f32) -> f32x16<S> {
    let from = f32x16::splat(simd, from);
    let mut found = [from; LANES];
    for (x, found) in x.iter().zip(&mut found) {
        let [low, high] = halves(simd, x);
        *found = extreme::<_, WHAT>(high, extreme::<_, WHAT>(low, from));
    }
    // A vector holds a block until they are folded; then it holds 2, 4, 8, at last all 16 of them.
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            let (a, b) = (found[i], found[i + half]);
            found[i] = extreme::<_, WHAT>(a.zip_low(b), a.zip_high(b));
        }
    }
    found[0]
}

#[inline(always)]
fn extreme<S: Simd, const WHAT: u8>(a: f32x16<S>, b: f32x16<S>) -> f32x16<S> {
    match WHAT {
        MIN => a.min(b),
        MAX => a.max(b),
        _ => a.abs().max(b),
    }
}

/// `1 / x`, but 0 for 0.
#[inline(always)]
fn invert<S: Simd>(simd: S, x: f32x16<S>) -> f32x16<S> {
    let zero = f32x16::splat(simd, 0.0);
    x.simd_eq(zero).select(zero, f32x16::splat(simd, 1.0) / x)
}

#[inline(always)]
fn are_finite<S: Simd>(a: f32x16<S>, b: f32x16<S>) -> mask32x16<S> {
    a.abs().simd_le(f32::MAX) & b.abs().simd_le(f32::MAX)
}

#[inline(always)]
fn halves<S: Simd>(simd: S, x: &[f32; 32]) -> [f32x16<S>; 2] {
    let (low, high) = x.split_at(LANES);
    [f32x16::from_slice(simd, low), f32x16::from_slice(simd, high)]
}

#[inline(always)]
fn round<S: Simd>(x: f32x16<S>) -> [i8; LANES] {
    let codes: i32x16<S> = x.round().to_int();
    codes.to_array().map(|l| l as i8)
}

/// Codes as they are stored: cut off after the point, and bounded by `most`.
#[inline(always)]
fn nibbles<S: Simd>(low: f32x16<S>, high: f32x16<S>, most: i32) -> Nibbles {
    let (low, high): (i32x16<S>, i32x16<S>) = (low.to_int(), high.to_int());
    let (low, high) = (low.min(most), high.min(most));
    let fifth = low.simd_ge(16).to_bitmask() | high.simd_ge(16).to_bitmask() << LANES;
    let bytes = (low & 15) | ((high & 15) << 4);
    Nibbles { low: bytes.to_array().map(|b| b as u8), fifth: fifth as u32 }
}
