//! Q2_K: a super-block of 256 elements of 2 bits; each 16 of them have a scale and a minimum of 4 bits.
//! Specification: ggml `quantize_row_q2_K_ref`, `quantize_row_q2_K_impl`, `dequantize_row_q2_K`.

use super::block::{
    Block, Importance, MOST_HALF, Row, encode_groups, half, is_finite, is_zero, largest, single, sum,
    sum_of_squares, traits,
};
use super::planes::{pack_crumbs, unpack_crumbs};
use super::search::{
    Affine, Candidates, Loss, WEIGHTED, make_qkx2_quants, make_qkx3_quants, make_qp_quants, nearest_int,
};
use super::{DType, Traits, scales};
use crate::simd::{self, AffineLanes, Level};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const Q2_K: Traits = traits::<BlockQ2K, 256>(DType::Q2K, "q2_K", 10);

const CANDIDATES: Candidates = Candidates { from: -0.5, step: 0.1, count: 15, loss: Loss::Absolute };

/// ```text
/// byte  0        16                      80  82  84
///       scales   qs                      d   dmin
///
/// scales[i]  scale (low nibble) and minimum (high) of elements 16 i to 16 i + 15
/// qs         crumbs (planes.rs)
/// element  = d * scale * code - dmin * minimum
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BlockQ2K {
    scales: [u8; 16],
    qs: [u8; 64],
    d: U16,
    dmin: U16,
}
const _: () = assert!(size_of::<BlockQ2K>() == 84);

impl BlockQ2K {
    fn new(x: &[f32; 256], fits: &[Affine<16>; 16], scales: [u8; 16], d: f32, dmin: f32) -> Self {
        let (d, dmin) = (half(d), half(dmin));
        let subs = x.as_chunks::<16>().0;
        let mut block = BlockQ2K { scales, qs: [0; 64], d, dmin };
        let (scales, mins) = block.unpack();
        let codes: [[u8; 16]; 16] = std::array::from_fn(|i| fits[i].recode(3, &subs[i], scales[i], mins[i]));
        block.qs = pack_crumbs::<0>(codes.as_flattened());
        block
    }

    /// The numbers that are stored beside the codes.
    pub(super) fn parts(&self) -> scales::Affine<16> {
        scales::Affine {
            d: self.d.get(),
            dmin: self.dmin.get(),
            of_subs: self.scales.map(|s| i32::from(s & 15)),
            mins: self.scales.map(|s| i32::from(s >> 4)),
        }
    }

    /// The inverse, with these codes.
    pub(super) fn of_parts(parts: &scales::Affine<16>, codes: &[u8]) -> Self {
        let scales = nibbles(parts.of_subs.map(|code| code as u8), parts.mins.map(|code| code as u8));
        let (d, dmin) = (U16::new(parts.d), U16::new(parts.dmin));
        BlockQ2K { scales, qs: pack_crumbs::<0>(codes), d, dmin }
    }

    /// The scales and minima as they are stored.
    fn unpack(&self) -> ([f32; 16], [f32; 16]) {
        let (d, dmin) = (single(self.d), single(self.dmin));
        (self.scales.map(|s| d * f32::from(s & 15)), self.scales.map(|s| dmin * f32::from(s >> 4)))
    }

    /// `encode` with the kernels of `simd`; `None` if the scalar code must decide.
    fn encode_one(level: Level, x: &[f32; 256]) -> Option<Self> {
        let columns = simd::by_sub_block::<16>(level, x);
        let fits = simd::qkx(level, 3, &columns, &simd::magnitudes(&columns), &CANDIDATES);
        let (d, scales) = round_to_nibbles(fits.scale);
        let (dmin, mins) = round_to_nibbles(fits.min);
        let stored = BlockQ2K { scales: nibbles(scales, mins), qs: [0; 64], d: half(d), dmin: half(dmin) };
        fits.are_exact(0..16).then(|| stored.with_codes(level, x, &fits))
    }

    /// `encode_weighted` of one to eight super-blocks, with the kernels of `simd`; `None` for what the scalar code must
    /// decide.
    fn encode_eight(level: Level, x: &[[f32; 256]], importance: &[[f32; 256]]) -> [Option<Self>; 8] {
        let mut common = simd::SuperBlocks::<16>::new();
        let sigmas = simd::sums_of_squares(x.as_flattened(), 256);
        let fits: [Option<AffineLanes>; 8] = std::array::from_fn(|block| {
            let mut weights = [0.0; 256];
            let x = x.get(block)?;
            simd::damped(level, &importance[block], x, sigmas[block] / 256.0, &mut weights);
            let weights = simd::by_sub_block::<16>(level, &weights);
            let fits = simd::qkx(level, 3, &simd::by_sub_block(level, x), &weights, &WEIGHTED);
            common.put(block, &fits, &simd::sums(level, &weights));
            Some(fits)
        });
        let common = simd::qp(level, 15, &common);
        std::array::from_fn(|block| {
            let (x, fits) = (x.get(block)?, fits[block].as_ref()?);
            let ((d, scales), (dmin, mins)) = (common.scales(block), common.mins(block));
            let scales = nibbles(scales, mins);
            let stored = BlockQ2K { scales, qs: [0; 64], d: half(d), dmin: half(dmin) };
            let exact = common.are_exact(block) && fits.are_exact(0..16);
            exact.then(|| stored.with_codes(level, x, fits))
        })
    }

    fn with_codes(mut self, level: Level, x: &[f32; 256], fits: &AffineLanes) -> Self {
        let mut codes = [0; 256];
        let (scales, mins) = self.unpack();
        simd::affine_codes::<16>(level, 3, x, (&scales, &mins), fits, 0, &mut codes);
        self.qs = pack_crumbs::<0>(&codes);
        self
    }
}

impl Block<256> for BlockQ2K {
    const MOST: f32 = 3.0 * 15.0 * MOST_HALF;

    fn decode(&self, out: &mut [f32; 256]) {
        let mut codes = [0; 256];
        unpack_crumbs::<0>(&self.qs, &mut codes);
        let (scales, mins) = self.unpack();
        for (i, (out, codes)) in out.chunks_exact_mut(16).zip(codes.chunks_exact(16)).enumerate() {
            for (out, q) in out.iter_mut().zip(codes) {
                *out = scales[i] * f32::from(*q) - mins[i];
            }
        }
    }

    fn encode(x: &[f32; 256]) -> Self {
        let subs = x.as_chunks::<16>().0;
        let fits: [Affine<16>; 16] =
            std::array::from_fn(|i| make_qkx2_quants(3, &subs[i], &subs[i].map(f32::abs), &CANDIDATES));
        let (d, scale_codes) = round_to_nibbles(std::array::from_fn(|i| fits[i].scale));
        let (dmin, min_codes) = round_to_nibbles(std::array::from_fn(|i| fits[i].min));
        Self::new(x, &fits, nibbles(scale_codes, min_codes), d, dmin)
    }

    fn encode_all(level: Level, x: &[[f32; 256]], blocks: &mut [Self]) {
        encode_groups(
            x,
            blocks,
            |_, x: &[_]| [x.first().and_then(|x| Self::encode_one(level, x))],
            |_, x| Self::encode(x),
        );
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        let weights = importance.damped(x, sum_of_squares(x) / 256.0);
        let (subs, weights) = (x.as_chunks::<16>().0, weights.as_chunks::<16>().0);
        let fits: [Affine<16>; 16] =
            std::array::from_fn(|i| make_qkx3_quants(3, &subs[i], &weights[i], importance.levels));
        let sums: [f32; 16] = std::array::from_fn(|i| sum(&weights[i]));
        let scales = make_qp_quants(15, &std::array::from_fn(|i| fits[i].scale), &sums);
        let mins = make_qp_quants(15, &std::array::from_fn(|i| fits[i].min), &sums);
        Self::new(x, &fits, nibbles(scales.codes, mins.codes), scales.scale, mins.scale)
    }

    fn encode_row(level: Level, x: &[[f32; 256]], row: &Row<256>, blocks: &mut [Self]) {
        let kernel = |first, x: &[_]| Self::encode_eight(level, x, &row.weights[first..]);
        encode_groups(x, blocks, kernel, |i, x| Self::encode_weighted(x, &row.importance(i)));
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d) && is_finite(self.dmin)
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d) && is_zero(self.dmin)
    }
}

/// Codes of scales, low, and of minima, high.
fn nibbles(scales: [u8; 16], mins: [u8; 16]) -> [u8; 16] {
    std::array::from_fn(|i| scales[i] | mins[i] << 4)
}

/// Values that are not negative as multiples up to 15 of a common scale.
fn round_to_nibbles(values: [f32; 16]) -> (f32, [u8; 16]) {
    let max = largest(&values);
    if max > 0.0 {
        let iscale = 15.0 / max;
        (max / 15.0, values.map(|v| nearest_int(iscale * v) as u8))
    } else {
        (0.0, [0; 16])
    }
}
