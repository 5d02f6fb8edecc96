//! The encoders of 4-bit floats (E2M1), sixteen scales at a time: the extremes of all are lanes, and so are their scales;
//! then every element counts the borders that it lies above. `quant/fp4.rs`.

use super::blocks::{Blocks, MAGNITUDE, extremes};
use super::layout::{load, only};
use super::{LANES, Level};
use fearless_simd::{Simd, dispatch, f32x16, i32x16, prelude::*};

/// The borders between magnitudes that neighbour each other, in units of half the scale; what lies on one belongs to the
/// smaller. They and the differences to their neighbours are exact, so that counting them finds the nearest.
const BORDERS: [f32; 7] = [0.5, 1.5, 2.5, 3.5, 5.0, 7.0, 10.0];

/// Sixteen blocks of MXFP4; the scales are their exponents.
pub fn mxfp4_blocks(level: Level, x: &[[f32; 32]; LANES], out: &mut Blocks<[u8; LANES]>) {
    dispatch!(level, simd => mxfp4(simd, x, out))
}

#[inline(always)]
fn mxfp4<S: Simd>(simd: S, x: &[[f32; 32]; LANES], out: &mut Blocks<[u8; LANES]>) {
    /// The scales that are normal numbers, and whose products with the values are finite.
    const LEAST: i32 = 4 << 23;
    const MOST: i32 = (252 << 23) - 1;
    /// A logarithm that is rounded up to the next integer.
    const LIFTED: i32 = 0x7f_ff00;
    let bits: i32x16<S> = extremes::<_, MAGNITUDE, 32>(simd, x, 0.0).bitcast();
    let exact = bits.simd_ge(LEAST) & bits.simd_le(MOST) & (bits & 0x7f_ffff).simd_le(LIFTED);
    let exponent = (bits >> 23) - 2;
    let half: f32x16<S> = ((exponent - 1) << 23).bitcast();
    let half = half.to_array();
    for i in 0..LANES {
        let half = f32x16::splat(simd, half[i]);
        let low = codes(f32x16::from_slice(simd, &x[i][..LANES]), half);
        let high = codes(f32x16::from_slice(simd, &x[i][LANES..]), half);
        out.codes[i] = (low | (high << 4)).to_array().map(|code| code as u8);
    }
    out.scale = exponent.to_array().map(|e| e as u16);
    out.exact = exact.to_bitmask() as u16;
}

/// Sixteen sub-blocks of NVFP4.
pub struct Nvfp4 {
    /// As E4M3.
    pub scales: [u8; LANES],
    pub codes: [[u8; 8]; LANES],
    /// Bit `i` tells that sub-block `i` is certain to be what the scalar code gives.
    pub exact: u16,
}

/// Sixteen sub-blocks of NVFP4.
pub fn nvfp4_blocks(level: Level, x: &[[f32; 16]; LANES]) -> Nvfp4 {
    dispatch!(level, simd => nvfp4(simd, x))
}

#[inline(always)]
fn nvfp4<S: Simd>(simd: S, x: &[[f32; 16]; LANES]) -> Nvfp4 {
    /// The largest code, and the bits of the least f32 that is a normal E4M3; what is larger than it holds is cut off.
    const MOST: i32 = 126;
    const NORMAL: i32 = 121 << 23;
    let extreme = extremes::<_, MAGNITUDE, 16>(simd, x, 0.0);
    let scale = extreme / 6.0;
    let bits: i32x16<S> = scale.bitcast();
    let normal = (bits >> 20) + ((bits >> 19) & 1) - (120 << 3);
    let normal = normal.simd_ge(15 << 3).select(i32x16::splat(simd, MOST), normal);
    let subnormal: i32x16<S> = (scale * 512.0 + 0.5).to_int();
    let code = bits.simd_lt(NORMAL).select(subnormal.min(7), normal);
    let of_normal: f32x16<S> = ((code + (119 << 3)) << 20).bitcast();
    let of_subnormal: f32x16<S> = code.to_float();
    let half = code.simd_lt(8).select(of_subnormal * (1.0 / 1024.0), of_normal);
    // Nothing lies above a border of what has no scale.
    let half = half.simd_eq(0.0).select(f32x16::splat(simd, f32::INFINITY), half).to_array();
    let mut all = [[0; 8]; LANES];
    for i in 0..LANES {
        let (low, high) = codes(load(simd, &x[i]), f32x16::splat(simd, half[i])).split();
        all[i] = (low | (high << 4)).to_array().map(|code| code as u8);
    }
    Nvfp4 {
        scales: code.to_array().map(|code| code as u8),
        codes: all,
        exact: extreme.simd_le(6.0 * 448.0).to_bitmask() as u16,
    }
}

/// The codes of elements under a scale.
#[inline(always)]
fn codes<S: Simd>(x: f32x16<S>, half: f32x16<S>) -> i32x16<S> {
    let simd = x.token();
    let one = i32x16::splat(simd, 1);
    let magnitude = x.abs();
    let mut code = i32x16::splat(simd, 0);
    for border in BORDERS {
        code += only(magnitude.simd_gt(half * border), one);
    }
    let bits: i32x16<S> = x.bitcast();
    // A zero has no sign.
    code | only(code.simd_gt(0), (bits >> 28) & 8)
}
