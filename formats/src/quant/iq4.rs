//! IQ4_NL and IQ4_XS: codes of 4 bits that look a value up in a table which is denser around zero, as weights are.
//! IQ4_NL has a scale for 32 elements; IQ4_XS has super-blocks of 256, in which each 32 have a scale of 6 bits.
//! Specification: ggml `quantize_row_iq4_nl_impl`, `dequantize_row_iq4_nl`, `dequantize_row_iq4_xs`.

use super::block::{
    Block, Importance, MOST_HALF, Row, encode_groups, extreme, half, inverse, is_finite, is_zero, single,
    sum_of_squares, traits,
};
use super::planes::{pack_nibbles, unpack_nibbles};
use super::search::{EPS, nearest_int};
use super::{DType, Traits, scales};
use crate::simd::{self, LANES, Level, VALUES};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const IQ4_NL: Traits = traits::<BlockIQ4NL, 32>(DType::IQ4NL, "iq4_nl", 20);
pub(super) const IQ4_XS: Traits = traits::<BlockIQ4XS, 256>(DType::IQ4XS, "iq4_xs", 23);

/// ```text
/// byte  0   2                18
///       d   qs               element = d * VALUES[code]; nibbles at a distance of 16 (planes.rs)
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BlockIQ4NL {
    pub(super) d: U16,
    qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockIQ4NL>() == 18);

impl BlockIQ4NL {
    pub(super) fn new(scale: f32, codes: &[u8; 32]) -> Self {
        let mut qs = [0; 16];
        pack_nibbles::<16>(codes, &mut qs);
        BlockIQ4NL { d: half(scale), qs }
    }

    fn by_weights(x: &[f32; 32], weights: &[f32; 32]) -> Self {
        let scale = search(x, weights);
        Self::new(scale, &x.map(|x| code(inverse(scale) * x)))
    }

    /// The same of up to sixteen blocks with the kernels of `simd`; `None` for what the scalar code must decide.
    /// Without weights an element weighs its square.
    fn encode_sixteen(level: Level, x: &[[f32; 32]], weights: Option<&[[f32; 32]]>) -> [Option<Self>; LANES] {
        let columns = simd::by_sub_block(level, x.as_flattened());
        let weights = match weights {
            Some(weights) => simd::by_sub_block(level, weights[..x.len()].as_flattened()),
            None => simd::squares(&columns),
        };
        let fits = simd::table_scales(level, &columns, &weights);
        let mut codes = [[0; 32]; LANES];
        simd::table_codes(level, x, &fits.scale.map(inverse), &mut codes);
        std::array::from_fn(|i| (fits.exact >> i & 1 == 1).then(|| Self::new(fits.scale[i], &codes[i])))
    }
}

impl Block<32> for BlockIQ4NL {
    const MOST: f32 = 127.0 * MOST_HALF;

    fn decode(&self, out: &mut [f32; 32]) {
        let mut codes = [0; 32];
        unpack_nibbles::<16>(&self.qs, &mut codes);
        let d = single(self.d);
        *out = codes.map(|q| d * VALUES[usize::from(q)]);
    }

    fn encode(x: &[f32; 32]) -> Self {
        Self::by_weights(x, &x.map(|x| x * x))
    }

    fn encode_all(level: Level, x: &[[f32; 32]], blocks: &mut [Self]) {
        encode_groups(x, blocks, |_, x| Self::encode_sixteen(level, x, None), |_, x| Self::encode(x));
    }

    fn encode_weighted(x: &[f32; 32], importance: &Importance<32>) -> Self {
        Self::by_weights(x, &importance.damped(x, 2.0 / 32.0 * sum_of_squares(x)))
    }

    fn encode_row(level: Level, x: &[[f32; 32]], row: &Row<32>, blocks: &mut [Self]) {
        let kernel = |first, x: &[[f32; 32]]| {
            let weights = damped::<32, LANES>(level, x, &row.weights[first..]);
            Self::encode_sixteen(level, x, Some(&weights))
        };
        encode_groups(x, blocks, kernel, |i, x| Self::encode_weighted(x, &row.importance(i)));
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d)
    }
}

/// ```text
/// byte  0   2          4          8                         136
///       d   scales_h   scales_l   qs
///
/// scales_l   low four bits of the scale of elements 32 i to 32 i + 31: nibble i, from the low end
/// scales_h   its upper two: crumb i, from the low end
/// qs         nibbles at a distance of 16 (planes.rs)
/// element  = d * (scale - 32) * VALUES[code]
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BlockIQ4XS {
    d: U16,
    scales_h: U16,
    scales_l: [u8; 4],
    qs: [u8; 128],
}
const _: () = assert!(size_of::<BlockIQ4XS>() == 136);

impl BlockIQ4XS {
    /// A block without codes, and the scales that its elements have before the common one is rounded.
    fn of_scales(scales: [f32; 8]) -> (Self, [f32; 8]) {
        let d = -extreme(&scales) / 32.0;
        let id = inverse(d);
        let codes = scales.map(|scale| nearest_int(id * scale).clamp(-32, 31));
        (Self::of_codes(half(d), &codes), codes.map(|code| d * code as f32))
    }

    /// A block without codes of elements, with scales from -32 to 31.
    fn of_codes(d: U16, codes: &[i32; 8]) -> Self {
        let (mut scales_h, mut scales_l) = (0, [0; 4]);
        for (i, code) in codes.iter().enumerate() {
            let stored = (code + 32) as u8;
            scales_l[i / 2] |= (stored & 15) << (i % 2 * 4);
            scales_h |= u16::from(stored >> 4) << (2 * i);
        }
        BlockIQ4XS { d, scales_h: U16::new(scales_h), scales_l, qs: [0; 128] }
    }

    /// The scales of its sub-blocks.
    fn scales(&self) -> [i32; 8] {
        std::array::from_fn(|i| {
            let low = self.scales_l[i / 2] >> (i % 2 * 4) & 15;
            let high = (self.scales_h.get() >> (2 * i) & 3) as u8;
            i32::from(low | high << 4) - 32
        })
    }

    /// The numbers that are stored beside the codes.
    pub(super) fn parts(&self) -> scales::Symmetric<8> {
        scales::Symmetric { d: self.d.get(), of_subs: self.scales() }
    }

    /// The inverse, with these codes.
    pub(super) fn of_parts(parts: &scales::Symmetric<8>, codes: &[[u8; 32]; 8]) -> Self {
        Self::of_codes(U16::new(parts.d), &parts.of_subs).with_codes(codes)
    }

    fn with_codes(mut self, codes: &[[u8; 32]; 8]) -> Self {
        pack_nibbles::<16>(codes.as_flattened(), &mut self.qs);
        self
    }

    fn by_weights(x: &[f32; 256], weights: &[f32; 256]) -> Self {
        let (subs, weights) = (x.as_chunks::<32>().0, weights.as_chunks::<32>().0);
        let (block, scales) = Self::of_scales(std::array::from_fn(|i| search(&subs[i], &weights[i])));
        block.with_codes(&std::array::from_fn(|i| subs[i].map(|x| code(inverse(scales[i]) * x))))
    }

    /// The same of one or two super-blocks with the kernels of `simd`; `None` for what the scalar code must decide.
    /// Without weights an element weighs its square.
    fn encode_two(level: Level, x: &[[f32; 256]], weights: Option<&[[f32; 256]]>) -> [Option<Self>; 2] {
        let columns = simd::by_sub_block(level, x.as_flattened());
        let weights = match weights {
            Some(weights) => simd::by_sub_block(level, weights[..x.len()].as_flattened()),
            None => simd::squares(&columns),
        };
        let fits = simd::table_scales(level, &columns, &weights);
        let found = fits.scale.as_chunks().0;
        std::array::from_fn(|i| {
            let subs = x.get(i)?.as_chunks().0;
            let (block, scales) = Self::of_scales(found[i]);
            let mut codes = [[0; 32]; 8];
            simd::table_codes(level, subs, &scales.map(inverse), &mut codes);
            (fits.exact >> (8 * i) & 255 == 255).then(|| block.with_codes(&codes))
        })
    }
}

impl Block<256> for BlockIQ4XS {
    const MOST: f32 = 127.0 * 32.0 * MOST_HALF;

    fn decode(&self, out: &mut [f32; 256]) {
        let mut codes = [0; 256];
        unpack_nibbles::<16>(&self.qs, &mut codes);
        let scales = self.scales();
        for (i, (out, codes)) in out.chunks_exact_mut(32).zip(codes.chunks_exact(32)).enumerate() {
            let scale = single(self.d) * scales[i] as f32;
            for (out, q) in out.iter_mut().zip(codes) {
                *out = scale * VALUES[usize::from(*q)];
            }
        }
    }

    fn encode(x: &[f32; 256]) -> Self {
        Self::by_weights(x, &x.map(|x| x * x))
    }

    fn encode_all(level: Level, x: &[[f32; 256]], blocks: &mut [Self]) {
        encode_groups(x, blocks, |_, x| Self::encode_two(level, x, None), |_, x| Self::encode(x));
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        Self::by_weights(x, &importance.damped(x, 2.0 / 256.0 * sum_of_squares(x)))
    }

    fn encode_row(level: Level, x: &[[f32; 256]], row: &Row<256>, blocks: &mut [Self]) {
        let kernel = |first, x: &[[f32; 256]]| {
            let weights = damped::<256, 2>(level, x, &row.weights[first..]);
            Self::encode_two(level, x, Some(&weights))
        };
        encode_groups(x, blocks, kernel, |i, x| Self::encode_weighted(x, &row.importance(i)));
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d)
    }
}

/// The code of the nearest value; of two equally near the upper.
fn code(x: f32) -> u8 {
    // A NaN (of 0 times an infinite inverse) is below none, so it gets the last code, as in ggml.
    let upper = (16 - VALUES.iter().map(|v| u8::from(x < *v)).sum::<u8>()).min(15);
    if upper == 0 {
        return 0;
    }
    let i = usize::from(upper);
    if x - VALUES[i - 1] < VALUES[i] - x { upper - 1 } else { upper }
}

/// The weights of up to `G` blocks: importance and magnitude, damped by the mean square of the block, twice.
fn damped<const N: usize, const G: usize>(
    level: Level,
    x: &[[f32; N]],
    importance: &[[f32; N]],
) -> [[f32; N]; G] {
    let mut weights = [[0.0; N]; G];
    let sums = simd::sums_of_squares(x.as_flattened(), N);
    for (((weights, x), importance), sum) in weights.iter_mut().zip(x).zip(importance).zip(sums) {
        simd::damped(level, importance, x, 2.0 / N as f32 * sum, weights);
    }
    weights
}

/// The scale that reconstructs `x` best: of those that take the extreme to the first value or near it, the one
/// of the best fit. Of equals the first.
fn search(x: &[f32; 32], weights: &[f32; 32]) -> f32 {
    let max = extreme(x);
    if max.abs() < EPS {
        return 0.0;
    }
    let sums = |iscale: f32| {
        let (mut sumqx, mut sumq2) = (0.0, 0.0);
        for (x, w) in x.iter().zip(weights) {
            let q = VALUES[usize::from(code(iscale * x))];
            sumqx += w * q * x;
            sumq2 += w * q * q;
        }
        (sumqx, sumq2)
    };
    let (sumqx, sumq2) = sums(1.0 / (-max / VALUES[0]));
    // Where no weight is left, the block counts as zero.
    let mut scale = if sumq2 > 0.0 { sumqx / sumq2 } else { 0.0 };
    let mut best = scale * sumqx;
    for step in -7i8..=7 {
        let (sumqx, sumq2) = sums((f32::from(step) + VALUES[0]) / max);
        if sumq2 > 0.0 && sumqx * sumqx > best * sumq2 {
            scale = sumqx / sumq2;
            best = scale * sumqx;
        }
    }
    scale
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernels of `simd` take a value from the middle on for the upper one.
    #[test]
    fn between_two_values_the_middle_decides() {
        for (i, pair) in (0..).zip(VALUES.windows(2)) {
            let middle = (pair[0] + pair[1]) / 2.0;
            assert_eq!((code(middle.next_down()), code(middle)), (i, i + 1));
        }
    }
}
