//! Q4_0 and Q4_1: 32 elements of 4 bits under one scale, Q4_1 with a minimum. Element `j` lies in the low nibble of
//! byte `j` of `qs`, element `j + 16` in the high one.
//! Specification: ggml `quantize_row_q4_0_ref`, `quantize_row_q4_0_impl`, `dequantize_row_q4_0` and their q4_1 kin.

use super::block::{
    Block, Importance, MOST_HALF, Row, encode_groups, encode_sixteens, extreme, half, inverse, is_finite,
    is_zero, single, traits, truncate,
};
use super::planes::{pack_nibbles, unpack_nibbles};
use super::search::{Affine, Symmetric, WEIGHTED, bounds, make_qkx3_quants, make_qx_quants};
use super::{DType, Traits};
use crate::simd::{self, LANES, Level};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const Q4_0: Traits = traits::<BlockQ4_0, 32>(DType::Q4_0, "q4_0", 2);
pub(super) const Q4_1: Traits = traits::<BlockQ4_1, 32>(DType::Q4_1, "q4_1", 3);

/// ```text
/// byte  0   2                18
///       d   qs               element = d * (code - 8)
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BlockQ4_0 {
    pub(super) d: U16,
    qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockQ4_0>() == 18);

impl BlockQ4_0 {
    pub(super) fn new(d: f32, codes: &[u8; 32]) -> Self {
        let mut qs = [0; 16];
        pack_nibbles::<16>(codes, &mut qs);
        BlockQ4_0 { d: half(d), qs }
    }
}

impl Block<32> for BlockQ4_0 {
    const MOST: f32 = 8.0 * MOST_HALF;
    const BY_ROW: bool = true;

    fn decode(&self, out: &mut [f32; 32]) {
        let mut codes = [0; 32];
        unpack_nibbles::<16>(&self.qs, &mut codes);
        let d = single(self.d);
        *out = codes.map(|q| f32::from(i16::from(q) - 8) * d);
    }

    fn encode(x: &[f32; 32]) -> Self {
        let d = extreme(x) / -8.0;
        let id = inverse(d);
        // The cast is through i8, so that the integer of an overflow becomes code 0.
        Self::new(d, &x.map(|x| (truncate(x * id + 8.5) as i8).min(15) as u8))
    }

    fn encode_weighted(x: &[f32; 32], importance: &Importance<32>) -> Self {
        let weights = importance.damped(x, importance.row_mean_square);
        let Symmetric { scale, codes } = make_qx_quants(8, x, Some(&weights));
        Self::new(scale, &codes)
    }

    fn encode_all(level: Level, x: &[[f32; 32]], blocks: &mut [Self]) {
        let kernel = |x: &_, out: &mut _| simd::symmetric_blocks(level, 8.0, x, out);
        encode_sixteens(x, blocks, kernel, |d, _, codes| BlockQ4_0 { d: U16::new(d), qs: codes.low });
    }

    fn encode_row(level: Level, x: &[[f32; 32]], row: &Row<32>, blocks: &mut [Self]) {
        let kernel = |first, x: &[[f32; 32]]| {
            let (columns, weights) = row.columns(level, first, x);
            let fits = simd::qx(level, 8, &columns, Some(&weights));
            let mut codes = [[0; 32]; LANES];
            simd::fit_codes::<32>(level, 8, x.as_flattened(), &fits, codes.as_flattened_mut());
            std::array::from_fn::<_, LANES, _>(|i| {
                (fits.exact >> i & 1 == 1).then(|| Self::new(fits.scale[i], &codes[i]))
            })
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
/// byte  0   2   4                20
///       d   m   qs               element = d * code + m
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BlockQ4_1 {
    pub(super) d: U16,
    pub(super) m: U16,
    qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockQ4_1>() == 20);

impl BlockQ4_1 {
    pub(super) fn new(d: f32, m: f32, codes: &[u8; 32]) -> Self {
        let mut qs = [0; 16];
        pack_nibbles::<16>(codes, &mut qs);
        BlockQ4_1 { d: half(d), m: half(m), qs }
    }
}

impl Block<32> for BlockQ4_1 {
    const MOST: f32 = 16.0 * MOST_HALF;
    const BY_ROW: bool = true;

    fn decode(&self, out: &mut [f32; 32]) {
        let mut codes = [0; 32];
        unpack_nibbles::<16>(&self.qs, &mut codes);
        let (d, m) = (single(self.d), single(self.m));
        *out = codes.map(|q| f32::from(q) * d + m);
    }

    fn encode(x: &[f32; 32]) -> Self {
        let (min, max) = bounds(x);
        let d = (max - min) / 15.0;
        let id = inverse(d);
        Self::new(d, min, &x.map(|x| (truncate((x - min) * id + 0.5) as i8).min(15) as u8))
    }

    fn encode_weighted(x: &[f32; 32], importance: &Importance<32>) -> Self {
        let weights = importance.damped(x, importance.row_mean_square);
        let Affine { scale, min, codes } = make_qkx3_quants(15, x, &weights, importance.levels);
        Self::new(scale, -min, &codes)
    }

    fn encode_all(level: Level, x: &[[f32; 32]], blocks: &mut [Self]) {
        let kernel = |x: &_, out: &mut _| simd::affine_blocks(level, 15.0, x, out);
        encode_sixteens(x, blocks, kernel, |d, m, codes| BlockQ4_1 {
            d: U16::new(d),
            m: U16::new(m),
            qs: codes.low,
        });
    }

    fn encode_row(level: Level, x: &[[f32; 32]], row: &Row<32>, blocks: &mut [Self]) {
        let kernel = |first, x: &[[f32; 32]]| {
            let (columns, weights) = row.columns(level, first, x);
            let fits = simd::qkx(level, 15, &columns, &weights, &WEIGHTED);
            let mut codes = [[0; 32]; LANES];
            let none = ([0.0; LANES], [0.0; LANES]);
            let out = codes.as_flattened_mut();
            simd::affine_codes::<32>(level, 15, x.as_flattened(), (&none.0, &none.1), &fits, 0, out);
            std::array::from_fn::<_, LANES, _>(|i| {
                fits.are_exact(i..i + 1).then(|| Self::new(fits.scale[i], -fits.min[i], &codes[i]))
            })
        };
        encode_groups(x, blocks, kernel, |i, x| Self::encode_weighted(x, &row.importance(i)));
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d) && is_finite(self.m)
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d) && is_zero(self.m)
    }
}
