//! Q2_K: a super-block of 256 elements of 2 bits; each 16 of them have a scale and a minimum of 4 bits.
//! Specification: ggml `quantize_row_q2_K_ref`, `quantize_row_q2_K_impl`, `dequantize_row_q2_K`.

use super::block::{Block, Importance, half, is_finite, largest, single, sum, sum_of_squares, traits};
use super::planes::{pack_crumbs, unpack_crumbs};
use super::search::{
    Affine, Candidates, Loss, make_qkx2_quants, make_qkx3_quants, make_qp_quants, nearest_int,
};
use super::{DType, Traits};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const Q2_K: Traits = traits::<BlockQ2K, 256>(DType::Q2K, "q2_K", 10);

/// ```text
/// byte  0        16                      80  82  84
///       scales   qs                      d   dmin
///
/// scales[i]  scale (low nibble) and minimum (high) of elements 16 i to 16 i + 15
/// qs         crumbs (planes.rs)
/// element  = d * scale * code - dmin * minimum
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockQ2K {
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
        let codes: [[u8; 16]; 16] = std::array::from_fn(|i| {
            let scale = single(d) * f32::from(scales[i] & 15);
            let min = single(dmin) * f32::from(scales[i] >> 4);
            fits[i].recode(3, &subs[i], scale, min)
        });
        BlockQ2K { scales, qs: pack_crumbs::<0>(codes.as_flattened()), d, dmin }
    }
}

impl Block<256> for BlockQ2K {
    fn decode(&self, out: &mut [f32; 256]) {
        let mut codes = [0; 256];
        unpack_crumbs::<0>(&self.qs, &mut codes);
        for (i, (out, codes)) in out.chunks_exact_mut(16).zip(codes.chunks_exact(16)).enumerate() {
            let scale = single(self.d) * f32::from(self.scales[i] & 15);
            let min = single(self.dmin) * f32::from(self.scales[i] >> 4);
            for (out, q) in out.iter_mut().zip(codes) {
                *out = scale * f32::from(*q) - min;
            }
        }
    }

    fn encode(x: &[f32; 256]) -> Self {
        let candidates = Candidates { from: -0.5, step: 0.1, count: 15, loss: Loss::Absolute };
        let subs = x.as_chunks::<16>().0;
        let fits: [Affine<16>; 16] =
            std::array::from_fn(|i| make_qkx2_quants(3, &subs[i], &subs[i].map(f32::abs), &candidates));
        let (d, scale_codes) = round_to_nibbles(std::array::from_fn(|i| fits[i].scale));
        let (dmin, min_codes) = round_to_nibbles(std::array::from_fn(|i| fits[i].min));
        Self::new(x, &fits, std::array::from_fn(|i| scale_codes[i] | min_codes[i] << 4), d, dmin)
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        let weights = importance.damped(x, sum_of_squares(x) / 256.0);
        let (subs, weights) = (x.as_chunks::<16>().0, weights.as_chunks::<16>().0);
        let fits: [Affine<16>; 16] = std::array::from_fn(|i| make_qkx3_quants(3, &subs[i], &weights[i]));
        let sums: [f32; 16] = std::array::from_fn(|i| sum(&weights[i]));
        let scales = make_qp_quants(15, &std::array::from_fn(|i| fits[i].scale), &sums);
        let mins = make_qp_quants(15, &std::array::from_fn(|i| fits[i].min), &sums);
        let codes = std::array::from_fn(|i| scales.codes[i] | mins.codes[i] << 4);
        Self::new(x, &fits, codes, scales.scale, mins.scale)
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d) && is_finite(self.dmin)
    }
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
