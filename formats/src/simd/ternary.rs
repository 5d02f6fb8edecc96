//! The encoders of what is -1, 0 or 1 times a scale, sixteen elements at a time: `quant/ternary.rs` and `quant/bits.rs`.
//! What is rounded is at most 1 in magnitude, so that two comparisons round it.

use super::blocks::{MAGNITUDE, quarter};
use super::layout::{load, only};
use super::{LANES, Level};
use fearless_simd::{Simd, dispatch, f32x16, i32x16, prelude::*};

/// The largest magnitude of the elements and their codes, as they are stored in `N` bytes; none where that is not certain
/// to be what the scalar code gives.
pub type Found<const N: usize> = Option<(f32, [u8; N])>;

/// Codes of a block of TQ2_0.
pub fn crumbs(level: Level, x: &[f32; 256]) -> Found<64> {
    dispatch!(level, simd => in_crumbs(simd, x))
}

/// Codes of a block of TQ1_0.
pub fn digits(level: Level, x: &[f32; 256]) -> Found<52> {
    dispatch!(level, simd => in_digits(simd, x))
}

/// Codes of a block of Q2_0.
pub fn pairs(level: Level, x: &[f32; 64]) -> Found<16> {
    dispatch!(level, simd => in_pairs(simd, x))
}

#[inline(always)]
fn in_crumbs<S: Simd>(simd: S, x: &[f32; 256]) -> Found<64> {
    let (d, inverse) = scale(simd, x)?;
    let mut bytes = [0; 64];
    for (x, bytes) in x.as_chunks::<128>().0.iter().zip(bytes.as_chunks_mut::<32>().0) {
        for (l, bytes) in bytes.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut all = code(simd, &x[LANES * l..], inverse);
            all |= code(simd, &x[32 + LANES * l..], inverse) << 2;
            all |= code(simd, &x[64 + LANES * l..], inverse) << 4;
            all |= code(simd, &x[96 + LANES * l..], inverse) << 6;
            *bytes = all.to_array().map(|byte| byte as u8);
        }
    }
    Some((d, bytes))
}

#[inline(always)]
fn in_digits<S: Simd>(simd: S, x: &[f32; 256]) -> Found<52> {
    let (d, inverse) = scale(simd, x)?;
    let mut bytes = [0; 52];
    for (at, first, stride) in [(0, 0, 32), (16, 16, 32), (32, 160, 16)] {
        let mut number = i32x16::splat(simd, 0);
        for digit in 0..5 {
            number = number * 3 + code(simd, &x[first + digit * stride..], inverse);
        }
        // The least fraction from which the digits come back: `(256 * number).div_ceil(243)`.
        let fraction = ((number * 256 + 242) * 17261) >> 22;
        bytes[at..at + LANES].copy_from_slice(&fraction.to_array().map(|byte| byte as u8));
    }
    let last = code(simd, &x[240..], inverse).to_array();
    for (l, byte) in bytes[48..].iter_mut().enumerate() {
        let number = ((last[l] * 3 + last[l + 4]) * 3 + last[l + 8]) * 3 + last[l + 12];
        *byte = ((number * 3 * 256 + 242) / 243) as u8;
    }
    Some((d, bytes))
}

#[inline(always)]
fn in_pairs<S: Simd>(simd: S, x: &[f32; 64]) -> Found<16> {
    let (most, inverse) = scale(simd, x)?;
    let worth = i32x16::load_array_ref(simd, &WORTH);
    let zero = i32x16::splat(simd, 0);
    let mut words = [zero; 4];
    for (words, x) in words.iter_mut().zip(x.as_chunks().0) {
        let product = load(simd, x) * inverse;
        *words = only(product.simd_ge(0.5), worth) + only(product.simd_gt(-0.5), worth);
    }
    // The bits of no two lanes are the same: words come together side by side, and then their quarters.
    let [a, b, c, d] = words;
    let (even, odd) = (a.zip_low(c) | a.zip_high(c), b.zip_low(d) | b.zip_high(d));
    let (low, high) = (even.zip_low(odd) | even.zip_high(odd)).split();
    let (low, high) = (low | high).split();
    let mut bytes = [0; 16];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip((low | high).to_array()) {
        *bytes = word.to_le_bytes();
    }
    Some((most, bytes))
}

/// Where the codes of sixteen elements stand in a word of Q2_0.
const WORTH: [i32; LANES] = {
    let mut worth = [0; LANES];
    let mut i = 0;
    while i < LANES {
        worth[i] = 1 << (2 * i);
        i += 1;
    }
    worth
};

/// The largest magnitude and its inverse, if both are finite.
#[inline(always)]
fn scale<S: Simd, const N: usize>(simd: S, x: &[f32; N]) -> Option<(f32, f32)> {
    let mut most = f32x16::splat(simd, 0.0);
    for x in x.as_chunks().0 {
        // Of a NaN and a number the number, or the NaN, which is found below.
        most = load(simd, x).abs().max(most);
    }
    let most = quarter::<_, MAGNITUDE>(most).to_array();
    let d = most.into_iter().fold(0.0, |most: f32, x| if x > most || x.is_nan() { x } else { most });
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    (d.is_finite() && inverse.is_finite()).then_some((d, inverse))
}

/// What sixteen elements round to in units of the scale, plus 1; of a NaN 1.
#[inline(always)]
fn code<S: Simd>(simd: S, x: &[f32], inverse: f32) -> i32x16<S> {
    let one = i32x16::splat(simd, 1);
    let product = f32x16::from_slice(simd, &x[..LANES]) * inverse;
    one + only(product.simd_ge(0.5), one) - only(product.simd_le(-0.5), one)
}
