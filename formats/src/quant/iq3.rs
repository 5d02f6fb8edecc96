//! IQ3_XXS and IQ3_S: super-blocks of 256 elements, of which each 4 are an entry of a codebook with signs.
//! Specification: ggml `dequantize_row_iq3_xxs`, `dequantize_row_iq3_s`; how they are encoded is in `lattice.rs`.

use super::block::{Block, Importance, MOST_HALF, half, is_finite, is_zero, single, traits};
use super::codebook;
use super::decoded::{even_signs, signed, twice_four};
use super::grids;
use super::lattice::{Again, Lattice};
use super::{DType, Traits};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const IQ3_XXS: Traits = traits::<BlockIQ3XXS, 256>(DType::IQ3XXS, "iq3_xxs", 18);
pub(super) const IQ3_S: Traits = traits::<BlockIQ3S, 256>(DType::IQ3S, "iq3_s", 21);

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
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ3XXS {
    d: U16,
    qs: [[u8; 2]; 32],
    signs_and_scale: [U32; 8],
}
const _: () = assert!(size_of::<BlockIQ3XXS>() == 98);

impl BlockIQ3XXS {
    fn by_weights(x: &[f32; 256], weights: &[f32; 256]) -> Self {
        let lattice = Lattice {
            book: &codebook::IQ3_XXS,
            steps: 15,
            step: 0.2,
            again: Again::Missed,
            least: 1e-8,
            fitted_first: false,
            even_signs: true,
        };
        let found = lattice.search::<32>(x, weights);
        if !found.any {
            return Self::new_zeroed();
        }
        let signs_and_scale = |i: usize| {
            let signs = (0..4).fold(0, |bits, k| bits | u32::from(found.signs[4 * i + k]) << (7 * k));
            U32::new(signs | u32::from(found.scales[i]) << 28)
        };
        BlockIQ3XXS {
            // A factor that ggml found to better the result.
            d: half(found.d * 1.0125),
            qs: std::array::from_fn(|i| [found.entries[2 * i], found.entries[2 * i + 1]].map(|q| q as u8)),
            signs_and_scale: std::array::from_fn(signs_and_scale),
        }
    }
}

impl Block<256> for BlockIQ3XXS {
    const MOST: f32 = 62.0 * 15.5 / 2.0 * MOST_HALF;
    const BY_BLOCK: bool = true;

    fn decode(&self, out: &mut [f32; 256]) {
        for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let bits = self.signs_and_scale[i / 4].get();
            let scale = single(self.d) * (0.5 + (bits >> 28) as f32) * 0.5;
            let entries = self.qs[i].map(|q| grids::IQ3_XXS[usize::from(q)]);
            let values = twice_four(entries, |code| VALUES[usize::from(code & 7)]);
            *out = signed(scale, values, even_signs(bits >> (i % 4 * 7)));
        }
    }

    fn encode(x: &[f32; 256]) -> Self {
        Self::by_weights(x, &x.map(|x| x * x))
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
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ3S {
    d: U16,
    qs: [[u8; 2]; 32],
    qh: [u8; 8],
    signs: [u8; 32],
    scales: [u8; 4],
}
const _: () = assert!(size_of::<BlockIQ3S>() == 110);

impl BlockIQ3S {
    fn by_weights(x: &[f32; 256], weights: &[f32; 256]) -> Self {
        let lattice = Lattice {
            book: &codebook::IQ3_S,
            steps: 9,
            step: 0.2,
            again: Again::IfMissed,
            least: 0.0,
            fitted_first: false,
            even_signs: false,
        };
        let found = lattice.search::<32>(x, weights);
        let qh = |i: usize| (0..8).fold(0, |bits, k| bits | (found.entries[8 * i + k] >> 8) << k) as u8;
        let mut block = BlockIQ3S {
            // A factor that ggml found to better the result.
            d: half(found.d * 1.033),
            qs: [[0; 2]; 32],
            qh: std::array::from_fn(qh),
            signs: [0; 32],
            scales: std::array::from_fn(|i| found.scales[2 * i] | found.scales[2 * i + 1] << 4),
        };
        // What follows 32 zeros moves up to their place, as in ggml, but not its ninth bits and its scale.
        let kept = (0..8).filter(|i| found.zeros >> i & 1 == 0);
        for (place, i) in kept.enumerate() {
            let qs = block.qs.as_flattened_mut()[8 * place..][..8].iter_mut();
            qs.zip(&found.entries[8 * i..]).for_each(|(q, entry)| *q = *entry as u8);
            block.signs[4 * place..][..4].copy_from_slice(&found.signs[4 * i..][..4]);
        }
        block
    }
}

impl Block<256> for BlockIQ3S {
    const MOST: f32 = 15.0 * 31.0 * MOST_HALF;
    const BY_BLOCK: bool = true;

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

    fn encode(x: &[f32; 256]) -> Self {
        Self::by_weights(x, &x.map(|x| x * x))
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
