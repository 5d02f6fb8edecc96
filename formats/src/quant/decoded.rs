//! What the codecs share whose codes are indices into a codebook (`grids.rs`), and what NVFP4 needs, which is read but
//! not written.
//! Specification: ggml `dequantize_row_iq*`.

use super::block::blocks;
use super::{DType, Traits};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// A block of `N` elements as it lies in a file.
pub(super) trait Decoded<const N: usize>: FromBytes + Immutable + KnownLayout + Unaligned {
    fn decode(&self, out: &mut [f32; N]);

    /// Whether the scales are finite.
    fn is_finite(&self) -> bool;
}

/// The table's line of a block type that is only decoded.
pub(super) const fn decoded<B: Decoded<N>, const N: usize>(
    dtype: DType,
    name: &'static str,
    id: u32,
) -> Traits {
    Traits {
        dtype,
        name,
        id: Some(id),
        block: N,
        bytes: size_of::<B>(),
        decode: Some(decode::<B, N>),
        encode: None,
        plain: true,
        finite: finite::<B, N>,
        empty: |_| false,
        most: f32::MAX,
    }
}

fn decode<B: Decoded<N>, const N: usize>(src: &[u8], dst: &mut [f32]) {
    for (block, out) in blocks::<B>(src).iter().zip(dst.as_chunks_mut().0) {
        block.decode(out);
    }
}

fn finite<B: Decoded<N>, const N: usize>(src: &[u8]) -> bool {
    blocks::<B>(src).iter().all(B::is_finite)
}

/// The eight elements of an entry with two bits each.
pub(super) fn eight(entry: u16, values: &[f32; 3]) -> [f32; 8] {
    // Only the codes 0 to 2 stand in the codebooks.
    std::array::from_fn(|i| values[usize::from(entry >> (2 * i) & 3).min(2)])
}

/// The eight elements of two entries with four bits each.
pub(super) fn twice_four(entries: [u16; 2], value: impl Fn(u16) -> f32) -> [f32; 8] {
    std::array::from_fn(|i| value(entries[i / 4] >> (i % 4 * 4) & 15))
}

/// `scale` times the values, negative where the bit in `signs` is set.
pub(super) fn signed(scale: f32, values: [f32; 8], signs: u8) -> [f32; 8] {
    std::array::from_fn(|i| scale * values[i] * if signs >> i & 1 == 0 { 1.0 } else { -1.0 })
}

/// Eight signs from the seven that are stored: an even number of them is negative.
pub(super) fn even_signs(seven: u32) -> u8 {
    let seven = seven as u8 & 127;
    seven | ((seven.count_ones() & 1) as u8) << 7
}
