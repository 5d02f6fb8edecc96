//! The kernels of the block codecs: the searches and roundings of `quant`, sixteen sub-blocks at a time. A lane is a
//! sub-block and does what the scalar code does, in its order, so that every byte stays the same; where a lane meets
//! numbers for which that is not certain it says so, and the scalar code decides.
//! The instructions are chosen at run time, from the CPU. Serves `quant`; knows plain arrays only.
//! Rules: no fused multiply-add, no sums across lanes, no `min` or `max` where NaN or the sign of zero matters; each
//! function of vectors is inlined always and none is a closure, or the compiler forgets the instruction set.

pub use fearless_simd::Level;
use fearless_simd::{Simd, dispatch};
use std::cell::Cell;

mod affine;
mod blocks;
mod codebook;
mod float;
mod fp4;
mod lattice;
mod layout;
#[cfg(target_arch = "x86_64")]
mod near;
mod positive;
mod rough;
mod running;
mod split;
mod symmetric;
mod table;
mod ternary;

pub(crate) use affine::{AffineLanes, Candidates, Loss, affine_codes, qkx};
pub(crate) use blocks::{Blocks, affine_blocks, rounded_blocks, symmetric_blocks};
pub(crate) use codebook::{Grid, nearest_of, nearest_of_each};
pub(crate) use float::{to_bf16, to_f16};
pub(crate) use fp4::{mxfp4_blocks, nvfp4_blocks};
pub(crate) use lattice::{Trials, try_scales};
pub(crate) use layout::{by_sub_block, damped, magnitudes, rooted, roots, squares, sums, sums_of_squares};
#[cfg(test)]
#[cfg(target_arch = "x86_64")]
pub(crate) use near::NEAR;
pub(crate) use positive::{SuperBlocks, candidate, qp};
pub(crate) use running::{Running, SHIFTED};
pub(crate) use split::{Best, split_by_halves, split_in_step};
pub(crate) use symmetric::{SymmetricLanes, fit_codes, q3, qx, symmetric_codes};
pub(crate) use table::{VALUES, table_codes, table_scales};
pub(crate) use ternary::{crumbs, digits, pairs};

/// Sub-blocks that are worked on at once: one AVX-512 register, two of AVX2, four of SSE or NEON.
pub(crate) const LANES: usize = 16;

/// One number of each of the sub-blocks.
pub(crate) type Lanes = [f32; LANES];

/// The elements of the sub-blocks: the first of each, the second of each, and so on.
pub(crate) type Columns<const N: usize> = [Lanes; N];

/// Below this magnitude a block counts as zero (`GROUP_MAX_EPS`).
pub(crate) const EPS: f32 = 1e-15;

/// Below this magnitude rounding by the addition of 1.5 * 2^23, as the scalar code rounds, is rounding to the
/// nearest integer.
const ROUNDS: f32 = 4194303.0;

thread_local! {
    static FORCED: Cell<Option<Option<Level>>> = const { Cell::new(None) };
}

/// The instructions to encode with: the best that the CPU has, unless `at` says otherwise; `None` is the scalar code.
pub(crate) fn level() -> Option<Level> {
    FORCED.get().unwrap_or_else(|| Some(Level::new()))
}

/// The level without AVX-512, whose instructions on 512 bits slow down what runs beside them on 256.
pub(crate) fn narrow(level: Level) -> Level {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = level.as_avx2() {
        return Level::Avx2(avx2);
    }
    level
}

/// Runs `call` with the codecs of this thread bound to a level, or to the scalar code; the bytes are the same.
pub fn at<T>(level: Option<Level>, call: impl FnOnce() -> T) -> T {
    let before = FORCED.replace(Some(level));
    let result = call();
    FORCED.set(before);
    result
}

/// Runs `work`, plain loops over slices, compiled for the instructions to compute with. They must be in the closure
/// itself, or in functions that are inlined always. The compiler fuses and reorders no float operation, so the
/// results are the same.
pub fn vectorized<T>(work: impl FnOnce() -> T) -> T {
    match level() {
        None => work(),
        Some(level) => dispatch!(level, simd => simd.vectorize(work)),
    }
}

/// The levels that this CPU has, the scalar code first.
pub fn levels() -> Vec<Option<Level>> {
    let best = Level::new();
    #[cfg(target_arch = "x86_64")]
    let lower = [
        best.as_sse2().map(Level::Sse2),
        best.as_sse4_2().map(Level::Sse4_2),
        best.as_avx2().map(Level::Avx2),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let lower: [Option<Level>; 0] = [];
    let lower = lower.into_iter().flatten().filter(|level| format!("{level:?}") != format!("{best:?}"));
    [None].into_iter().chain(lower.map(Some)).chain([Some(best)]).collect()
}
