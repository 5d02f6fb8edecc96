//! What every block codec shares: a block is a little-endian `#[repr(C)]` struct that decodes and encodes `N`
//! elements; rows are blocks laid end to end. From a `Block` comes its line of the table.
//! Specification: ggml `ggml_quantize_chunk`, `quantize_q*`; the arithmetic rules are strict IEEE f32, sums in index
//! order, no fused multiply-add.

use super::{By, DType, Levels, Traits};
use crate::simd::{self, Blocks, Columns, LANES, Level};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A block of `N` elements as it lies in a file.
pub(super) trait Block<const N: usize>:
    Sized + FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned
{
    /// The largest magnitude of an element.
    const MOST: f32;

    /// Whether ggml encodes it without importance weights too.
    const PLAIN: bool = true;

    /// Whether importance matters, but there are kernels for what is within a block only, none of which is wider than
    /// 256 bits.
    const BY_BLOCK: bool = false;

    /// Whether importance weights are damped by the mean square of the whole row.
    const BY_ROW: bool = false;

    fn decode(&self, out: &mut [f32; N]);

    /// Without importance weights (`quantize_row_*_ref`).
    fn encode(x: &[f32; N]) -> Self;

    /// With importance weights (`quantize_row_*_impl`); formats that have no use for them ignore them.
    fn encode_weighted(x: &[f32; N], _importance: &Importance<N>) -> Self {
        Self::encode(x)
    }

    /// `encode` of many blocks, with the kernels of `simd`; formats that have none leave it to the compiler, unless there
    /// are kernels for what is within a block.
    fn encode_all(level: Level, x: &[[f32; N]], blocks: &mut [Self]) {
        if Self::BY_BLOCK {
            return simd::at(Some(simd::narrow(level)), || encode_each(x, blocks));
        }
        simd::vectorized(
            #[inline(always)]
            || encode_each(x, blocks),
        );
    }

    /// `encode_weighted` of the blocks of a row, with the kernels of `simd`; as `encode_all` where weights are ignored.
    fn encode_row(level: Level, x: &[[f32; N]], row: &Row<N>, blocks: &mut [Self]) {
        match Self::BY_BLOCK {
            true => simd::at(Some(simd::narrow(level)), || encode_each_weighted(x, row, blocks)),
            false => Self::encode_all(level, x, blocks),
        }
    }

    /// Whether the scales are finite.
    fn is_finite(&self) -> bool;

    /// Whether the scales leave nothing but zeros.
    fn is_empty(&self) -> bool;
}

/// How much each element of a block matters.
pub(super) struct Importance<'a, const N: usize> {
    /// One weight an element, none negative.
    pub weights: &'a [f32; N],
    /// The mean of the squares of the elements of the whole row; 0 unless the format is `BY_ROW`.
    pub row_mean_square: f32,
    /// The sum of the squares of the elements of the block; 0 unless the format is `BY_BLOCK`.
    pub squares: f32,
    pub levels: Levels,
}

impl<'a, const N: usize> Importance<'a, N> {
    /// Weights of a block alone, which say nothing of a row.
    pub fn equal(x: &[f32; N], weights: &'a [f32; N]) -> Self {
        Importance { weights, row_mean_square: 0.0, squares: sum_of_squares(x), levels: Levels::default() }
    }

    /// The weights that a scale search uses: an element matters by its importance and its magnitude, the latter
    /// damped by `sigma2`, a mean of squares.
    pub fn damped(&self, x: &[f32; N], sigma2: f32) -> [f32; N] {
        let mut damped = [0.0; N];
        match simd::level() {
            Some(level) => simd::damped(level, self.weights, x, sigma2, &mut damped),
            None => {
                for ((damped, w), x) in damped.iter_mut().zip(self.weights).zip(x) {
                    *damped = w * (sigma2 + x * x).sqrt();
                }
            }
        }
        damped
    }
}

/// How much each element of a row matters.
pub(super) struct Row<'a, const N: usize> {
    /// One array a block.
    pub weights: &'a [[f32; N]],
    /// 0 unless the format is `BY_ROW`.
    pub mean_square: f32,
    /// Of each block the sum of the squares of its elements; none unless the format is `BY_BLOCK`.
    pub squares: &'a [f32],
    pub levels: Levels,
}

impl<const N: usize> Row<'_, N> {
    /// That of one block.
    pub fn importance(&self, block: usize) -> Importance<'_, N> {
        let Row { weights, mean_square: row_mean_square, squares, levels } = *self;
        let squares = squares.get(block).copied().unwrap_or_default();
        Importance { weights: &weights[block], row_mean_square, squares, levels }
    }
}

impl Row<'_, 32> {
    /// Sixteen blocks, of which `first` is the first, side by side, and their damped weights.
    pub fn columns(&self, level: Level, first: usize, x: &[[f32; 32]]) -> (Columns<32>, Columns<32>) {
        let mut weights = [[0.0; 32]; LANES];
        let importance = self.weights[first..].as_flattened();
        simd::damped(level, importance, x.as_flattened(), self.mean_square, weights.as_flattened_mut());
        (
            simd::by_sub_block(level, x.as_flattened()),
            simd::by_sub_block(level, weights[..x.len()].as_flattened()),
        )
    }
}

/// The table's line of a block type.
pub(super) const fn traits<B: Block<N>, const N: usize>(dtype: DType, name: &'static str, id: u32) -> Traits {
    Traits {
        dtype,
        name,
        id: Some(id),
        block: N,
        bytes: size_of::<B>(),
        decode: Some(decode::<B, N>),
        encode: Some(encode::<B, N>),
        plain: B::PLAIN,
        finite: finite::<B, N>,
        empty: empty::<B, N>,
        most: B::MOST,
    }
}

fn decode<B: Block<N>, const N: usize>(src: &[u8], dst: &mut [f32]) {
    for (block, out) in blocks::<B>(src).iter().zip(dst.as_chunks_mut().0) {
        block.decode(out);
    }
}

fn encode<B: Block<N>, const N: usize>(src: &[f32], row: usize, by: By<'_>, dst: &mut [u8]) {
    debug_assert!(dst.len().is_multiple_of(size_of::<B>()));
    let blocks = <[B]>::mut_from_bytes(dst).unwrap_or_default();
    let level = simd::level();
    let Some(weights) = by.weights else {
        return match level {
            Some(level) => B::encode_all(level, src.as_chunks().0, blocks),
            None => encode_each(src.as_chunks().0, blocks),
        };
    };
    let per_row = (row / N).max(1);
    let sums = if B::BY_ROW { simd::sums_of_squares(src, row) } else { Vec::new() };
    let sums = sums.into_iter().chain(std::iter::repeat(0.0));
    let rows = src.chunks_exact(row.max(1)).zip(blocks.chunks_exact_mut(per_row));
    for ((x, blocks), sum) in rows.zip(sums) {
        let mean_square = sum / row as f32;
        let squares = if B::BY_BLOCK { simd::sums_of_squares(x, N) } else { Vec::new() };
        let row = Row { weights: weights.as_chunks().0, mean_square, squares: &squares, levels: by.levels };
        match level {
            Some(level) => B::encode_row(level, x.as_chunks().0, &row, blocks),
            None => encode_each_weighted(x.as_chunks().0, &row, blocks),
        }
    }
}

#[inline(always)]
fn encode_each<B: Block<N>, const N: usize>(x: &[[f32; N]], blocks: &mut [B]) {
    for (block, x) in blocks.iter_mut().zip(x) {
        *block = B::encode(x);
    }
}

fn encode_each_weighted<B: Block<N>, const N: usize>(x: &[[f32; N]], row: &Row<N>, blocks: &mut [B]) {
    for (i, (block, x)) in blocks.iter_mut().zip(x).enumerate() {
        *block = B::encode_weighted(x, &row.importance(i));
    }
}

/// Encodes blocks by groups of `G`: `kernel` is given the number of the first and their elements, `scalar` does those
/// that it left out.
pub(super) fn encode_groups<B, const N: usize, const G: usize>(
    x: &[[f32; N]],
    blocks: &mut [B],
    kernel: impl Fn(usize, &[[f32; N]]) -> [Option<B>; G],
    scalar: impl Fn(usize, &[f32; N]) -> B,
) {
    for (group, (x, blocks)) in x.chunks(G).zip(blocks.chunks_mut(G)).enumerate() {
        let found = kernel(group * G, x);
        for (i, ((block, x), found)) in blocks.iter_mut().zip(x).zip(found).enumerate() {
            *block = found.unwrap_or_else(|| scalar(group * G + i, x));
        }
    }
}

/// Encodes 32-blocks by sixteens: `make` is given the scale, the minimum and the codes that `kernel` found for each.
pub(super) fn encode_sixteens<B: Block<32>, C: Default>(
    x: &[[f32; 32]],
    blocks: &mut [B],
    kernel: impl Fn(&[[f32; 32]; LANES], &mut Blocks<C>),
    make: impl Fn(u16, u16, &C) -> B,
) {
    let mut found = Blocks::default();
    let mut rest = [[0.0; 32]; LANES];
    let (sixteens, left) = x.as_chunks();
    rest[..left.len()].copy_from_slice(left);
    for (x, blocks) in sixteens.iter().chain([&rest]).zip(blocks.chunks_mut(LANES)) {
        kernel(x, &mut found);
        let parts = found.scale.iter().zip(&found.min).zip(&found.codes);
        for (block, ((scale, min), codes)) in blocks.iter_mut().zip(parts) {
            *block = make(*scale, *min, codes);
        }
        if found.exact != u16::MAX {
            let inexact = blocks.iter_mut().zip(x).enumerate().filter(|(i, _)| found.exact >> i & 1 == 0);
            inexact.for_each(|(_, (block, x))| *block = B::encode(x));
        }
    }
}

fn finite<B: Block<N>, const N: usize>(src: &[u8]) -> bool {
    blocks::<B>(src).iter().all(B::is_finite)
}

fn empty<B: Block<N>, const N: usize>(src: &[u8]) -> bool {
    blocks::<B>(src).iter().any(B::is_empty)
}

/// `src` as blocks; none if it does not hold whole ones, which `DType::decode` and its kin refuse before.
pub(super) fn blocks<B: FromBytes + Immutable + KnownLayout + Unaligned>(src: &[u8]) -> &[B] {
    debug_assert!(src.len().is_multiple_of(size_of::<B>()));
    <[B]>::ref_from_bytes(src).unwrap_or_default()
}

/// The largest magnitude. Of numbers that are not negative the largest has the largest bits; a NaN counts as 0.
#[inline(always)]
pub(super) fn magnitude(x: &[f32]) -> f32 {
    let bits = |x: &f32| if x.is_nan() { 0 } else { x.abs().to_bits() };
    f32::from_bits(x.iter().fold(0, |most, x| most.max(bits(x))))
}

/// The sum in index order.
pub(super) fn sum(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |sum, x| sum + x)
}

/// The sum of squares in index order.
pub(super) fn sum_of_squares(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |sum, x| sum + x * x)
}

/// The element of largest magnitude, sign and all; the first of equals, 0 if there is none larger than 0.
pub(super) fn extreme(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |extreme: f32, x| if x.abs() > extreme.abs() { *x } else { extreme })
}

/// The largest value, 0 if none is larger.
pub(super) fn largest(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |largest, x| if *x > largest { *x } else { largest })
}

/// `1 / x`, but 0 for 0.
pub(super) fn inverse(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { 1.0 / x }
}

/// A C cast to an integer, as x86-64 does it: towards zero, and `i32::MIN` for what does not fit. Scales so small
/// that their inverse is infinite come here.
pub(super) fn truncate(x: f32) -> i32 {
    const END: f32 = 2147483648.0;
    if (-END..END).contains(&x) { x as i32 } else { i32::MIN }
}

/// A scale as f16 bits.
pub(super) fn half(x: f32) -> U16 {
    U16::new(super::float::f16_bits(x))
}

/// A scale from f16 bits.
pub(super) fn single(bits: U16) -> f32 {
    super::float::f32_of_f16(bits.get())
}

/// The largest scale.
pub(super) const MOST_HALF: f32 = 65504.0;

/// Whether f16 bits are a zero, of either sign.
pub(super) fn is_zero(bits: U16) -> bool {
    bits.get() & 0x7fff == 0
}

/// Whether f16 bits are neither infinite nor NaN.
pub(super) fn is_finite(bits: U16) -> bool {
    bits.get() & 0x7c00 != 0x7c00
}
