//! Weights that a dtype cannot hold: those that are too large for its scales, and blocks that would be stored as zeros,
//! because all their weights are too small or because nothing in them is said to matter. The encoders are ggml's, which
//! keep silent about both; `encoded` refuses the first and counts the second.

use super::block::magnitude;
use super::{By, DType, Search};
use crate::error::Result;
use crate::simd::vectorized;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Of plain floats rows, else blocks that hold weights and are stored as zeros. Counted while they are written, by many
/// threads.
#[derive(Debug, Default)]
pub struct Vanished {
    blocks: AtomicU64,
    /// The bits of the largest magnitude; of numbers that are not negative the largest has the largest bits.
    largest: AtomicU32,
    misplaced: AtomicU64,
}

impl Vanished {
    /// How many there are, and the largest magnitude in them; none if there are none.
    pub fn found(&self) -> Option<(u64, f32)> {
        let blocks = self.blocks.load(Ordering::Relaxed);
        (blocks > 0).then(|| (blocks, f32::from_bits(self.largest.load(Ordering::Relaxed))))
    }

    /// How many blocks hold weights that are stored in the wrong place, which ggml's encoder of IQ3_S does: what follows
    /// 32 zeros takes their place.
    pub fn misplaced(&self) -> u64 {
        self.misplaced.load(Ordering::Relaxed)
    }

    /// Counts those of `values`, encoded by the importance of their columns as `out`. What does not matter at all is told
    /// before (`DType::dead_columns`).
    pub(crate) fn count(
        &self,
        values: &[f32],
        row: usize,
        dtype: DType,
        weights: Option<&[f32]>,
        out: &[u8],
    ) {
        let traits = dtype.traits();
        if dtype == DType::IQ3S {
            let blocks = values.as_chunks().0.iter().filter(|block| misplaces(block)).count();
            self.misplaced.fetch_add(blocks as u64, Ordering::Relaxed);
        }
        let unit = if dtype.is_quantized() { traits.block } else { row };
        if unit == 0 || dtype.is_quantized() && !(traits.empty)(out) {
            return;
        }
        let parts = out.chunks_exact(unit / traits.block * traits.bytes).zip(values.chunks_exact(unit));
        for (i, (_, values)) in parts.enumerate().filter(|(_, (out, _))| (traits.empty)(out)) {
            let column = i * unit % row;
            let matters = weights.is_none_or(|w| w[column..column + unit].iter().any(|w| *w > 0.0));
            let largest = magnitude(values);
            if largest > 0.0 && matters {
                self.blocks.fetch_add(1, Ordering::Relaxed);
                self.largest.fetch_max(largest.to_bits(), Ordering::Relaxed);
            }
        }
    }
}

/// Whether something follows 32 zeros that the encoder of IQ3_S counts as one sub-block.
fn misplaces(block: &[f32; 256]) -> bool {
    let zeros = block.as_chunks::<32>().0.iter().map(|sub| sub.iter().all(|x| *x == 0.0));
    zeros.skip_while(|zero| !zero).any(|zero| !zero)
}

impl DType {
    /// Whether blocks of this dtype, encoded as `out`, can hold `values`.
    pub fn holds(self, values: &[f32], out: &[u8]) -> bool {
        self.too_large(values).is_none() && (self.traits().finite)(out)
    }

    /// Where the first of `values` lies that is larger than any element can be.
    pub(crate) fn too_large(self, values: &[f32]) -> Option<usize> {
        let most = self.traits().most;
        let larger = vectorized(
            #[inline(always)]
            || values.chunks(1024).any(|part| part.iter().fold(false, |any, x| any | (x.abs() > most))),
        );
        if larger { values.iter().position(|x| x.abs() > most) } else { None }
    }

    /// How many columns of a row would be stored as zeros, whatever their weights, because the importance of all that
    /// they share a scale with is 0, or next to it.
    ///
    /// # Errors
    /// The dtype has no encoder or decoder, or the columns do not fill its blocks.
    pub fn dead_columns(self, weights: &[f32], search: Search) -> Result<usize> {
        /// Weights as they are in most models; their signs alternate without a period of the blocks.
        const USUAL: f32 = 1.0 / 64.0;
        /// Nothing underflows above: products with the squares of usual weights are normal numbers.
        const SAFE: f32 = 1e-30;
        if weights.iter().all(|w| *w > SAFE) {
            return Ok(0);
        }
        let row: Vec<f32> = (0..weights.len()).map(|i| if i % 5 % 2 == 0 { USUAL } else { -USUAL }).collect();
        let mut bytes = vec![0; row.len() / self.block() * self.traits().bytes];
        let mut stored = vec![0.0; row.len()];
        let by = By { weights: Some(weights), search, ..By::default() };
        self.encode_by(&row, row.len(), by, &mut bytes)?;
        self.decode(&bytes, &mut stored)?;
        Ok(stored.iter().filter(|x| x.abs() < USUAL / 16.0).count())
    }
}
