//! IQ2_XXS, IQ2_XS and IQ2_S: super-blocks of 256 elements, of which each 8 are an entry of a codebook with signs.
//! Specification: ggml `dequantize_row_iq2_xxs`, `dequantize_row_iq2_xs`, `dequantize_row_iq2_s`.

use super::block::{is_finite, single};
use super::decoded::{Decoded, decoded, eight, even_signs, signed};
use super::grids;
use super::{DType, Traits};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

pub(super) const IQ2_XXS: Traits = decoded::<BlockIQ2XXS, 256>(DType::IQ2XXS, "iq2_xxs", 16);
pub(super) const IQ2_XS: Traits = decoded::<BlockIQ2XS, 256>(DType::IQ2XS, "iq2_xs", 17);
pub(super) const IQ2_S: Traits = decoded::<BlockIQ2S, 256>(DType::IQ2S, "iq2_s", 22);

/// Code -> value of a codebook's elements.
const VALUES: [f32; 3] = [8.0, 25.0, 43.0];

/// The scale of a code of 4 bits.
fn scale(d: U16, code: u8) -> f32 {
    single(d) * (0.5 + f32::from(code)) * 0.25
}

/// ```text
/// byte  0   2                                 66
///       d   groups
///
/// groups[i]  of elements 32 i to 32 i + 31: four indices of 8 bits, then four times seven signs and, topmost, the
///            scale of 4 bits
/// element  = d * (scale + 1/2) / 4 * value * sign
/// ```
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ2XXS {
    d: U16,
    groups: [Group; 8],
}
const _: () = assert!(size_of::<BlockIQ2XXS>() == 66);

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Group {
    indices: [u8; 4],
    signs_and_scale: U32,
}

impl Decoded<256> for BlockIQ2XXS {
    fn decode(&self, out: &mut [f32; 256]) {
        for (out, group) in out.as_chunks_mut::<32>().0.iter_mut().zip(&self.groups) {
            let bits = group.signs_and_scale.get();
            let scale = scale(self.d, (bits >> 28) as u8);
            for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let entry = grids::IQ2_XXS[usize::from(group.indices[i])];
                *out = signed(scale, eight(entry, &VALUES), even_signs(bits >> (7 * i)));
            }
        }
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }
}

/// ```text
/// byte  0   2                                 66        74
///       d   qs                                scales
///
/// qs[i]      of elements 8 i to 8 i + 7: an index of 9 bits and, above it, seven signs
/// scales     nibble i, from the low end, is the scale of elements 16 i to 16 i + 15
/// element  = d * (scale + 1/2) / 4 * value * sign
/// ```
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ2XS {
    d: U16,
    qs: [U16; 32],
    scales: [u8; 8],
}
const _: () = assert!(size_of::<BlockIQ2XS>() == 74);

impl Decoded<256> for BlockIQ2XS {
    fn decode(&self, out: &mut [f32; 256]) {
        for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let scale = scale(self.d, self.scales[i / 4] >> (i / 2 % 2 * 4) & 15);
            let bits = self.qs[i].get();
            let entry = grids::IQ2_XS[usize::from(bits & 511)];
            *out = signed(scale, eight(entry, &VALUES), even_signs(u32::from(bits >> 9)));
        }
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }
}

/// ```text
/// byte  0   2                34               66     74       82
///       d   qs               signs            qh     scales
///
/// qs[i]      of elements 8 i to 8 i + 7: the low 8 bits of their index
/// signs[i]   their signs
/// qh         crumb i, from the low end: the upper bits of their index
/// scales     nibble i, from the low end, is the scale of elements 16 i to 16 i + 15
/// element  = d * (scale + 1/2) / 4 * value * sign
/// ```
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ2S {
    d: U16,
    qs: [u8; 32],
    signs: [u8; 32],
    qh: [u8; 8],
    scales: [u8; 8],
}
const _: () = assert!(size_of::<BlockIQ2S>() == 82);

impl Decoded<256> for BlockIQ2S {
    fn decode(&self, out: &mut [f32; 256]) {
        for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let scale = scale(self.d, self.scales[i / 4] >> (i / 2 % 2 * 4) & 15);
            let high = self.qh[i / 4] >> (i % 4 * 2) & 3;
            let entry = grids::IQ2_S[usize::from(self.qs[i]) | usize::from(high) << 8];
            *out = signed(scale, eight(entry, &VALUES), self.signs[i]);
        }
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }
}
