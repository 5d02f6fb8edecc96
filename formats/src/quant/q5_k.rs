//! Q5_K: a super-block of 256 elements of 5 bits with the scales of Q4_K; the fifth bits have a plane of their own.
//! Specification: ggml `quantize_row_q5_K_ref`, `quantize_row_q5_K_impl`, `dequantize_row_q5_K`.

use super::block::{Block, Importance, MOST_HALF, Row, encode_groups, traits};
use super::planes::{pack_bits, pack_nibbles, unpack_bits, unpack_nibbles};
use super::q4_k::{Codes, Scales};
use super::search::{Candidates, Loss};
use super::{DType, Traits};
use crate::simd::Level;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const Q5_K: Traits = traits::<BlockQ5K, 256>(DType::Q5K, "q5_K", 13);

const CANDIDATES: Candidates = Candidates { from: -0.5, step: 0.1, count: 15, loss: Loss::Squared };

/// ```text
/// byte  0   2      4        16         48                            176
///       d   dmin   scales   qh         qs
///
/// qh         the fifth bit of each code (bits, planes.rs)
/// qs         the lower four, and the rest, as in Q4_K
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BlockQ5K {
    pub(super) scales: Scales,
    qh: [u8; 32],
    qs: [u8; 128],
}
const _: () = assert!(size_of::<BlockQ5K>() == 176);

impl Block<256> for BlockQ5K {
    const MOST: f32 = 31.0 * 63.0 * MOST_HALF;

    fn decode(&self, out: &mut [f32; 256]) {
        let mut codes = [0; 256];
        unpack_nibbles::<32>(&self.qs, &mut codes);
        unpack_bits::<4>(&self.qh, &mut codes);
        self.scales.decode(&codes, out);
    }

    fn encode(x: &[f32; 256]) -> Self {
        Self::new(Scales::encode(31, x, &CANDIDATES))
    }

    fn encode_all(level: Level, x: &[[f32; 256]], blocks: &mut [Self]) {
        let kernel =
            |_, x: &[_]| Scales::encode_two(level, 31, x, &CANDIDATES).map(|found| found.map(Self::new));
        encode_groups(x, blocks, kernel, |_, x| Self::encode(x));
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        Self::new(Scales::encode_weighted(31, 63, x, importance))
    }

    fn encode_row(level: Level, x: &[[f32; 256]], row: &Row<256>, blocks: &mut [Self]) {
        let kernel = |first, x: &[_]| {
            Scales::encode_eight(level, 31, x, &row.weights[first..]).map(|found| found.map(Self::new))
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

impl BlockQ5K {
    pub(super) fn new((scales, codes): (Scales, Codes)) -> Self {
        let codes = codes.as_flattened();
        let mut qs = [0; 128];
        pack_nibbles::<32>(codes, &mut qs);
        BlockQ5K { scales, qh: pack_bits::<4>(codes), qs }
    }
}
