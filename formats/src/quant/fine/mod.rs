//! The fine search: blocks of the same formats as ggml's encoders make, with a lower weighted squared error. From what they
//! made it goes on: codes by scales, scales by codes (alternating least squares), scales as they can be stored. A block that does
//! not become better stays. Sources: the k-means of Lloyd (IEEE Trans. Inf. Theory 28, 1982), of which each half lowers the error.

mod affine;
mod legacy;
mod super_blocks;
mod symmetric;

use super::block::{Block, inverse, sum, sum_of_squares};
use super::float::f16_bits;
use super::{By, DType};
use crate::simd;
use zerocopy::FromBytes;

/// How blocks are searched for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Search {
    /// As ggml does it, byte for byte.
    #[default]
    Exact,
    /// On from there, to a lower error.
    Fine,
}

/// A block that can be searched for finely.
trait Fine<const N: usize>: Block<N> + Copy {
    /// A block that may fit `x` better by these weights.
    fn refined(&self, x: &[f32; N], weights: &[f32; N]) -> Self;
}

/// The most rounds of least squares over a whole block.
const ROUNDS: usize = 4;

/// Sums run in so many lanes, whatever the instructions.
const LANES: usize = 16;

/// Betters whole rows of `row` elements that are encoded already.
type Refine = fn(src: &[f32], row: usize, by: By<'_>, dst: &mut [u8]);

impl DType {
    /// How blocks of this dtype are searched for finely; none if there is no such search. Q3_K has none with importance: little
    /// was left to lower there, and files lost no less for it (`docs/quality.md`).
    fn fine(self, is_weighted: bool) -> Option<Refine> {
        match self {
            DType::Q3K if is_weighted => None,
            _ => super_blocks::of(self).or_else(|| legacy::of(self)),
        }
    }

    /// Whether there is a fine search for blocks of this dtype, with importance or without it.
    pub fn has_fine_search(self, is_weighted: bool) -> bool {
        self.fine(is_weighted).is_some()
    }

    /// Betters what is encoded if that is asked for.
    pub(super) fn refine(self, src: &[f32], row: usize, by: By<'_>, dst: &mut [u8]) {
        if by.search == Search::Fine
            && let Some(refine) = self.fine(by.weights.is_some())
        {
            refine(src, row, by, dst);
        }
    }
}

/// A `Refine` of a block.
fn refine<B: Fine<N>, const N: usize>(src: &[f32], row: usize, by: By<'_>, dst: &mut [u8]) {
    let blocks = <[B]>::mut_from_bytes(dst).unwrap_or_default();
    let per_row = (row / N).max(1);
    for (i, (x, block)) in src.as_chunks::<N>().0.iter().zip(blocks).enumerate() {
        let column = i % per_row * N;
        let said = by.weights.and_then(|w| <&[f32; N]>::try_from(w.get(column..column + N)?).ok());
        let weights = weights(x, said);
        let found = simd::vectorized(
            #[inline(always)]
            || block.refined(x, &weights),
        );
        let [before, after] = [&*block, &found].map(|block| errors(block, x, said, &weights));
        if after.0 <= before.0 && after.1 < before.1 && found.is_finite() {
            *block = found;
        }
    }
}

/// The weights of the search. With importance that, and a little of it for what is said not to matter at all, times the
/// magnitude of the element, damped by that of the block, as in ggml's encoders; without importance all are equal. Both were chosen by
/// the divergence that they leave (`docs/quality.md`).
fn weights<const N: usize>(x: &[f32; N], said: Option<&[f32; N]>) -> [f32; N] {
    const LITTLE: f32 = 1e-4;
    let Some(said) = said else { return [1.0; N] };
    let least = LITTLE * sum(said) / N as f32;
    let least = if least > 0.0 { least } else { 1.0 };
    let mean_square = 2.0 * sum_of_squares(x) / N as f32;
    std::array::from_fn(|i| (said[i] + least) * (mean_square + x[i] * x[i]).sqrt())
}

/// The squared error of a block by the importance of its elements, and by the weights of the search.
fn errors<B: Block<N>, const N: usize>(
    block: &B,
    x: &[f32; N],
    said: Option<&[f32; N]>,
    weights: &[f32; N],
) -> (f64, f64) {
    let mut decoded = [0.0; N];
    block.decode(&mut decoded);
    let (mut important, mut all) = (0.0, 0.0);
    for i in 0..N {
        let e = f64::from(x[i]) - f64::from(decoded[i]);
        important += f64::from(said.map_or(1.0, |w| w[i])) * e * e;
        all += f64::from(weights[i]) * e * e;
    }
    (important, all)
}

/// `x` as a whole number within bounds; halves go to the even one, what is no number to the lower bound.
#[inline(always)]
fn whole(x: f32, low: f32, high: f32) -> f32 {
    const MAGIC: f32 = 12582912.0;
    let x = if x > low { x } else { low };
    let x = if x < high { x } else { high };
    (x + MAGIC) - MAGIC
}

/// The lanes of a sub-block.
#[inline(always)]
fn lanes<const S: usize>(x: &[f32; S]) -> &[[f32; LANES]] {
    x.as_chunks().0
}

/// The sum of all lanes.
#[inline(always)]
fn total(lanes: &[f32; LANES]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// The nearest f16 and its neighbours, the larger and the smaller in magnitude.
#[inline(always)]
fn half_near(x: f32) -> [u16; 3] {
    let bits = f16_bits(x);
    let up = if bits & 0x7fff < 0x7bff { bits + 1 } else { bits };
    let down = if bits & 0x7fff > 0 { bits - 1 } else { bits };
    [bits, up, down]
}
