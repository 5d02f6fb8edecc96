//! Q3_K: a super-block of 256 elements of 3 bits; each 16 of them have a signed scale of 6 bits.
//! Specification: ggml `quantize_row_q3_K_ref`, `quantize_row_q3_K_impl`, `dequantize_row_q3_K`.

use super::block::{
    Block, Importance, MOST_HALF, Row, encode_groups, extreme, half, is_finite, is_zero, single, sum,
    sum_of_squares, traits,
};
use super::planes::{pack_bits, pack_crumbs, unpack_bits, unpack_crumbs};
use super::search::{Symmetric, make_q3_quants, make_qx_quants, nearest_int};
use super::{DType, Traits, scales};
use crate::simd::{self, LANES, Level, SymmetricLanes};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const Q3_K: Traits = traits::<BlockQ3K, 256>(DType::Q3K, "q3_K", 11);

/// ```text
/// byte  0          32                      96         108  110
///       hmask      qs                      scales     d
///
/// hmask      the highest bit of each code (bits, planes.rs)
/// qs         the two lower ones (crumbs, planes.rs)
/// scales     16 codes of 6 bits: the low nibbles of codes 0 to 7 and the high ones of 8 to 15 in bytes 0 to 7,
///            the upper two bits as crumbs in bytes 8 to 11, those of code i in byte 8 + i % 4
/// element  = d * (scale - 32) * (code - 4)
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BlockQ3K {
    hmask: [u8; 32],
    qs: [u8; 64],
    scales: [u8; 12],
    d: U16,
}
const _: () = assert!(size_of::<BlockQ3K>() == 110);

impl BlockQ3K {
    fn new(x: &[f32; 256], fits: &[Symmetric<16>; 16], scales: &[u8; 16], d: f32) -> Self {
        let d = half(d);
        let subs = x.as_chunks::<16>().0;
        let stored = unpack(scales, d);
        let codes: [[u8; 16]; 16] = std::array::from_fn(|i| fits[i].recode(4, &subs[i], stored[i]));
        Self::of_codes(codes.as_flattened(), scales, d)
    }

    fn of_codes(codes: &[u8], scales: &[u8; 16], d: U16) -> Self {
        BlockQ3K { hmask: pack_bits::<2>(codes), qs: pack_crumbs::<0>(codes), scales: pack(scales), d }
    }

    /// The numbers that are stored beside the codes.
    pub(super) fn parts(&self) -> scales::Symmetric<16> {
        let of_subs = unpack_codes(&self.scales).map(|code| i32::from(code) - 32);
        scales::Symmetric { d: self.d.get(), of_subs }
    }

    /// The inverse, with these codes.
    pub(super) fn of_parts(parts: &scales::Symmetric<16>, codes: &[u8]) -> Self {
        Self::of_codes(codes, &parts.of_subs.map(|scale| (scale + 32) as u8), U16::new(parts.d))
    }

    /// `encode` with the kernels of `simd`, its sub-blocks having these scales.
    fn encode_one(level: Level, x: &[f32; 256], scales: [f32; 16]) -> Self {
        let (scales, d) = round_to_six_bits(scales);
        let d = half(d);
        let stored = unpack(&scales, d);
        let mut codes = simd::symmetric_codes::<16>(level, 4, x, &stored, None);
        let subs = x.as_chunks().0.iter().zip(codes.as_chunks_mut::<16>().0);
        for ((x, codes), _) in subs.zip(stored).filter(|(_, scale)| *scale == 0.0) {
            *codes = make_q3_quants(4, x).codes;
        }
        Self::of_codes(&codes, &scales, d)
    }

    /// `encode_weighted` of one to sixteen super-blocks, with the kernels of `simd`; `None` for what the scalar code must
    /// decide.
    fn encode_sixteen(level: Level, x: &[[f32; 256]], importance: &[[f32; 256]]) -> [Option<Self>; LANES] {
        let sigmas = simd::sums_of_squares(x.as_flattened(), 256);
        // Sub-block by sub-block, a lane being a super-block.
        let mut sums = [[0.0; LANES]; 16];
        let mut scales = [[0.0; 16]; LANES];
        let fits: [Option<SymmetricLanes>; LANES] = std::array::from_fn(|block| {
            let mut weights = [0.0; 256];
            let x = x.get(block)?;
            simd::damped(level, &importance[block], x, 2.0 * sigmas[block] / 256.0, &mut weights);
            let weights = simd::by_sub_block::<16>(level, &weights);
            let fits = simd::qx(level, 4, &simd::by_sub_block(level, x), Some(&weights));
            for (sums, sum) in sums.iter_mut().zip(simd::sums(level, &weights)) {
                sums[block] = sum;
            }
            scales[block] = fits.scale;
            Some(fits)
        });
        let scales = scales.as_flattened();
        let common = simd::qx(level, 32, &simd::by_sub_block(level, scales), Some(&sums));
        let mut of_scales = [[0; 16]; LANES];
        simd::fit_codes::<16>(level, 32, scales, &common, of_scales.as_flattened_mut());
        std::array::from_fn(|block| {
            let (x, fits, scales) = (x.get(block)?, fits[block].as_ref()?, &of_scales[block]);
            let d = half(common.scale[block]);
            let codes = simd::symmetric_codes::<16>(level, 4, x, &unpack(scales, d), Some(fits));
            let exact = fits.exact == u16::MAX && common.exact >> block & 1 == 1;
            exact.then(|| Self::of_codes(&codes, scales, d))
        })
    }
}

impl Block<256> for BlockQ3K {
    const MOST: f32 = 4.0 * 32.0 * MOST_HALF;

    fn decode(&self, out: &mut [f32; 256]) {
        let mut codes = [0; 256];
        unpack_crumbs::<0>(&self.qs, &mut codes);
        unpack_bits::<2>(&self.hmask, &mut codes);
        let scales = unpack(&unpack_codes(&self.scales), self.d);
        for (i, (out, codes)) in out.chunks_exact_mut(16).zip(codes.chunks_exact(16)).enumerate() {
            for (out, q) in out.iter_mut().zip(codes) {
                *out = scales[i] * f32::from(i16::from(*q) - 4);
            }
        }
    }

    fn encode(x: &[f32; 256]) -> Self {
        let subs = x.as_chunks::<16>().0;
        let fits: [Symmetric<16>; 16] = std::array::from_fn(|i| make_q3_quants(4, &subs[i]));
        let (scales, d) = round_to_six_bits(std::array::from_fn(|i| fits[i].scale));
        Self::new(x, &fits, &scales, d)
    }

    fn encode_all(level: Level, x: &[[f32; 256]], blocks: &mut [Self]) {
        let kernel = |_, x: &[_]| {
            let columns = std::array::from_fn::<_, 8, _>(|i| {
                simd::by_sub_block::<16>(level, x.get(i).map_or(&[][..], |x: &[f32; 256]| x))
            });
            let scales = simd::q3(level, 4, &columns);
            std::array::from_fn::<_, 8, _>(|i| Some(Self::encode_one(level, x.get(i)?, scales[i])))
        };
        encode_groups(x, blocks, kernel, |_, x| Self::encode(x));
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        let weights = importance.damped(x, 2.0 * sum_of_squares(x) / 256.0);
        let (subs, weights) = (x.as_chunks::<16>().0, weights.as_chunks::<16>().0);
        let fits: [Symmetric<16>; 16] =
            std::array::from_fn(|i| make_qx_quants(4, &subs[i], Some(&weights[i])));
        let sums = std::array::from_fn(|i| sum(&weights[i]));
        let scales = make_qx_quants(32, &std::array::from_fn(|i| fits[i].scale), Some(&sums));
        Self::new(x, &fits, &scales.codes, scales.scale)
    }

    fn encode_row(level: Level, x: &[[f32; 256]], row: &Row<256>, blocks: &mut [Self]) {
        let kernel = |first, x: &[_]| Self::encode_sixteen(level, x, &row.weights[first..]);
        encode_groups(x, blocks, kernel, |i, x| Self::encode_weighted(x, &row.importance(i)));
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d)
    }
}

/// Signed values as codes of a common scale.
fn round_to_six_bits(values: [f32; 16]) -> ([u8; 16], f32) {
    let max = extreme(&values);
    if max == 0.0 {
        return ([0; 16], 0.0);
    }
    let iscale = -32.0 / max;
    (values.map(|v| (nearest_int(iscale * v).clamp(-32, 31) + 32) as u8), 1.0 / iscale)
}

/// The scales as they are stored.
fn unpack(codes: &[u8; 16], d: U16) -> [f32; 16] {
    codes.map(|code| single(d) * f32::from(i16::from(code) - 32))
}

fn pack(codes: &[u8; 16]) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (i, code) in codes.iter().enumerate() {
        bytes[i % 8] |= (code & 15) << (i / 8 * 4);
        bytes[8 + i % 4] |= (code >> 4) << (i / 4 * 2);
    }
    bytes
}

/// The inverse of `pack`.
fn unpack_codes(bytes: &[u8; 12]) -> [u8; 16] {
    std::array::from_fn(|i| {
        let low = bytes[i % 8] >> (i / 8 * 4) & 15;
        let high = bytes[8 + i % 4] >> (i / 4 * 2) & 3;
        low | high << 4
    })
}
