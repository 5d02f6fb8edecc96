//! The plain encoders of 32-blocks, sixteen blocks at a time: one pass finds the extremes of each block, then the
//! scales of all are lanes, and a second pass rounds. `quant/q4.rs`, `q5.rs`, `q8.rs`, `encode`.

use super::float::f16_bits;
use super::{LANES, Level};
use fearless_simd::{Simd, dispatch, f32x4, f32x16, i32x16, mask32x16, prelude::*};

/// Sixteen blocks.
#[derive(Default)]
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
pub fn symmetric_blocks(level: Level, nmax: f32, x: &[[f32; 32]; LANES], out: &mut Blocks<Nibbles>) {
    match nmax > 8.0 {
        true => dispatch!(level, simd => symmetric::<_, true>(simd, nmax, x, out)),
        false => dispatch!(level, simd => symmetric::<_, false>(simd, nmax, x, out)),
    }
}

#[inline(always)]
fn symmetric<S: Simd, const FIFTH: bool>(
    simd: S,
    nmax: f32,
    x: &[[f32; 32]; LANES],
    out: &mut Blocks<Nibbles>,
) {
    let zero = f32x16::splat(simd, 0.0);
    let max = extremes::<_, MAX, 32>(simd, x, 0.0);
    let least = extremes::<_, MIN, 32>(simd, x, 0.0);
    let extreme = max.simd_gt(-least).select(max, least);
    let mut extreme = extreme.simd_eq(zero).select(zero, extreme).to_array();
    let ties = max.simd_eq(-least).to_bitmask();
    if ties != 0 {
        settle(x, ties, &mut extreme);
    }
    let scale = f32x16::load_array(simd, extreme) / -nmax;
    let inverse = invert(simd, scale);
    let exact = are_finite(scale, inverse);
    let inverse = inverse.to_array();
    for i in 0..LANES {
        let [low, high] = halves(simd, &x[i]);
        let (low, high) = (low * inverse[i] + (nmax + 0.5), high * inverse[i] + (nmax + 0.5));
        out.codes[i] = nibbles::<_, FIFTH>(low, high, 2 * nmax as i32 - 1);
    }
    out.scale = f16_bits(scale);
    out.exact = exact.to_bitmask() as u16;
}

/// Of two equal magnitudes the first counts.
#[cold]
fn settle(x: &[[f32; 32]; LANES], ties: u64, extreme: &mut [f32; LANES]) {
    for (i, x) in x.iter().enumerate().filter(|(i, _)| ties >> i & 1 == 1) {
        extreme[i] = *x.iter().find(|x| x.abs() == extreme[i].abs() && **x != 0.0).unwrap_or(&0.0);
    }
}

/// Codes up to `nmax` from the least element to the greatest.
pub fn affine_blocks(level: Level, nmax: f32, x: &[[f32; 32]; LANES], out: &mut Blocks<Nibbles>) {
    match nmax > 15.0 {
        true => dispatch!(level, simd => affine::<_, true>(simd, nmax, x, out)),
        false => dispatch!(level, simd => affine::<_, false>(simd, nmax, x, out)),
    }
}

#[inline(always)]
fn affine<S: Simd, const FIFTH: bool>(simd: S, nmax: f32, x: &[[f32; 32]; LANES], out: &mut Blocks<Nibbles>) {
    let max = extremes::<_, MAX, 32>(simd, x, f32::MIN);
    let min = extremes::<_, MIN, 32>(simd, x, f32::MAX);
    let scale = (max - min) / nmax;
    let inverse = invert(simd, scale);
    // The sign of a zero depends on the order.
    let exact = !min.simd_eq(0.0) & are_finite(scale, inverse);
    let (inverse, least) = (inverse.to_array(), min.to_array());
    for i in 0..LANES {
        let [low, high] = halves(simd, &x[i]);
        let (low, high) = ((low - least[i]) * inverse[i] + 0.5, (high - least[i]) * inverse[i] + 0.5);
        out.codes[i] = nibbles::<_, FIFTH>(low, high, nmax as i32);
    }
    (out.scale, out.min) = (f16_bits(scale), f16_bits(min));
    out.exact = exact.to_bitmask() as u16;
}

/// Signed codes, up to 127, of the largest magnitude; halves are rounded away from zero.
pub fn rounded_blocks(level: Level, x: &[[f32; 32]; LANES], out: &mut Blocks<[[i8; LANES]; 2]>) {
    dispatch!(level, simd => rounded(simd, x, out))
}

#[inline(always)]
fn rounded<S: Simd>(simd: S, x: &[[f32; 32]; LANES], out: &mut Blocks<[[i8; LANES]; 2]>) {
    let scale = extremes::<_, MAGNITUDE, 32>(simd, x, 0.0) / 127.0;
    let inverse = invert(simd, scale);
    let exact = are_finite(scale, inverse);
    let inverse = inverse.to_array();
    for i in 0..LANES {
        let [low, high] = halves(simd, &x[i]);
        out.codes[i] = [round(low * inverse[i]), round(high * inverse[i])];
    }
    out.scale = f16_bits(scale);
    out.exact = exact.to_bitmask() as u16;
}

/// What `extremes` finds.
const MIN: u8 = 0;
const MAX: u8 = 1;
pub(super) const MAGNITUDE: u8 = 2;

/// The extreme element of each block and `from`; of zeros of both signs, either. A NaN is passed over or, on some CPUs,
/// is the result.
#[inline(always)]
pub(super) fn extremes<S: Simd, const WHAT: u8, const N: usize>(
    simd: S,
    x: &[[f32; N]; LANES],
    from: f32,
) -> f32x16<S> {
    let from = f32x16::splat(simd, from);
    // Where a register holds fewer lanes, it costs nothing to take its halves apart.
    if <S::f32s as SimdBase<S>>::LEN < LANES {
        let [a, b, c, d] = [
            extremes_of_four::<_, WHAT, N>(x, 0, from),
            extremes_of_four::<_, WHAT, N>(x, 4, from),
            extremes_of_four::<_, WHAT, N>(x, 8, from),
            extremes_of_four::<_, WHAT, N>(x, 12, from),
        ];
        return a.combine(b).combine(c.combine(d));
    }
    let mut found = [from; LANES];
    for i in 0..LANES {
        found[i] = extreme_of_one::<_, WHAT, N>(&x[i], from);
    }
    let eight = fold::<_, _, WHAT, 16, 8>(found);
    let [a, b] = fold::<_, _, WHAT, 4, 2>(fold::<_, _, WHAT, 8, 4>(eight));
    extreme::<_, _, WHAT>(a.zip_low(b), a.zip_high(b))
}

#[inline(always)]
fn extremes_of_four<S: Simd, const WHAT: u8, const N: usize>(
    x: &[[f32; N]; LANES],
    first: usize,
    from: f32x16<S>,
) -> f32x4<S> {
    let mut found = [quarter::<_, WHAT>(from); 4];
    for i in 0..4 {
        found[i] = quarter::<_, WHAT>(extreme_of_one::<_, WHAT, N>(&x[first + i], from));
    }
    let [a, b] = fold::<_, _, WHAT, 4, 2>(found);
    extreme::<_, _, WHAT>(a.zip_low(b), a.zip_high(b))
}

#[inline(always)]
fn extreme_of_one<S: Simd, const WHAT: u8, const N: usize>(x: &[f32; N], from: f32x16<S>) -> f32x16<S> {
    let mut found = from;
    for part in x.as_chunks::<LANES>().0 {
        found = extreme::<_, _, WHAT>(f32x16::load_array_ref(from.token(), part), found);
    }
    found
}

/// Half as many vectors, each with twice as many blocks, the first of the two in the even lanes.
#[inline(always)]
fn fold<S: Simd, V: SimdFloat<S>, const WHAT: u8, const N: usize, const M: usize>(x: [V; N]) -> [V; M] {
    let mut folded = [x[0]; M];
    for i in 0..M {
        let (a, b) = (x[i], x[i + M]);
        folded[i] = extreme::<_, _, WHAT>(a.zip_low(b), a.zip_high(b));
    }
    folded
}

/// The extremes of each fourth lane.
#[inline(always)]
pub(super) fn quarter<S: Simd, const WHAT: u8>(x: f32x16<S>) -> f32x4<S> {
    let (a, b) = x.split();
    let (a, b) = extreme::<_, _, WHAT>(a, b).split();
    extreme::<_, _, WHAT>(a, b)
}

#[inline(always)]
fn extreme<S: Simd, V: SimdFloat<S>, const WHAT: u8>(a: V, b: V) -> V {
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
fn nibbles<S: Simd, const FIFTH: bool>(low: f32x16<S>, high: f32x16<S>, most: i32) -> Nibbles {
    let (low, high): (i32x16<S>, i32x16<S>) = (low.to_int(), high.to_int());
    let (low, high) = (low.min(most), high.min(most));
    // Of what is exact none is negative.
    let bytes = if FIFTH { (low & 15) | (high << 4) } else { low | (high << 4) };
    let fifth = match FIFTH {
        true => low.simd_ge(16).to_bitmask() | high.simd_ge(16).to_bitmask() << LANES,
        false => 0,
    };
    Nibbles { low: bytes.to_array().map(|b| b as u8), fifth: fifth as u32 }
}
