//! Q8_0: 32 elements of 8 bits under one scale.
//! Specification: ggml `quantize_row_q8_0_ref`, `dequantize_row_q8_0`; importance weights are ignored.

use super::block::{
    Block, MOST_HALF, Row, encode_sixteens, extreme, half, inverse, is_finite, is_zero, single, traits,
    truncate,
};
use super::{DType, Traits};
use crate::simd::{self, Level};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const Q8_0: Traits = traits::<BlockQ8_0, 32>(DType::Q8_0, "q8_0", 8);

/// ```text
/// byte  0   2                                34
///       d   qs (signed)                      element = d * code
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BlockQ8_0 {
    pub(super) d: U16,
    pub(super) qs: [i8; 32],
}
const _: () = assert!(size_of::<BlockQ8_0>() == 34);

impl Block<32> for BlockQ8_0 {
    const MOST: f32 = 127.0 * MOST_HALF;

    fn decode(&self, out: &mut [f32; 32]) {
        let d = single(self.d);
        *out = self.qs.map(|q| f32::from(q) * d);
    }

    fn encode(x: &[f32; 32]) -> Self {
        let d = extreme(x).abs() / 127.0;
        let id = inverse(d);
        // `round` is C's `roundf`: halves go away from zero.
        BlockQ8_0 { d: half(d), qs: x.map(|x| truncate((x * id).round()) as i8) }
    }

    fn encode_all(level: Level, x: &[[f32; 32]], blocks: &mut [Self]) {
        let kernel = |x: &_, out: &mut _| simd::rounded_blocks(level, x, out);
        encode_sixteens(x, blocks, kernel, |d, _, codes| {
            let mut qs = [0; 32];
            qs.copy_from_slice(codes.as_flattened());
            BlockQ8_0 { d: U16::new(d), qs }
        });
    }

    fn encode_row(level: Level, x: &[[f32; 32]], _row: &Row<32>, blocks: &mut [Self]) {
        Self::encode_all(level, x, blocks);
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d)
    }
}
