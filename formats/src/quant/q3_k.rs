//! Q3_K: a super-block of 256 elements of 3 bits; each 16 of them have a signed scale of 6 bits.
//! Specification: ggml `quantize_row_q3_K_ref`, `quantize_row_q3_K_impl`, `dequantize_row_q3_K`.

use super::block::{Block, Importance, extreme, half, is_finite, single, sum, sum_of_squares, traits};
use super::planes::{pack_bits, pack_crumbs, unpack_bits, unpack_crumbs};
use super::search::{Symmetric, make_q3_quants, make_qx_quants, nearest_int};
use super::{DType, Traits};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const Q3_K: Traits = traits::<BlockQ3K, 256>(DType::Q3K, "q3_K", 11);

/// ```text
/// byte  0          32                      96         108  110
///       hmask      qs                      scales     d
///
/// hmask      the highest bit of each code (bits, planes.rs)
/// qs         the two lower ones (crumbs, planes.rs)
/// scales     16 codes of 6 bits: the low nibbles of codes 0 to 7 and the high ones of 8 to 15 in bytes 0 to 7,
///            the upper two bits as crumbs in bytes 8 to 11, those of code i in byte 8 + i % 4
/// element  = d * (scale - 32) * (code - 4)
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockQ3K {
    hmask: [u8; 32],
    qs: [u8; 64],
    scales: [u8; 12],
    d: U16,
}
const _: () = assert!(size_of::<BlockQ3K>() == 110);

impl BlockQ3K {
    fn new(x: &[f32; 256], fits: &[Symmetric<16>; 16], scales: &[u8; 16], d: f32) -> Self {
        let d = half(d);
        let subs = x.as_chunks::<16>().0;
        let codes: [[u8; 16]; 16] =
            std::array::from_fn(|i| fits[i].recode(4, &subs[i], single(d) * signed(scales[i])));
        let codes = codes.as_flattened();
        BlockQ3K { hmask: pack_bits::<2>(codes), qs: pack_crumbs::<0>(codes), scales: pack(scales), d }
    }
}

impl Block<256> for BlockQ3K {
    fn decode(&self, out: &mut [f32; 256]) {
        let mut codes = [0; 256];
        unpack_crumbs::<0>(&self.qs, &mut codes);
        unpack_bits::<2>(&self.hmask, &mut codes);
        let scales = unpack(&self.scales);
        for (i, (out, codes)) in out.chunks_exact_mut(16).zip(codes.chunks_exact(16)).enumerate() {
            let scale = single(self.d) * signed(scales[i]);
            for (out, q) in out.iter_mut().zip(codes) {
                *out = scale * f32::from(i16::from(*q) - 4);
            }
        }
    }

    fn encode(x: &[f32; 256]) -> Self {
        let subs = x.as_chunks::<16>().0;
        let fits: [Symmetric<16>; 16] = std::array::from_fn(|i| make_q3_quants(4, &subs[i]));
        let scales: [f32; 16] = std::array::from_fn(|i| fits[i].scale);
        let max = extreme(&scales);
        if max == 0.0 {
            return Self::new(x, &fits, &[0; 16], 0.0);
        }
        let iscale = -32.0 / max;
        let codes = scales.map(|scale| (nearest_int(iscale * scale).clamp(-32, 31) + 32) as u8);
        Self::new(x, &fits, &codes, 1.0 / iscale)
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        let weights = importance.damped(x, 2.0 * sum_of_squares(x) / 256.0);
        let (subs, weights) = (x.as_chunks::<16>().0, weights.as_chunks::<16>().0);
        let fits: [Symmetric<16>; 16] =
            std::array::from_fn(|i| make_qx_quants(4, &subs[i], Some(&weights[i])));
        let sums = std::array::from_fn(|i| sum(&weights[i]));
        let scales = make_qx_quants(32, &std::array::from_fn(|i| fits[i].scale), Some(&sums));
        Self::new(x, &fits, &scales.codes, scales.scale)
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }
}

/// The value of a scale's code.
fn signed(code: u8) -> f32 {
    f32::from(i16::from(code) - 32)
}

fn pack(codes: &[u8; 16]) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (i, code) in codes.iter().enumerate() {
        bytes[i % 8] |= (code & 15) << (i / 8 * 4);
        bytes[8 + i % 4] |= (code >> 4) << (i / 4 * 2);
    }
    bytes
}

fn unpack(bytes: &[u8; 12]) -> [u8; 16] {
    std::array::from_fn(|i| {
        let low = bytes[i % 8] >> (i / 8 * 4) & 15;
        let high = bytes[8 + i % 4] >> (i / 4 * 2) & 3;
        low | high << 4
    })
}
