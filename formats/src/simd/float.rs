//! f32 to f16 and bf16, rounded to the nearest, ties to even: `quant/float.rs`.

use super::{LANES, Level};
use fearless_simd::{Simd, dispatch, f32x16, i32x16, prelude::*};

/// `src` as f16, little-endian; NaN becomes the quiet NaN `sign | 0x7e00`.
pub fn to_f16(level: Level, src: &[f32], dst: &mut [u8]) {
    dispatch!(level, simd => convert::<_, true>(simd, src, dst));
}

/// `src` as bf16, little-endian; NaN keeps its upper bits and is made quiet.
pub fn to_bf16(level: Level, src: &[f32], dst: &mut [u8]) {
    dispatch!(level, simd => convert::<_, false>(simd, src, dst));
}

/// Sixteen f32 as f16 bits.
#[inline(always)]
pub(super) fn f16_bits<S: Simd>(x: f32x16<S>) -> [u16; LANES] {
    to_half(x).to_array().map(|l| l as u16)
}

#[inline(always)]
fn convert<S: Simd, const F16: bool>(simd: S, src: &[f32], dst: &mut [u8]) {
    let (src, rest) = src.as_chunks::<LANES>();
    let (dst, left) = dst.as_chunks_mut::<2>().0.as_chunks_mut::<LANES>();
    for (x, out) in src.iter().zip(dst) {
        *out = bits::<_, F16>(f32x16::load_array_ref(simd, x));
    }
    let mut x = [0.0; LANES];
    for (x, rest) in x.iter_mut().zip(rest) {
        *x = *rest;
    }
    for (out, bytes) in left.iter_mut().zip(bits::<_, F16>(f32x16::load_array_ref(simd, &x))) {
        *out = bytes;
    }
}

#[inline(always)]
fn bits<S: Simd, const F16: bool>(x: f32x16<S>) -> [[u8; 2]; LANES] {
    let bits = if F16 { to_half(x) } else { to_brain(x) };
    bits.to_array().map(|bits| (bits as u16).to_le_bytes())
}

#[inline(always)]
fn to_half<S: Simd>(x: f32x16<S>) -> i32x16<S> {
    /// The least normal f16, the first f32 that rounds to infinity, and infinity, as the bits of an f32.
    const NORMAL: i32 = 113 << 23;
    const OVERFLOW: i32 = 0x477f_f000;
    const INFINITE: i32 = 255 << 23;
    let simd = x.token();
    let constant = |bits| i32x16::splat(simd, bits);
    let all: i32x16<S> = x.bitcast();
    let magnitude = all & 0x7fff_ffff;
    // The addition rounds off what the exponents differ by and 13 bits of the mantissa, the rest stays.
    let odd = (magnitude >> 13) & 1;
    let normal = (magnitude + odd + (0xfff - (112 << 23))) >> 13;
    // One half has the last bit where the last one of a subnormal f16 is.
    let shifted: i32x16<S> = (x.abs() + 0.5).bitcast();
    let subnormal = shifted - (126 << 23);
    let finite = magnitude.simd_lt(NORMAL).select(subnormal, normal);
    let special = magnitude.simd_gt(INFINITE).select(constant(0x7e00), constant(0x7c00));
    magnitude.simd_ge(OVERFLOW).select(special, finite) | ((all >> 16) & 0x8000)
}

#[inline(always)]
fn to_brain<S: Simd>(x: f32x16<S>) -> i32x16<S> {
    let bits: i32x16<S> = x.bitcast();
    let odd = (bits >> 16) & 1;
    let nan = (bits & 0x7fff_ffff).simd_gt(255 << 23);
    nan.select((bits >> 16) | 64, (bits + odd + 0x7fff) >> 16)
}
