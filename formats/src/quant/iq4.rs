//! IQ4_NL and IQ4_XS: codes of 4 bits that look a value up in a table which is denser around zero, as weights are.
//! IQ4_NL has a scale for 32 elements; IQ4_XS has super-blocks of 256, in which each 32 have a scale of 6 bits.
//! Specification: ggml `quantize_row_iq4_nl_impl`, `dequantize_row_iq4_nl`, `dequantize_row_iq4_xs`.

use super::block::{Block, Importance, extreme, half, inverse, is_finite, single, sum_of_squares, traits};
use super::planes::{pack_nibbles, unpack_nibbles};
use super::search::{EPS, nearest_int};
use super::{DType, Traits};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const IQ4_NL: Traits = traits::<BlockIQ4NL, 32>(DType::IQ4NL, "iq4_nl", 20);
pub(super) const IQ4_XS: Traits = traits::<BlockIQ4XS, 256>(DType::IQ4XS, "iq4_xs", 23);

/// Code -> value (`kvalues_iq4nl`), rising.
const VALUES: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0,
];

/// ```text
/// byte  0   2                18
///       d   qs               element = d * VALUES[code]; nibbles at a distance of 16 (planes.rs)
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ4NL {
    d: U16,
    qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockIQ4NL>() == 18);

impl BlockIQ4NL {
    fn new(x: &[f32; 32], weights: &[f32; 32]) -> Self {
        let scale = search(x, weights);
        let mut qs = [0; 16];
        pack_nibbles::<16>(&codes(x, scale), &mut qs);
        BlockIQ4NL { d: half(scale), qs }
    }
}

impl Block<32> for BlockIQ4NL {
    fn decode(&self, out: &mut [f32; 32]) {
        let mut codes = [0; 32];
        unpack_nibbles::<16>(&self.qs, &mut codes);
        let d = single(self.d);
        *out = codes.map(|q| d * VALUES[usize::from(q)]);
    }

    fn encode(x: &[f32; 32]) -> Self {
        Self::new(x, &x.map(|x| x * x))
    }

    fn encode_weighted(x: &[f32; 32], importance: &Importance<32>) -> Self {
        Self::new(x, &importance.damped(x, 2.0 / 32.0 * sum_of_squares(x)))
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
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
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ4XS {
    d: U16,
    scales_h: U16,
    scales_l: [u8; 4],
    qs: [u8; 128],
}
const _: () = assert!(size_of::<BlockIQ4XS>() == 136);

impl BlockIQ4XS {
    fn new(x: &[f32; 256], weights: &[f32; 256]) -> Self {
        let (subs, weights) = (x.as_chunks::<32>().0, weights.as_chunks::<32>().0);
        let scales: [f32; 8] = std::array::from_fn(|i| search(&subs[i], &weights[i]));
        let d = -extreme(&scales) / 32.0;
        let id = inverse(d);
        let (mut scales_h, mut scales_l) = (0, [0; 4]);
        let mut all = [[0; 32]; 8];
        for (i, codes_of) in all.iter_mut().enumerate() {
            let scale = nearest_int(id * scales[i]).clamp(-32, 31);
            *codes_of = codes(&subs[i], d * scale as f32);
            let stored = (scale + 32) as u8;
            scales_l[i / 2] |= (stored & 15) << (i % 2 * 4);
            scales_h |= u16::from(stored >> 4) << (2 * i);
        }
        let mut qs = [0; 128];
        pack_nibbles::<16>(all.as_flattened(), &mut qs);
        BlockIQ4XS { d: half(d), scales_h: U16::new(scales_h), scales_l, qs }
    }
}

impl Block<256> for BlockIQ4XS {
    fn decode(&self, out: &mut [f32; 256]) {
        let mut codes = [0; 256];
        unpack_nibbles::<16>(&self.qs, &mut codes);
        for (i, (out, codes)) in out.chunks_exact_mut(32).zip(codes.chunks_exact(32)).enumerate() {
            let low = self.scales_l[i / 2] >> (i % 2 * 4) & 15;
            let high = (self.scales_h.get() >> (2 * i) & 3) as u8;
            let scale = single(self.d) * f32::from(i16::from(low | high << 4) - 32);
            for (out, q) in out.iter_mut().zip(codes) {
                *out = scale * VALUES[usize::from(*q)];
            }
        }
    }

    fn encode(x: &[f32; 256]) -> Self {
        Self::new(x, &x.map(|x| x * x))
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        Self::new(x, &importance.damped(x, 2.0 / 256.0 * sum_of_squares(x)))
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
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

/// The codes at a scale; a scale of 0 takes every element for 0.
fn codes(x: &[f32; 32], scale: f32) -> [u8; 32] {
    let iscale = inverse(scale);
    x.map(|x| code(iscale * x))
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
