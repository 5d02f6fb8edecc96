//! IQ2_XXS, IQ2_XS and IQ2_S: super-blocks of 256 elements, of which each 8 are an entry of a codebook with signs.
//! Specification: ggml `dequantize_row_iq2_xxs`, `dequantize_row_iq2_xs`, `dequantize_row_iq2_s`; how they are
//! encoded is in `lattice.rs`.

use super::block::{Block, Importance, MOST_HALF, half, is_finite, is_zero, single, sum_of_squares, traits};
use super::codebook;
use super::decoded::{eight, even_signs, signed};
use super::grids;
use super::lattice::{Again, Lattice};
use super::{DType, Traits};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const IQ2_XXS: Traits = traits::<BlockIQ2XXS, 256>(DType::IQ2XXS, "iq2_xxs", 16);
pub(super) const IQ2_XS: Traits = traits::<BlockIQ2XS, 256>(DType::IQ2XS, "iq2_xs", 17);
pub(super) const IQ2_S: Traits = traits::<BlockIQ2S, 256>(DType::IQ2S, "iq2_s", 22);

/// Code -> value of a codebook's elements.
const VALUES: [f32; 3] = [8.0, 25.0, 43.0];

/// The largest element of all three.
const MOST: f32 = 43.0 * 15.5 / 4.0 * MOST_HALF;

/// The scale of a code of 4 bits.
fn scale(d: U16, code: u8) -> f32 {
    single(d) * (0.5 + f32::from(code)) * 0.25
}

/// Sixteen codes of scales, two in a byte.
fn nibbles(codes: &[u8; 16]) -> [u8; 8] {
    std::array::from_fn(|i| codes[2 * i] | codes[2 * i + 1] << 4)
}

/// ```text
/// byte  0   2                                 66
///       d   groups
///
/// groups[i]  of elements 32 i to 32 i + 31: four indices of 8 bits, then four times seven signs and, topmost, the
///            scale of 4 bits
/// element  = d * (scale + 1/2) / 4 * value * sign
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ2XXS {
    d: U16,
    groups: [Group; 8],
}
const _: () = assert!(size_of::<BlockIQ2XXS>() == 66);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Group {
    indices: [u8; 4],
    signs_and_scale: U32,
}

impl Block<256> for BlockIQ2XXS {
    const MOST: f32 = MOST;
    const BY_BLOCK: bool = true;
    const PLAIN: bool = false;

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

    fn encode(x: &[f32; 256]) -> Self {
        Self::encode_weighted(x, &Importance::equal(x, &[1.0; 256]))
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        let lattice = Lattice {
            book: &codebook::IQ2_XXS,
            steps: 6,
            step: 0.1,
            again: Again::Always,
            least: 1e-15,
            fitted_first: true,
            even_signs: true,
        };
        let weights = importance.damped(x, importance.squares / 256.0);
        let found = lattice.search::<32>(x, &weights);
        if !found.any {
            return Self::new_zeroed();
        }
        let group = |i: usize| {
            let indices = std::array::from_fn(|k| found.entries[4 * i + k] as u8);
            let signs = (0..4).fold(0, |bits, k| bits | u32::from(found.signs[4 * i + k]) << (7 * k));
            Group { indices, signs_and_scale: U32::new(signs | u32::from(found.scales[i]) << 28) }
        };
        BlockIQ2XXS { d: half(found.d), groups: std::array::from_fn(group) }
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d)
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
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ2XS {
    d: U16,
    qs: [U16; 32],
    scales: [u8; 8],
}
const _: () = assert!(size_of::<BlockIQ2XS>() == 74);

impl Block<256> for BlockIQ2XS {
    const MOST: f32 = MOST;
    const BY_BLOCK: bool = true;
    const PLAIN: bool = false;

    fn decode(&self, out: &mut [f32; 256]) {
        for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let scale = scale(self.d, self.scales[i / 4] >> (i / 2 % 2 * 4) & 15);
            let bits = self.qs[i].get();
            let entry = grids::IQ2_XS[usize::from(bits & 511)];
            *out = signed(scale, eight(entry, &VALUES), even_signs(u32::from(bits >> 9)));
        }
    }

    fn encode(x: &[f32; 256]) -> Self {
        Self::encode_weighted(x, &Importance::equal(x, &[1.0; 256]))
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        let lattice = Lattice {
            book: &codebook::IQ2_XS,
            steps: 9,
            step: 0.1,
            again: Again::Missed,
            least: 1e-15,
            fitted_first: false,
            even_signs: true,
        };
        let weights = importance.damped(x, importance.squares / 256.0);
        let found = lattice.search::<16>(x, &weights);
        if !found.any {
            return Self::new_zeroed();
        }
        let qs = |i: usize| U16::new(found.entries[i] | u16::from(found.signs[i]) << 9);
        BlockIQ2XS { d: half(found.d), qs: std::array::from_fn(qs), scales: nibbles(&found.scales) }
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d)
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
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ2S {
    d: U16,
    qs: [u8; 32],
    signs: [u8; 32],
    qh: [u8; 8],
    scales: [u8; 8],
}
const _: () = assert!(size_of::<BlockIQ2S>() == 82);

impl BlockIQ2S {
    fn by_weights(x: &[f32; 256], weights: &[f32; 256]) -> Self {
        let lattice = Lattice {
            book: &codebook::IQ2_S,
            steps: 9,
            step: 0.1,
            again: Again::Missed,
            least: 1e-8,
            fitted_first: false,
            even_signs: false,
        };
        let found = lattice.search::<16>(x, weights);
        let high =
            |i: usize| (0..4).fold(0, |bits, k| bits | (found.entries[4 * i + k] >> 8) << (2 * k)) as u8;
        BlockIQ2S {
            // A factor that ggml found to better the result.
            d: half(found.d * 0.9875),
            qs: std::array::from_fn(|i| found.entries[i] as u8),
            signs: found.signs,
            qh: std::array::from_fn(high),
            scales: nibbles(&found.scales),
        }
    }
}

impl Block<256> for BlockIQ2S {
    const MOST: f32 = MOST;
    const BY_BLOCK: bool = true;

    fn decode(&self, out: &mut [f32; 256]) {
        for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let scale = scale(self.d, self.scales[i / 4] >> (i / 2 % 2 * 4) & 15);
            let high = self.qh[i / 4] >> (i % 4 * 2) & 3;
            let entry = grids::IQ2_S[usize::from(self.qs[i]) | usize::from(high) << 8];
            *out = signed(scale, eight(entry, &VALUES), self.signs[i]);
        }
    }

    fn encode(x: &[f32; 256]) -> Self {
        let sigma2 = 2.0 * sum_of_squares(x) / 256.0;
        Self::by_weights(x, &x.map(|x| 0.25 * sigma2 + x * x))
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        Self::by_weights(x, &importance.damped(x, 2.0 * importance.squares / 256.0))
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d)
    }
}
