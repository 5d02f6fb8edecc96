//! Q8_0: 32 elements of 8 bits under one scale.
//! Specification: ggml `quantize_row_q8_0_ref`, `dequantize_row_q8_0`; importance weights are ignored.

use super::block::{Block, Row, encode_groups, extreme, half, inverse, is_finite, single, traits, truncate};
use super::{DType, Traits};
use crate::simd::{self, LANES, Level};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const Q8_0: Traits = traits::<BlockQ8_0, 32>(DType::Q8_0, "q8_0", 8);

/// ```text
/// byte  0   2                                34
///       d   qs (signed)                      element = d * code
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockQ8_0 {
    d: U16,
    qs: [i8; 32],
}
const _: () = assert!(size_of::<BlockQ8_0>() == 34);

impl Block<32> for BlockQ8_0 {
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
        let kernel = |_, x: &[[f32; 32]]| {
            let found = simd::rounded_blocks(level, x);
            let d = simd::halves(level, &found.scale);
            std::array::from_fn::<_, LANES, _>(|i| {
                let qs = found.codes[i].map(u8::cast_signed);
                (found.exact >> i & 1 == 1).then(|| BlockQ8_0 { d: U16::new(d[i]), qs })
            })
        };
        encode_groups(x, blocks, kernel, |_, x| Self::encode(x));
    }

    fn encode_row(level: Level, x: &[[f32; 32]], _row: &Row<32>, blocks: &mut [Self]) {
        Self::encode_all(level, x, blocks);
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }
}
