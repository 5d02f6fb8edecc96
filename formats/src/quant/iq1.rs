//! IQ1_S and IQ1_M: super-blocks of 256 elements, of which each 8 are an entry of a codebook, all shifted up or down
//! by an eighth.
//! Specification: ggml `dequantize_row_iq1_s`, `dequantize_row_iq1_m`, `quantize_row_iq1_s_impl`,
//! `quantize_row_iq1_m_impl`.

use super::block::{Block, Importance, MOST_HALF, half, is_finite, is_zero, single, traits};
use super::decoded::eight;
use super::grids;
use super::lattice::code;
use super::split::{self, Ternary};
use super::{DType, Traits};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const IQ1_S: Traits = traits::<BlockIQ1S, 256>(DType::IQ1S, "iq1_s", 19);
pub(super) const IQ1_M: Traits = traits::<BlockIQ1M, 256>(DType::IQ1M, "iq1_m", 29);

/// The largest element of both.
const MOST: f32 = 1.125 * 15.0 * MOST_HALF;

/// The eight elements of an entry.
fn elements(scale: f32, index: usize, down: bool) -> [f32; 8] {
    let shift = if down { -0.125 } else { 0.125 };
    eight(grids::IQ1[index], &[-1.0, 0.0, 1.0]).map(|value| scale * (value + shift))
}

/// The largest scale of the sub-blocks.
fn most<const G: usize>(found: &[Ternary<G>]) -> f32 {
    found.iter().fold(0.0, |most: f32, f| if f.scale > most { f.scale } else { most })
}

/// The common scale that fits all elements best, by their weights.
fn regress(
    x: &[[f32; 16]],
    weights: &[[f32; 16]],
    found: &[Ternary<2>; 16],
    codes: &[u8; 16],
) -> Option<f32> {
    let (mut sumqx, mut sumq2) = (0.0, 0.0);
    for (i, (x, weights)) in x.iter().zip(weights).enumerate() {
        let values = [found[i].values(0), found[i].values(1)];
        for ((x, w), value) in x.iter().zip(weights).zip(values.as_flattened()) {
            let q = value * f32::from(2 * codes[i] + 1);
            sumqx += w * q * x;
            sumq2 += w * q * q;
        }
    }
    (sumq2 > 0.0).then(|| sumqx / sumq2)
}

/// ```text
/// byte  0   2                34               50
///       d   qs               qh
///
/// qs[i]      of elements 8 i to 8 i + 7: the low 8 bits of their index
/// qh[i]      of elements 32 i to 32 i + 31: the upper three bits of each index, a scale of three bits, and
///            whether they are shifted down
/// element  = d * (2 * scale + 1) * (value + shift)
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ1S {
    d: U16,
    qs: [u8; 32],
    qh: [U16; 8],
}
const _: () = assert!(size_of::<BlockIQ1S>() == 50);

impl Block<256> for BlockIQ1S {
    const MOST: f32 = MOST;
    const BY_BLOCK: bool = true;
    const PLAIN: bool = false;

    fn decode(&self, out: &mut [f32; 256]) {
        for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let bits = self.qh[i / 4].get();
            let scale = single(self.d) * f32::from(2 * (bits >> 12 & 7) + 1);
            let high = usize::from(bits >> (i % 4 * 3) & 7);
            *out = elements(scale, usize::from(self.qs[i]) | high << 8, bits >> 15 == 1);
        }
    }

    fn encode(x: &[f32; 256]) -> Self {
        Self::encode_weighted(x, &Importance::equal(x, &[1.0; 256]))
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        let weights = importance.damped(x, 2.0 * importance.squares / 256.0);
        let (x, weights) = (x.as_chunks().0, weights.as_chunks().0);
        let found = split::in_step(x, weights);
        let most = most(&found);
        let d = most / 15.0;
        let scale = |i: usize| {
            let code = code(1.0 / d, found[i].scale, 7) | u8::from(found[i].down[0]) << 3;
            if most > 0.0 { u16::from(code) << 12 } else { 0 }
        };
        let high = |i: usize| (0..4).fold(0, |bits, k| bits | (found[i].entries[k] >> 8) << (3 * k));
        BlockIQ1S {
            // A factor that ggml found to better the result.
            d: half(d * 1.125),
            qs: std::array::from_fn(|i| found[i / 4].entries[i % 4] as u8),
            qh: std::array::from_fn(|i| U16::new(high(i) | scale(i))),
        }
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d)
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d)
    }
}

/// ```text
/// byte  0                32         48      56
///       qs               qh         scales
///
/// qs[i]      of elements 8 i to 8 i + 7: the low 8 bits of their index
/// qh         nibble i, from the low end: the upper three bits of it, and whether they are shifted down
/// scales[i]  of elements 64 i to 64 i + 63: four scales of three bits, one for each 16, and a nibble of d, which
///            is lowest in scales[0]
/// element  = d * (2 * scale + 1) * (value + shift)
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ1M {
    qs: [u8; 32],
    qh: [u8; 16],
    scales: [U16; 4],
}
const _: () = assert!(size_of::<BlockIQ1M>() == 56);

impl BlockIQ1M {
    fn d(&self) -> U16 {
        U16::new((0..4).fold(0, |d, i| d | self.scales[i].get() >> 12 << (4 * i)))
    }

    fn by_weights(x: &[f32; 256], weights: &[f32; 256]) -> Self {
        let (x, weights) = (x.as_chunks().0, weights.as_chunks().0);
        let found = split::by_halves(x, weights);
        let high = |i: usize| found[i].entries[0] >> 8 | found[i].entries[1] >> 8 << 4;
        let mut block = BlockIQ1M {
            qs: std::array::from_fn(|i| found[i / 2].entries[i % 2] as u8),
            qh: std::array::from_fn(|i| high(i) as u8),
            scales: [U16::ZERO; 4],
        };
        let most = most(&found);
        if most == 0.0 {
            return block;
        }
        let codes = found.map(|f| code(1.0 / (most / 15.0), f.scale, 7));
        // A factor that ggml found to better the result.
        let d = half(regress(x, weights, &found, &codes).unwrap_or(most / 15.0) * 1.1125).get();
        for (i, scales) in block.scales.iter_mut().enumerate() {
            let codes = (0..4).fold(0, |bits, k| bits | u16::from(codes[4 * i + k]) << (3 * k));
            *scales = U16::new(codes | (d >> (4 * i)) << 12);
        }
        for (qh, found) in block.qh.iter_mut().zip(&found) {
            *qh |= u8::from(found.down[0]) << 3 | u8::from(found.down[1]) << 7;
        }
        block
    }
}

impl Block<256> for BlockIQ1M {
    const MOST: f32 = MOST;
    const BY_BLOCK: bool = true;

    fn decode(&self, out: &mut [f32; 256]) {
        let d = single(self.d());
        for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let code = self.scales[i / 8].get() >> (i / 2 % 4 * 3) & 7;
            let high = self.qh[i / 2] >> (i % 2 * 4) & 15;
            let index = usize::from(self.qs[i]) | usize::from(high & 7) << 8;
            *out = elements(d * f32::from(2 * code + 1), index, high >> 3 == 1);
        }
    }

    fn encode(x: &[f32; 256]) -> Self {
        Self::by_weights(x, &x.map(|x| x * x))
    }

    fn encode_weighted(x: &[f32; 256], importance: &Importance<256>) -> Self {
        Self::by_weights(x, &importance.damped(x, 2.0 * importance.squares / 256.0))
    }

    fn is_empty(&self) -> bool {
        is_zero(self.d())
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d())
    }
}
