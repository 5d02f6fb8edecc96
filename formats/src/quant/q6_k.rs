//! Q6_K: a super-block of 256 elements of 6 bits; each 16 of them have a signed scale of 8 bits.
//! Specification: ggml `quantize_row_q6_K_ref`, `quantize_row_q6_K_impl`, `dequantize_row_q6_K`.

use super::block::{
    Block, Importance, MOST_HALF, Row, encode_groups, extreme, half, is_finite, is_zero, single, traits,
};
use super::planes::{pack_crumbs, pack_nibbles, unpack_crumbs, unpack_nibbles};
use super::search::{EPS, Symmetric, make_qx_quants, nearest_int};
use super::{DType, Traits, scales};
use crate::simd::{self, Level};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const Q6_K: Traits = traits::<BlockQ6K, 256>(DType::Q6K, "q6_K", 14);

/// ```text
/// byte  0                         128            192      208  210
///       ql                        qh             scales   d
///
/// ql         the lower four bits of each code (nibbles at a distance of 64, planes.rs)
/// qh         the upper two (crumbs, planes.rs)
/// scales[i]  scale of elements 16 i to 16 i + 15
/// element  = d * scale * (code - 32)
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BlockQ6K {
    ql: [u8; 128],
    qh: [u8; 64],
    scales: [i8; 16],
    d: U16,
}
const _: () = assert!(size_of::<BlockQ6K>() == 210);

impl BlockQ6K {
    fn encode_by(x: &[f32; 256], weights: Option<&[f32; 256]>) -> Self {
        let (subs, weights) = (x.as_chunks::<16>().0, weights.map(|w| w.as_chunks::<16>().0));
        let fits: [Symmetric<16>; 16] =
            std::array::from_fn(|i| make_qx_quants(32, &subs[i], weights.map(|w| &w[i])));
        let Some(block) = Self::of_scales(std::array::from_fn(|i| fits[i].scale)) else {
            return BlockQ6K::new_zeroed();
        };
        let scales = block.unpack();
        let codes: [[u8; 16]; 16] = std::array::from_fn(|i| fits[i].recode(32, &subs[i], scales[i]));
        block.with_codes(codes.as_flattened())
    }

    /// The same with the kernels of `simd`; `None` if the scalar code must decide.
    fn encode_one(level: Level, x: &[f32; 256], weights: Option<&[f32; 256]>) -> Option<Self> {
        let columns = simd::by_sub_block::<16>(level, x);
        let weights = weights.map(|weights| simd::by_sub_block(level, weights));
        let fits = simd::qx(level, 32, &columns, weights.as_ref());
        if fits.exact != u16::MAX {
            return None;
        }
        let Some(block) = Self::of_scales(fits.scale) else { return Some(BlockQ6K::new_zeroed()) };
        let codes = simd::symmetric_codes::<16>(level, 32, x, &block.unpack(), Some(&fits));
        Some(block.with_codes(&codes))
    }

    /// A block without codes; `None` if its scales count as zero.
    fn of_scales(scales: [f32; 16]) -> Option<Self> {
        let max = extreme(&scales);
        if max.abs() < EPS {
            return None;
        }
        let iscale = -128.0 / max;
        let scales = scales.map(|scale| nearest_int(iscale * scale).min(127) as i8);
        Some(BlockQ6K { scales, d: half(1.0 / iscale), ..BlockQ6K::new_zeroed() })
    }

    /// The numbers that are stored beside the codes.
    pub(super) fn parts(&self) -> scales::Symmetric<16> {
        scales::Symmetric { d: self.d.get(), of_subs: self.scales.map(i32::from) }
    }

    /// The inverse, with these codes.
    pub(super) fn of_parts(parts: &scales::Symmetric<16>, codes: &[u8]) -> Self {
        let (scales, d) = (parts.of_subs.map(|scale| scale as i8), U16::new(parts.d));
        BlockQ6K { scales, d, ..BlockQ6K::new_zeroed() }.with_codes(codes)
    }

    /// The scales as they are stored.
    fn unpack(&self) -> [f32; 16] {
        self.scales.map(|scale| single(self.d) * f32::from(scale))
    }

    fn with_codes(mut self, codes: &[u8]) -> Self {
        pack_nibbles::<64>(codes, &mut self.ql);
        self.qh = pack_crumbs::<4>(codes);
        self
    }
}

impl Block<256> for BlockQ6K {
    const MOST: f32 = 32.0 * 128.0 * MOST_HALF;

    fn decode(&self, out: &mut [f32; 256]) {
        let mut codes = [0; 256];
        unpack_nibbles::<64>(&self.ql, &mut codes);
        unpack_crumbs::<4>(&self.qh, &mut codes);
        let scales = self.unpack();
        for (i, (out, codes)) in out.chunks_exact_mut(16).zip(codes.chunks_exact(16)).enumerate() {
            for (out, q) in out.iter_mut().zip(codes) {
                *out = scales[i] * f32::from(i16::from(*q) - 32);
            }
        }
    }

    fn encode(x: &[f32; 256]) -> Self {
        Self::encode_by(x, None)
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        Self::encode_by(x, Some(importance.weights))
    }

    fn encode_all(level: Level, x: &[[f32; 256]], blocks: &mut [Self]) {
        let kernel = |_, x: &[[f32; 256]]| [x.first().and_then(|x| Self::encode_one(level, x, None))];
        encode_groups(x, blocks, kernel, |_, x| Self::encode(x));
    }

    fn encode_row(level: Level, x: &[[f32; 256]], row: &Row<256>, blocks: &mut [Self]) {
        let kernel = |first: usize, x: &[[f32; 256]]| {
            [x.first().and_then(|x| Self::encode_one(level, x, row.weights.get(first)))]
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
