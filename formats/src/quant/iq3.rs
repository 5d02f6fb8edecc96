//! IQ3_XXS and IQ3_S: super-blocks of 256 elements, of which each 4 are an entry of a codebook with signs.
//! Specification: ggml `dequantize_row_iq3_xxs`, `dequantize_row_iq3_s`.

use super::block::{is_finite, single};
use super::decoded::{Decoded, decoded, even_signs, signed, twice_four};
use super::grids;
use super::{DType, Traits};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

pub(super) const IQ3_XXS: Traits = decoded::<BlockIQ3XXS, 256>(DType::IQ3XXS, "iq3_xxs", 18);
pub(super) const IQ3_S: Traits = decoded::<BlockIQ3S, 256>(DType::IQ3S, "iq3_s", 21);

/// Code -> value of the elements of IQ3_XXS's codebook.
const VALUES: [f32; 8] = [4.0, 12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 62.0];

/// ```text
/// byte  0   2                           66              98
///       d   qs                          signs_and_scale
///
/// qs[i]               index of elements 4 i to 4 i + 3
/// signs_and_scale[i]  of elements 32 i to 32 i + 31: four times seven signs and, topmost, the scale of 4 bits
/// element           = d * (scale + 1/2) / 2 * value * sign
/// ```
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ3XXS {
    d: U16,
    qs: [[u8; 2]; 32],
    signs_and_scale: [U32; 8],
}
const _: () = assert!(size_of::<BlockIQ3XXS>() == 98);

impl Decoded<256> for BlockIQ3XXS {
    fn decode(&self, out: &mut [f32; 256]) {
        for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let bits = self.signs_and_scale[i / 4].get();
            let scale = single(self.d) * (0.5 + (bits >> 28) as f32) * 0.5;
            let entries = self.qs[i].map(|q| grids::IQ3_XXS[usize::from(q)]);
            let values = twice_four(entries, |code| VALUES[usize::from(code & 7)]);
            *out = signed(scale, values, even_signs(bits >> (i % 4 * 7)));
        }
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }
}

/// ```text
/// byte  0   2                           66     74               106      110
///       d   qs                          qh     signs            scales
///
/// qs[i]      of elements 4 i to 4 i + 3: the low 8 bits of their index
/// qh         bit i, from the low end: the ninth
/// signs      bit i: whether element i is negative
/// scales     nibble i, from the low end, is the scale of elements 32 i to 32 i + 31
/// element  = d * (2 * scale + 1) * (2 * code + 1) * sign
/// ```
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ3S {
    d: U16,
    qs: [[u8; 2]; 32],
    qh: [u8; 8],
    signs: [u8; 32],
    scales: [u8; 4],
}
const _: () = assert!(size_of::<BlockIQ3S>() == 110);

impl Decoded<256> for BlockIQ3S {
    fn decode(&self, out: &mut [f32; 256]) {
        for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let code = self.scales[i / 8] >> (i / 4 % 2 * 4) & 15;
            let scale = single(self.d) * f32::from(1 + 2 * code);
            let high = self.qh[i / 4] >> (i % 4 * 2);
            let entry = |k: usize| grids::IQ3_S[usize::from(self.qs[i][k]) | usize::from(high >> k & 1) << 8];
            let values = twice_four([entry(0), entry(1)], |code| f32::from(2 * code + 1));
            *out = signed(scale, values, self.signs[i]);
        }
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }
}
