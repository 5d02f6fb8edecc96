//! Q1_0 and Q2_0: elements of one or two bits in their own order under one scale.
//! Specification: ggml `quantize_row_q1_0_ref`, `dequantize_row_q1_0` and their q2_0 kin, measured at the library.

use super::block::{
    Block, MOST_HALF, encode_groups, half, inverse, is_finite, is_zero, magnitude, single, traits, truncate,
};
use super::{DType, Traits};
use crate::simd::{self, Level};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const Q1_0: Traits = traits::<BlockQ1_0, 128>(DType::Q1_0, "q1_0", 41);
pub(super) const Q2_0: Traits = traits::<BlockQ2_0, 64>(DType::Q2_0, "q2_0", 42);

/// ```text
/// byte  0   2                18
///       d   qs               element = d if its bit is set, else -d; the first in the lowest bit
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockQ1_0 {
    d: U16,
    qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockQ1_0>() == 18);

impl Block<128> for BlockQ1_0 {
    const MOST: f32 = MOST_HALF;

    fn decode(&self, out: &mut [f32; 128]) {
        let d = single(self.d);
        for (out, bits) in out.as_chunks_mut::<8>().0.iter_mut().zip(self.qs) {
            *out = std::array::from_fn(|i| if bits >> i & 1 == 1 { d } else { -d });
        }
    }

    #[inline(always)]
    fn encode(x: &[f32; 128]) -> Self {
        let d = x.iter().fold(0.0, |sum, x| sum + x.abs()) / 128.0;
        let bits = |x: &[f32; 8]| (0..8).fold(0, |bits, i| bits | u8::from(x[i] >= 0.0) << i);
        let groups = x.as_chunks::<8>().0;
        BlockQ1_0 { d: half(d), qs: std::array::from_fn(|i| bits(&groups[i])) }
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d)
    }
}

/// ```text
/// byte  0   2                18
///       d   qs               element = d * (code - 1); four codes a byte, the first in the lowest bits
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockQ2_0 {
    d: U16,
    qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockQ2_0>() == 18);

impl Block<64> for BlockQ2_0 {
    const MOST: f32 = MOST_HALF;

    fn decode(&self, out: &mut [f32; 64]) {
        let d = single(self.d);
        for (out, codes) in out.as_chunks_mut::<4>().0.iter_mut().zip(self.qs) {
            *out = std::array::from_fn(|i| (f32::from(codes >> (2 * i) & 3) - 1.0) * d);
        }
    }

    #[inline(always)]
    fn encode(x: &[f32; 64]) -> Self {
        let d = magnitude(x);
        let id = inverse(d);
        // Elements over a scale whose inverse is infinite become the least integer, and so code 0.
        let code = |x: f32| (truncate((x * id).round()).saturating_add(1)).clamp(0, 3) as u8;
        let codes = |x: &[f32; 4]| (0..4).fold(0, |codes, i| codes | code(x[i]) << (2 * i));
        let groups = x.as_chunks::<4>().0;
        BlockQ2_0 { d: half(d), qs: std::array::from_fn(|i| codes(&groups[i])) }
    }

    fn encode_all(level: Level, x: &[[f32; 64]], blocks: &mut [Self]) {
        let found = |x: &_| simd::pairs(level, x).map(|(d, qs)| BlockQ2_0 { d: half(d), qs });
        encode_groups(x, blocks, |_, x| [x.first().and_then(found)], |_, x| Self::encode(x));
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d)
    }
}
