//! MXFP4 and NVFP4: floats of 4 bits (E2M1) under a scale that is itself a small float. MXFP4 has a power of two for
//! 32 elements; NVFP4 has an unsigned E4M3 for each 16 of 64.
//! Specification: OCP Microscaling Formats 1.0; ggml `quantize_row_mxfp4_ref`, `dequantize_row_mxfp4` and their nvfp4
//! kin.

use super::block::{Block, encode_groups, encode_sixteens, magnitude, traits};
use super::planes::{pack_nibbles, unpack_nibbles};
use super::{DType, Traits};
use crate::simd::{self, Level};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const MXFP4: Traits = traits::<BlockMXFP4, 32>(DType::MXFP4, "mxfp4", 39);
pub(super) const NVFP4: Traits = traits::<BlockNVFP4, 64>(DType::NVFP4, "nvfp4", 40);

/// Code -> twice its value, which is an integer. Code 8 is a 0 without a sign, as in ggml.
const VALUES: [f32; 16] =
    [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];

/// ```text
/// byte  0   1                17
///       e   qs               element = 2^(e - 128) * VALUES[code]; nibbles at a distance of 16 (planes.rs)
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockMXFP4 {
    e: u8,
    qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockMXFP4>() == 17);

impl Block<32> for BlockMXFP4 {
    const MOST: f32 = f32::MAX;

    fn decode(&self, out: &mut [f32; 32]) {
        let mut codes = [0; 32];
        unpack_nibbles::<16>(&self.qs, &mut codes);
        let d = power(self.e);
        *out = codes.map(|q| d * VALUES[usize::from(q)]);
    }

    #[inline(always)]
    fn encode(x: &[f32; 32]) -> Self {
        let max = magnitude(x);
        // What is infinite stays so, and is refused by who looks at the blocks.
        if max.is_infinite() {
            return BlockMXFP4 { e: u8::MAX, qs: [0x77; 16] };
        }
        let e = exponent(max);
        let d = power(e);
        let mut qs = [0; 16];
        pack_nibbles::<16>(&x.map(|x| nearest(d, x)), &mut qs);
        BlockMXFP4 { e, qs }
    }

    fn encode_all(level: Level, x: &[[f32; 32]], blocks: &mut [Self]) {
        let kernel = |x: &_, out: &mut _| simd::mxfp4_blocks(level, x, out);
        encode_sixteens(x, blocks, kernel, |e, _, qs| BlockMXFP4 { e: e as u8, qs: *qs });
    }

    fn is_finite(&self) -> bool {
        let mut out = [0.0; 32];
        self.decode(&mut out);
        out.iter().all(|x| x.is_finite())
    }

    fn is_empty(&self) -> bool {
        self.qs == [0; 16]
    }
}

/// `2^(e - 128)`, half of what E8M0 says, for the values are doubled.
fn power(e: u8) -> f32 {
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { u32::from(e - 1) << 23 })
}

/// The exponent that takes `max` to the two upper binades of E2M1.
fn exponent(max: f32) -> u8 {
    if max == 0.0 {
        return 0;
    }
    // The logarithm is rounded to f32, which lifts what is just below a power of two; taken in f64, it does not hang
    // on the last bit of a library. Below 2^-124 the byte wraps, as in ggml.
    let log = f64::from(max).log2() as f32;
    (log.floor() as i32 + 125) as u8
}

/// The code whose value is nearest, the first of equals.
#[inline(always)]
fn nearest(d: f32, x: f32) -> u8 {
    let (mut best, mut least) = (0, (d * VALUES[0] - x).abs());
    for (code, value) in (0..).zip(VALUES) {
        let error = (d * value - x).abs();
        if error < least {
            (best, least) = (code, error);
        }
    }
    best
}

/// ```text
/// byte  0   4                36
///       d   qs
///
/// d[i]       scale of elements 16 i to 16 i + 15, E4M3 without a sign
/// qs         nibbles at a distance of 8 (planes.rs)
/// element  = d / 2 * VALUES[code]
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockNVFP4 {
    d: [u8; 4],
    qs: [u8; 32],
}
const _: () = assert!(size_of::<BlockNVFP4>() == 36);

impl Block<64> for BlockNVFP4 {
    /// The largest value under the largest scale.
    const MOST: f32 = 6.0 * 448.0;

    fn decode(&self, out: &mut [f32; 64]) {
        let mut codes = [0; 64];
        unpack_nibbles::<8>(&self.qs, &mut codes);
        for (i, (out, codes)) in out.chunks_exact_mut(16).zip(codes.chunks_exact(16)).enumerate() {
            let half = half_of_e4m3(self.d[i]);
            for (out, q) in out.iter_mut().zip(codes) {
                *out = half * VALUES[usize::from(*q)];
            }
        }
    }

    #[inline(always)]
    fn encode(x: &[f32; 64]) -> Self {
        let mut block = BlockNVFP4 { d: [0; 4], qs: [0; 32] };
        let subs = x.as_chunks::<16>().0.iter().zip(&mut block.d).zip(block.qs.as_chunks_mut::<8>().0);
        for ((x, d), qs) in subs {
            *d = e4m3(magnitude(x) / 6.0);
            let half = half_of_e4m3(*d);
            pack_nibbles::<8>(&x.map(|x| nearest(half, x)), qs);
        }
        block
    }

    fn encode_all(level: Level, x: &[[f32; 64]], blocks: &mut [Self]) {
        encode_groups(x, blocks, |_, x| four(level, x), |_, x| Self::encode(x));
    }

    fn is_finite(&self) -> bool {
        true
    }

    fn is_empty(&self) -> bool {
        self.qs == [0; 32] || self.d.iter().all(|d| half_of_e4m3(*d) == 0.0)
    }
}

/// Up to four blocks, whose sub-blocks are sixteen; none where they are not certain to be what `encode` gives.
fn four(level: Level, x: &[[f32; 64]]) -> [Option<BlockNVFP4>; 4] {
    let mut subs = [[0.0; 16]; simd::LANES];
    subs.as_flattened_mut()[..64 * x.len()].copy_from_slice(x.as_flattened());
    let found = simd::nvfp4_blocks(level, &subs);
    std::array::from_fn(|i| {
        let mut block = BlockNVFP4 { d: [0; 4], qs: [0; 32] };
        block.d.copy_from_slice(&found.scales[4 * i..4 * i + 4]);
        block.qs.copy_from_slice(found.codes[4 * i..4 * i + 4].as_flattened());
        (found.exact >> (4 * i) & 15 == 15).then_some(block)
    })
}

/// The nearest E4M3 of a number that is not negative, as ggml finds it: halves go up, and from 256 on it is the largest.
fn e4m3(x: f32) -> u8 {
    const LARGEST: u8 = 0x7e;
    let bits = x.min(448.0).to_bits();
    if bits < 121 << 23 {
        return ((x * 512.0 + 0.5) as u8).min(7);
    }
    let code = (bits >> 20) + (bits >> 19 & 1) - (120 << 3);
    if code < 15 << 3 { code as u8 } else { LARGEST }
}

/// Half of an E4M3 (bias 7) whose sign says nothing; the NaN 0x7f counts as 0, as in ggml.
fn half_of_e4m3(bits: u8) -> f32 {
    let (exponent, mantissa) = (bits >> 3 & 15, f32::from(bits & 7));
    match exponent {
        _ if bits == 0x7f => 0.0,
        0 => mantissa / 1024.0,
        // 1 + mantissa / 8 in binade exponent - 7, halved: bit patterns of f32 have a bias of 127.
        _ => (1.0 + mantissa / 8.0) * f32::from_bits((u32::from(exponent) + 119) << 23),
    }
}
