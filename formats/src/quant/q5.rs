//! Q5_0 and Q5_1: as Q4_0 and Q4_1 with a fifth bit, that of element `j` being bit `j` of `qh`.
//! Specification: ggml `quantize_row_q5_0_ref`, `quantize_row_q5_0_impl`, `dequantize_row_q5_0` and their q5_1 kin.

use super::block::{
    Block, Importance, MOST_HALF, Row, encode_groups, encode_sixteens, extreme, half, inverse, is_finite,
    is_zero, single, traits, truncate,
};
use super::planes::{pack_nibbles, unpack_nibbles};
use super::search::{Affine, Symmetric, WEIGHTED, bounds, make_qkx3_quants, make_qx_quants};
use super::{DType, Traits};
use crate::simd::{self, LANES, Level};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const Q5_0: Traits = traits::<BlockQ5_0, 32>(DType::Q5_0, "q5_0", 6);
pub(super) const Q5_1: Traits = traits::<BlockQ5_1, 32>(DType::Q5_1, "q5_1", 7);

/// ```text
/// byte  0   2      6                22
///       d   qh     qs               element = d * (code - 16)
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BlockQ5_0 {
    pub(super) d: U16,
    qh: U32,
    qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockQ5_0>() == 22);

impl BlockQ5_0 {
    pub(super) fn new(d: f32, codes: &[u8; 32]) -> Self {
        let (qh, qs) = pack(codes);
        BlockQ5_0 { d: half(d), qh, qs }
    }
}

impl Block<32> for BlockQ5_0 {
    const MOST: f32 = 16.0 * MOST_HALF;
    const BY_ROW: bool = true;

    fn decode(&self, out: &mut [f32; 32]) {
        let d = single(self.d);
        *out = unpack(self.qh, &self.qs).map(|q| f32::from(i16::from(q) - 16) * d);
    }

    fn encode(x: &[f32; 32]) -> Self {
        let d = extreme(x) / -16.0;
        let id = inverse(d);
        // The cast is through i8, so that the integer of an overflow becomes code 0.
        Self::new(d, &x.map(|x| (truncate(x * id + 16.5) as i8).min(31) as u8))
    }

    fn encode_weighted(x: &[f32; 32], importance: &Importance<32>) -> Self {
        let weights = importance.damped(x, importance.row_mean_square);
        let Symmetric { scale, codes } = make_qx_quants(16, x, Some(&weights));
        Self::new(scale, &codes)
    }

    fn encode_all(level: Level, x: &[[f32; 32]], blocks: &mut [Self]) {
        let kernel = |x: &_, out: &mut _| simd::symmetric_blocks(level, 16.0, x, out);
        encode_sixteens(x, blocks, kernel, |d, _, codes| BlockQ5_0 {
            d: U16::new(d),
            qh: U32::new(codes.fifth),
            qs: codes.low,
        });
    }

    fn encode_row(level: Level, x: &[[f32; 32]], row: &Row<32>, blocks: &mut [Self]) {
        let kernel = |first, x: &[[f32; 32]]| {
            let (columns, weights) = row.columns(level, first, x);
            let fits = simd::qx(level, 16, &columns, Some(&weights));
            let mut codes = [[0; 32]; LANES];
            simd::fit_codes::<32>(level, 16, x.as_flattened(), &fits, codes.as_flattened_mut());
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
/// byte  0   2   4      8                24
///       d   m   qh     qs               element = d * code + m
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BlockQ5_1 {
    pub(super) d: U16,
    pub(super) m: U16,
    qh: U32,
    qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockQ5_1>() == 24);

impl BlockQ5_1 {
    pub(super) fn new(d: f32, m: f32, codes: &[u8; 32]) -> Self {
        let (qh, qs) = pack(codes);
        BlockQ5_1 { d: half(d), m: half(m), qh, qs }
    }
}

impl Block<32> for BlockQ5_1 {
    const MOST: f32 = 32.0 * MOST_HALF;
    const BY_ROW: bool = true;

    fn decode(&self, out: &mut [f32; 32]) {
        let (d, m) = (single(self.d), single(self.m));
        *out = unpack(self.qh, &self.qs).map(|q| f32::from(q) * d + m);
    }

    fn encode(x: &[f32; 32]) -> Self {
        let (min, max) = bounds(x);
        let d = (max - min) / 31.0;
        let id = inverse(d);
        Self::new(d, min, &x.map(|x| truncate((x - min) * id + 0.5) as u8))
    }

    fn encode_weighted(x: &[f32; 32], importance: &Importance<32>) -> Self {
        let weights = importance.damped(x, importance.row_mean_square);
        let Affine { scale, min, codes } = make_qkx3_quants(31, x, &weights, importance.levels);
        Self::new(scale, -min, &codes)
    }

    fn encode_all(level: Level, x: &[[f32; 32]], blocks: &mut [Self]) {
        let kernel = |x: &_, out: &mut _| simd::affine_blocks(level, 31.0, x, out);
        encode_sixteens(x, blocks, kernel, |d, m, codes| BlockQ5_1 {
            d: U16::new(d),
            m: U16::new(m),
            qh: U32::new(codes.fifth),
            qs: codes.low,
        });
    }

    fn encode_row(level: Level, x: &[[f32; 32]], row: &Row<32>, blocks: &mut [Self]) {
        let kernel = |first, x: &[[f32; 32]]| {
            let (columns, weights) = row.columns(level, first, x);
            let fits = simd::qkx(level, 31, &columns, &weights, &WEIGHTED);
            let mut codes = [[0; 32]; LANES];
            let none = ([0.0; LANES], [0.0; LANES]);
            let out = codes.as_flattened_mut();
            simd::affine_codes::<32>(level, 31, x.as_flattened(), (&none.0, &none.1), &fits, 0, out);
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

/// Five-bit codes as `qh` and `qs`.
fn pack(codes: &[u8; 32]) -> (U32, [u8; 16]) {
    let mut qs = [0; 16];
    pack_nibbles::<16>(codes, &mut qs);
    let qh = codes.iter().enumerate().fold(0, |qh, (j, q)| qh | u32::from(q >> 4 & 1) << j);
    (U32::new(qh), qs)
}

/// The inverse of `pack`.
fn unpack(qh: U32, qs: &[u8; 16]) -> [u8; 32] {
    let mut codes = [0; 32];
    unpack_nibbles::<16>(qs, &mut codes);
    for (j, q) in codes.iter_mut().enumerate() {
        *q |= ((qh.get() >> j & 1) as u8) << 4;
    }
    codes
}
