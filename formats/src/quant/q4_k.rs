//! Q4_K: a super-block of 256 elements of 4 bits; each 32 of them have a scale and a minimum of 6 bits. These
//! `Scales`, and how they are found, serve Q5_K too.
//! Specification: ggml `quantize_row_q4_K_ref`, `quantize_row_q4_K_impl`, `dequantize_row_q4_K`, `get_scale_min_k4`.

use super::block::{
    Block, Importance, MOST_HALF, Row, encode_groups, half, is_finite, is_zero, largest, single, sum,
    sum_of_squares, traits,
};
use super::planes::{pack_nibbles, unpack_nibbles};
use super::search::{
    Affine, Candidates, Loss, WEIGHTED, make_qkx2_quants, make_qkx3_quants, make_qp_quants, nearest_int,
};
use super::{DType, Traits, scales};
use crate::simd::{self, AffineLanes, Level};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const Q4_K: Traits = traits::<BlockQ4K, 256>(DType::Q4K, "q4_K", 12);

const CANDIDATES: Candidates = Candidates { from: -1.0, step: 0.1, count: 20, loss: Loss::Squared };

/// ```text
/// byte  0   2      4        16                            144
///       d   dmin   scales   qs
///
/// qs         nibbles at a distance of 32 (planes.rs)
/// element  = d * scale * code - dmin * minimum
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BlockQ4K {
    pub(super) scales: Scales,
    qs: [u8; 128],
}
const _: () = assert!(size_of::<BlockQ4K>() == 144);

/// ```text
/// byte  0   2      4                          16
///       d   dmin   codes
///
/// codes      scale and minimum of elements 32 i to 32 i + 31, 6 bits each:
///            i < 4   scale = low 6 bits of byte i, minimum = low 6 bits of byte i + 4
///            i >= 4  scale = low nibble of byte i + 4 and, above it, the top 2 bits of byte i - 4,
///                    minimum = high nibble of byte i + 4 and, above it, the top 2 bits of byte i
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Scales {
    d: U16,
    dmin: U16,
    codes: [u8; 12],
}

/// The codes of a super-block, 32 by 32.
pub(super) type Codes = [[u8; 32]; 8];

impl Block<256> for BlockQ4K {
    const MOST: f32 = 15.0 * 63.0 * MOST_HALF;

    fn decode(&self, out: &mut [f32; 256]) {
        let mut codes = [0; 256];
        unpack_nibbles::<32>(&self.qs, &mut codes);
        self.scales.decode(&codes, out);
    }

    fn encode(x: &[f32; 256]) -> Self {
        Self::new(Scales::encode(15, x, &CANDIDATES))
    }

    fn encode_all(level: Level, x: &[[f32; 256]], blocks: &mut [Self]) {
        let kernel =
            |_, x: &[_]| Scales::encode_two(level, 15, x, &CANDIDATES).map(|found| found.map(Self::new));
        encode_groups(x, blocks, kernel, |_, x| Self::encode(x));
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        Self::new(Scales::encode_weighted(15, u8::MAX, x, importance))
    }

    fn encode_row(level: Level, x: &[[f32; 256]], row: &Row<256>, blocks: &mut [Self]) {
        let kernel = |first, x: &[_]| {
            Scales::encode_eight(level, 15, x, &row.weights[first..]).map(|found| found.map(Self::new))
        };
        encode_groups(x, blocks, kernel, |i, x| Self::encode_weighted(x, &row.importance(i)));
    }

    fn is_finite(&self) -> bool {
        self.scales.is_finite()
    }

    fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }
}

impl BlockQ4K {
    pub(super) fn new((scales, codes): (Scales, Codes)) -> Self {
        let mut qs = [0; 128];
        pack_nibbles::<32>(codes.as_flattened(), &mut qs);
        BlockQ4K { scales, qs }
    }
}

impl Scales {
    pub fn decode(&self, codes: &[u8; 256], out: &mut [f32; 256]) {
        let (scales, mins) = self.unpack();
        for (i, (out, codes)) in out.chunks_exact_mut(32).zip(codes.chunks_exact(32)).enumerate() {
            for (out, q) in out.iter_mut().zip(codes) {
                *out = scales[i] * f32::from(*q) - mins[i];
            }
        }
    }

    /// The scales of a super-block and its codes up to `nmax`; an element weighs its magnitude and the root of the
    /// mean square around it.
    pub fn encode(nmax: u8, x: &[f32; 256], candidates: &Candidates) -> (Scales, Codes) {
        let subs = x.as_chunks::<32>().0;
        let fits: [Affine<32>; 8] = std::array::from_fn(|i| {
            let root = (sum_of_squares(&subs[i]) / 32.0).sqrt();
            make_qkx2_quants(nmax, &subs[i], &subs[i].map(|x| root + x.abs()), candidates)
        });
        let (d, scales) = round_to_six_bits(std::array::from_fn(|i| fits[i].scale));
        let (dmin, mins) = round_to_six_bits(std::array::from_fn(|i| fits[i].min));
        let stored = Scales { d: half(d), dmin: half(dmin), codes: pack(&scales, &mins) };
        let codes = stored.recode(nmax, x, &fits);
        (stored, codes)
    }

    /// `encode` of one or two super-blocks, with the kernels of `simd`; `None` for what the scalar code must decide.
    pub fn encode_two(
        level: Level,
        nmax: u8,
        x: &[[f32; 256]],
        candidates: &Candidates,
    ) -> [Option<(Scales, Codes)>; 2] {
        let columns = simd::by_sub_block::<32>(level, x.as_flattened());
        let fits = simd::qkx(level, nmax, &columns, &simd::rooted(level, &columns), candidates);
        std::array::from_fn(|block| {
            let x = x.get(block)?;
            let lanes = 8 * block..8 * block + 8;
            let (d, scales) = round_to_six_bits(fits.scale[lanes.clone()].try_into().ok()?);
            let (dmin, mins) = round_to_six_bits(fits.min[lanes.clone()].try_into().ok()?);
            let stored = Scales { d: half(d), dmin: half(dmin), codes: pack(&scales, &mins) };
            fits.are_exact(lanes.clone()).then(|| stored.with_codes(level, nmax, x, &fits, lanes.start))
        })
    }

    fn with_codes(
        self,
        level: Level,
        nmax: u8,
        x: &[f32; 256],
        fits: &AffineLanes,
        first: usize,
    ) -> (Scales, Codes) {
        let mut codes = [[0; 32]; 8];
        let stored = self.unpack();
        simd::affine_codes::<32>(
            level,
            nmax,
            x,
            (&stored.0, &stored.1),
            fits,
            first,
            codes.as_flattened_mut(),
        );
        (self, codes)
    }

    /// The scales and minima as they are stored.
    fn unpack(&self) -> ([f32; 8], [f32; 8]) {
        let (scales, mins) = unpack(&self.codes);
        let (d, dmin) = (single(self.d), single(self.dmin));
        (scales.map(|scale| d * f32::from(scale)), mins.map(|min| dmin * f32::from(min)))
    }

    /// The same by importance. Codes of scales that wrapped (`search.rs`) are bounded by `most`, for ggml bounds them
    /// in Q5_K but not in Q4_K.
    pub fn encode_weighted(
        nmax: u8,
        most: u8,
        x: &[f32; 256],
        importance: &Importance<256>,
    ) -> (Scales, Codes) {
        let weights = importance.damped(x, 2.0 * sum_of_squares(x) / 256.0);
        let (subs, weights) = (x.as_chunks::<32>().0, weights.as_chunks::<32>().0);
        let fits: [Affine<32>; 8] =
            std::array::from_fn(|i| make_qkx3_quants(nmax, &subs[i], &weights[i], importance.levels));
        let sums = std::array::from_fn(|i| sum(&weights[i]));
        let scales = make_qp_quants(63, &std::array::from_fn(|i| fits[i].scale), &sums);
        let mins = make_qp_quants(63, &std::array::from_fn(|i| fits[i].min), &sums);
        let codes = pack(&scales.codes.map(|l| l.min(most)), &mins.codes.map(|l| l.min(most)));
        let stored = Scales { d: half(scales.scale), dmin: half(mins.scale), codes };
        let codes = stored.recode(nmax, x, &fits);
        (stored, codes)
    }

    /// `encode_weighted` of one to eight super-blocks, with the kernels of `simd`; `None` for what the scalar code must
    /// decide.
    pub fn encode_eight(
        level: Level,
        nmax: u8,
        x: &[[f32; 256]],
        importance: &[[f32; 256]],
    ) -> [Option<(Scales, Codes)>; 8] {
        let mut common = simd::SuperBlocks::<8>::new();
        let sigmas = simd::sums_of_squares(x.as_flattened(), 256);
        let fits: [Option<AffineLanes>; 4] = std::array::from_fn(|two| {
            let blocks = 2 * two..x.len().min(2 * two + 2);
            let mut weights = [[0.0; 256]; 2];
            for (block, weights) in blocks.clone().zip(&mut weights) {
                let sigma2 = 2.0 * sigmas[block] / 256.0;
                simd::damped(level, &importance[block], &x[block], sigma2, weights);
            }
            let columns = simd::by_sub_block::<32>(level, x.get(blocks)?.as_flattened());
            let weights = simd::by_sub_block(level, weights.as_flattened());
            let fits = simd::qkx(level, nmax, &columns, &weights, &WEIGHTED);
            common.put(2 * two, &fits, &simd::sums(level, &weights));
            Some(fits)
        });
        let common = simd::qp(level, 63, &common);
        std::array::from_fn(|block| {
            let (x, fits, first) = (x.get(block)?, fits[block / 2].as_ref()?, block % 2 * 8);
            let exact = common.are_exact(block) && fits.are_exact(first..first + 8);
            let (d, scales) = common.scales(block);
            let (dmin, mins) = common.mins(block);
            let stored = Scales { d: half(d), dmin: half(dmin), codes: pack(&scales, &mins) };
            exact.then(|| stored.with_codes(level, nmax, x, fits, first))
        })
    }

    /// The numbers that are stored.
    pub fn parts(&self) -> scales::Affine<8> {
        let (scales, mins) = unpack(&self.codes);
        scales::Affine {
            d: self.d.get(),
            dmin: self.dmin.get(),
            of_subs: scales.map(i32::from),
            mins: mins.map(i32::from),
        }
    }

    /// The inverse of `parts`.
    pub fn of_parts(parts: &scales::Affine<8>) -> Scales {
        let codes = pack(&parts.of_subs.map(|code| code as u8), &parts.mins.map(|code| code as u8));
        Scales { d: U16::new(parts.d), dmin: U16::new(parts.dmin), codes }
    }

    fn recode(&self, nmax: u8, x: &[f32; 256], fits: &[Affine<32>; 8]) -> Codes {
        let (scales, mins) = self.unpack();
        let subs = x.as_chunks::<32>().0;
        std::array::from_fn(|i| fits[i].recode(nmax, &subs[i], scales[i], mins[i]))
    }

    pub fn is_finite(&self) -> bool {
        is_finite(self.d) && is_finite(self.dmin)
    }

    pub fn is_empty(&self) -> bool {
        is_zero(self.d) && is_zero(self.dmin)
    }
}

/// Values that are not negative as multiples up to 63 of a common scale.
fn round_to_six_bits(values: [f32; 8]) -> (f32, [u8; 8]) {
    let max = largest(&values);
    let iscale = if max > 0.0 { 63.0 / max } else { 0.0 };
    (max / 63.0, values.map(|v| (nearest_int(iscale * v) as u8).min(63)))
}

/// Bits beyond the sixth of a code spill into its neighbour's, as in ggml.
fn pack(scales: &[u8; 8], mins: &[u8; 8]) -> [u8; 12] {
    let mut bytes = [0; 12];
    for i in 0..4 {
        bytes[i] = scales[i] | (scales[i + 4] >> 4) << 6;
        bytes[i + 4] = mins[i] | (mins[i + 4] >> 4) << 6;
        bytes[i + 8] = scales[i + 4] & 15 | (mins[i + 4] & 15) << 4;
    }
    bytes
}

fn unpack(bytes: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let six = |first: usize, i: usize, nibble: u32| match i {
        0..4 => bytes[first + i] & 63,
        _ => bytes[i + 4] >> nibble & 15 | bytes[first + i - 4] >> 6 << 4,
    };
    (std::array::from_fn(|i| six(0, i, 0)), std::array::from_fn(|i| six(4, i, 4)))
}
