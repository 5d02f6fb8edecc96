//! IQ1_S and IQ1_M: super-blocks of 256 elements, of which each 8 are an entry of a codebook, all shifted up or down
//! by an eighth.
//! Specification: ggml `dequantize_row_iq1_s`, `dequantize_row_iq1_m`.

use super::block::{is_finite, single};
use super::decoded::{Decoded, decoded, eight};
use super::grids;
use super::{DType, Traits};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

pub(super) const IQ1_S: Traits = decoded::<BlockIQ1S, 256>(DType::IQ1S, "iq1_s", 19);
pub(super) const IQ1_M: Traits = decoded::<BlockIQ1M, 256>(DType::IQ1M, "iq1_m", 29);

/// The eight elements of an entry.
fn elements(scale: f32, index: usize, down: bool) -> [f32; 8] {
    let shift = if down { -0.125 } else { 0.125 };
    eight(grids::IQ1[index], &[-1.0, 0.0, 1.0]).map(|value| scale * (value + shift))
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
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockIQ1S {
    d: U16,
    qs: [u8; 32],
    qh: [U16; 8],
}
const _: () = assert!(size_of::<BlockIQ1S>() == 50);

impl Decoded<256> for BlockIQ1S {
    fn decode(&self, out: &mut [f32; 256]) {
        for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let bits = self.qh[i / 4].get();
            let scale = single(self.d) * f32::from(2 * (bits >> 12 & 7) + 1);
            let high = usize::from(bits >> (i % 4 * 3) & 7);
            *out = elements(scale, usize::from(self.qs[i]) | high << 8, bits >> 15 == 1);
        }
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
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
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
}

impl Decoded<256> for BlockIQ1M {
    fn decode(&self, out: &mut [f32; 256]) {
        let d = single(self.d());
        for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let code = self.scales[i / 8].get() >> (i / 2 % 4 * 3) & 7;
            let high = self.qh[i / 2] >> (i % 2 * 4) & 15;
            let index = usize::from(self.qs[i]) | usize::from(high & 7) << 8;
            *out = elements(d * f32::from(2 * code + 1), index, high >> 3 == 1);
        }
    }

    fn is_finite(&self) -> bool {
        is_finite(self.d())
    }
}
