//! TQ1_0 and TQ2_0: a super-block of 256 elements that are -1, 0 or 1 times a scale, for models trained to be so.
//! Specification: ggml `quantize_row_tq1_0_ref`, `dequantize_row_tq1_0` and their tq2_0 kin.

use super::block::{
    Block, MOST_HALF, encode_groups, half, inverse, is_finite, is_zero, magnitude, single, traits,
};
use super::planes::{pack_crumbs, unpack_crumbs};
use super::{DType, Traits};
use crate::simd::{self, Level};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const TQ1_0: Traits = traits::<BlockTQ1_0, 256>(DType::TQ1_0, "tq1_0", 34);
pub(super) const TQ2_0: Traits = traits::<BlockTQ2_0, 256>(DType::TQ2_0, "tq2_0", 35);

/// ```text
/// byte  0                                 52  54
///       qs                                d
///
/// qs         digits of base 3 (see RUNS), as a fraction of 256
/// element  = d * (digit - 1)
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockTQ1_0 {
    qs: [u8; 52],
    d: U16,
}
const _: () = assert!(size_of::<BlockTQ1_0>() == 54);

/// Runs of bytes, and how many digits each of them holds: byte `l` of a run of `bytes` holds those of elements
/// `l`, `l + bytes` and so on, the first the most significant.
const RUNS: [(usize, usize); 3] = [(32, 5), (16, 5), (4, 4)];

/// Calls `f` with the number of each byte and the elements of its digits.
fn each_byte(mut f: impl FnMut(usize, [Option<usize>; 5])) {
    let (mut byte, mut element) = (0, 0);
    for (bytes, digits) in RUNS {
        for l in 0..bytes {
            f(byte + l, std::array::from_fn(|n| (n < digits).then_some(element + n * bytes + l)));
        }
        byte += bytes;
        element += bytes * digits;
    }
}

/// Writes the elements of a run of `BYTES` bytes, a digit of each byte after the other: what is behind the point of a fraction
/// times a power of 3 is the fraction of the digits that are left.
#[inline(always)]
fn decode_run<const BYTES: usize>(bytes: &[u8], d: f32, out: &mut [f32]) {
    let Some(bytes) = bytes.first_chunk::<BYTES>() else { return };
    let mut power = 1u16;
    for digits in out.as_chunks_mut::<BYTES>().0 {
        *digits = bytes.map(|byte| {
            let fraction = u16::from(byte).wrapping_mul(power) & 0xff;
            (f32::from((fraction * 3) >> 8) - 1.0) * d
        });
        power *= 3;
    }
}

impl Block<256> for BlockTQ1_0 {
    const MOST: f32 = MOST_HALF;

    fn decode(&self, out: &mut [f32; 256]) {
        let d = single(self.d);
        let (long, rest) = self.qs.split_at(32);
        let (short, last) = rest.split_at(16);
        let (first, rest) = out.split_at_mut(160);
        let (second, third) = rest.split_at_mut(80);
        decode_run::<32>(long, d, first);
        decode_run::<16>(short, d, second);
        decode_run::<4>(last, d, third);
    }

    #[inline(always)]
    fn encode(x: &[f32; 256]) -> Self {
        let (d, codes) = codes(x);
        let mut qs = [0; 52];
        each_byte(|byte, elements| {
            // A missing fifth digit counts as 0.
            let number = elements.iter().fold(0, |n, e| n * 3 + e.map_or(0, |e| u16::from(codes[e])));
            // The least fraction from which the digits come back: rounded up.
            qs[byte] = (number * 256).div_ceil(243) as u8;
        });
        BlockTQ1_0 { qs, d: half(d) }
    }

    fn encode_all(level: Level, x: &[[f32; 256]], blocks: &mut [Self]) {
        let found = |x: &_| simd::digits(level, x).map(|(d, qs)| BlockTQ1_0 { qs, d: half(d) });
        encode_groups(x, blocks, |_, x| [x.first().and_then(found)], |_, x| Self::encode(x));
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d)
    }
}

/// ```text
/// byte  0                                          64  66
///       qs                                         d
///
/// qs         crumbs (planes.rs)
/// element  = d * (code - 1)
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockTQ2_0 {
    qs: [u8; 64],
    d: U16,
}
const _: () = assert!(size_of::<BlockTQ2_0>() == 66);

impl Block<256> for BlockTQ2_0 {
    const MOST: f32 = MOST_HALF;

    fn decode(&self, out: &mut [f32; 256]) {
        let mut codes = [0; 256];
        unpack_crumbs::<0>(&self.qs, &mut codes);
        let d = single(self.d);
        *out = codes.map(|q| (f32::from(q) - 1.0) * d);
    }

    #[inline(always)]
    fn encode(x: &[f32; 256]) -> Self {
        let (d, codes) = codes(x);
        BlockTQ2_0 { qs: pack_crumbs::<0>(&codes), d: half(d) }
    }

    fn encode_all(level: Level, x: &[[f32; 256]], blocks: &mut [Self]) {
        let found = |x: &_| simd::crumbs(level, x).map(|(d, qs)| BlockTQ2_0 { qs, d: half(d) });
        encode_groups(x, blocks, |_, x| [x.first().and_then(found)], |_, x| Self::encode(x));
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d)
    }
}

/// The greatest magnitude, and what each element rounds to in units of it, plus 1.
#[inline(always)]
fn codes(x: &[f32; 256]) -> (f32, [u8; 256]) {
    let d = magnitude(x);
    let id = inverse(d);
    // An element over a scale whose inverse is infinite counts as 0, as in ggml.
    let code = |x: f32| if (x * id).is_finite() { (x * id).round() as i8 } else { 0 };
    (d, x.map(|x| (code(x) + 1) as u8))
}
