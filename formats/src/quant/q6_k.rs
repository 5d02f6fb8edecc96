//! Q6_K: a super-block of 256 elements of 6 bits; each 16 of them have a signed scale of 8 bits.
//! Specification: ggml `quantize_row_q6_K_ref`, `quantize_row_q6_K_impl`, `dequantize_row_q6_K`.

use super::block::{Block, Importance, extreme, half, is_finite, single, traits};
use super::planes::{pack_crumbs, pack_nibbles, unpack_crumbs, unpack_nibbles};
use super::search::{EPS, Symmetric, make_qx_quants, nearest_int};
use super::{DType, Traits};
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
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockQ6K {
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
        let scales: [f32; 16] = std::array::from_fn(|i| fits[i].scale);
        let max = extreme(&scales);
        if max.abs() < EPS {
            return BlockQ6K::new_zeroed();
        }
        let iscale = -128.0 / max;
        let d = half(1.0 / iscale);
        let scales = scales.map(|scale| nearest_int(iscale * scale).min(127) as i8);
        let codes: [[u8; 16]; 16] =
            std::array::from_fn(|i| fits[i].recode(32, &subs[i], single(d) * f32::from(scales[i])));
        let codes = codes.as_flattened();
        let mut ql = [0; 128];
        pack_nibbles::<64>(codes, &mut ql);
        BlockQ6K { ql, qh: pack_crumbs::<4>(codes), scales, d }
    }
}

impl Block<256> for BlockQ6K {
    fn decode(&self, out: &mut [f32; 256]) {
        let mut codes = [0; 256];
        unpack_nibbles::<64>(&self.ql, &mut codes);
        unpack_crumbs::<4>(&self.qh, &mut codes);
        for (i, (out, codes)) in out.chunks_exact_mut(16).zip(codes.chunks_exact(16)).enumerate() {
            let scale = single(self.d) * f32::from(self.scales[i]);
            for (out, q) in out.iter_mut().zip(codes) {
                *out = scale * f32::from(i16::from(*q) - 32);
            }
        }
    }

    fn encode(x: &[f32; 256]) -> Self {
        Self::encode_by(x, None)
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        Self::encode_by(x, Some(importance.weights))
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }
}
