//! The searches of IQ2 and IQ3: signs and magnitudes apart, and for each sub-block the scale at which the nearest
//! entries of the codebook reconstruct it best. Serves `iq2.rs` and `iq3.rs`, which lay the results out.
//! Specification: ggml `quantize_row_iq2_xxs_impl`, `quantize_row_iq2_xs_impl`, `quantize_row_iq2_s_impl`,
//! `quantize_row_iq3_xxs_impl`, `quantize_row_iq3_s_impl`.

use super::codebook::{Codebook, odd_values};
use super::search::{make_qp_quants, nearest_int};
use crate::simd::{self, Level, Trials};

/// How a dtype searches.
pub(super) struct Lattice<const G: usize> {
    pub book: &'static Codebook<G>,
    /// Candidates on each side of the scale that takes the largest magnitude to the largest value, and how far one is
    /// from the next.
    pub steps: u8,
    pub step: f32,
    /// Which groups are looked up again at the scale that was found.
    pub again: Again,
    /// A sub-block none of whose magnitudes reaches this counts as zero.
    pub least: f32,
    /// The span of the candidates is not the largest magnitude but three times the scale of a first search.
    pub fitted_first: bool,
    /// Whether seven signs of eight are stored and the eighth follows from them.
    pub even_signs: bool,
}

/// Which groups of a sub-block are looked up again.
#[derive(PartialEq)]
pub(super) enum Again {
    /// All of them.
    Always,
    /// All of them if one was no entry.
    IfMissed,
    /// Those that were no entries.
    Missed,
}

/// What was found for a super-block.
pub(super) struct Found {
    /// The scale that the codes of the scales are multiples of.
    pub d: f32,
    /// For each sub-block.
    pub scales: [u8; 16],
    /// For each group.
    pub entries: [u16; 64],
    /// For each eight elements.
    pub signs: [u8; 32],
    /// Whether any scale is above 0.
    pub any: bool,
    /// Bit `i` tells that sub-block `i` counts as zero.
    pub zeros: u16,
}

/// What was found for a sub-block: its scale, and for each group an entry.
struct Fit {
    scale: f32,
    entries: [u16; 8],
}

impl<const G: usize> Lattice<G> {
    /// The best scales and entries for sub-blocks of `N` elements.
    pub fn search<const N: usize>(&self, x: &[f32; 256], weights: &[f32; 256]) -> Found {
        let level = simd::level();
        let mut found =
            Found { d: 0.0, scales: [0; 16], entries: [0; 64], signs: [0; 32], any: false, zeros: 0 };
        let mut scales = [0.0; 16];
        let mut trials = Trials::new();
        let roots = simd::roots(weights);
        let weights = weights.as_chunks::<N>().0.iter().zip(roots.as_chunks::<N>().0);
        for (i, (x, (weights, roots))) in x.as_chunks::<N>().0.iter().zip(weights).enumerate() {
            let (magnitudes, mut signs) = self.signs(x, weights);
            let Some(fit) = self.fit(level, &magnitudes, weights, roots, &mut trials) else {
                found.zeros |= 1 << i;
                continue;
            };
            if fit.scale < 0.0 {
                signs = signs.map(|s| !s);
            }
            scales[i] = fit.scale.abs();
            found.entries[N / G * i..][..N / G].copy_from_slice(&fit.entries[..N / G]);
            found.signs[N / 8 * i..][..N / 8].copy_from_slice(&signs[..N / 8]);
        }
        if self.even_signs {
            found.signs = found.signs.map(|s| s & 127);
        }
        found.d =
            scales.iter().fold(0.0, |most: f32, scale| if *scale > most { *scale } else { most }) / 31.0;
        found.any = scales.iter().any(|scale| *scale > 0.0);
        if found.any {
            let inverse = 1.0 / found.d;
            found.scales = scales.map(|scale| code(inverse, scale, 15));
        }
        found
    }

    /// The magnitudes and the signs. Where their number must be even, that of the element which loses least by it is
    /// turned, and so its magnitude becomes negative.
    fn signs<const N: usize>(&self, x: &[f32; N], weights: &[f32; N]) -> ([f32; N], [u8; 4]) {
        let mut magnitudes = *x;
        let mut signs = [0u8; 4];
        let eights = magnitudes.as_chunks_mut::<8>().0.iter_mut().zip(weights.as_chunks::<8>().0);
        for ((x, weights), signs) in eights.zip(&mut signs) {
            let turn = if self.even_signs { of_least_loss(x, weights) } else { 0 };
            for (i, x) in x.iter_mut().enumerate() {
                // Without a branch, which half of them would go. -0.0 is not negative.
                let negative = *x < 0.0;
                *x = f32::from_bits(x.to_bits() ^ u32::from(negative) << 31);
                *signs |= u8::from(negative) << i;
            }
            if self.even_signs && signs.count_ones() % 2 == 1 {
                x[turn] = -x[turn];
                *signs ^= 1 << turn;
            }
        }
        (magnitudes, signs)
    }

    /// The best scale of a sub-block and its entries; `None` if it counts as zero.
    fn fit<const N: usize>(
        &self,
        level: Option<Level>,
        x: &[f32; N],
        weights: &[f32; N],
        roots: &[f32; N],
        trials: &mut Trials,
    ) -> Option<Fit> {
        let max = largest(x);
        if max < self.least || max == 0.0 {
            return None;
        }
        let top = f32::from(2 * Codebook::<G>::MOST + 1);
        let (span, start) = match self.fitted_first {
            true => {
                let scale = make_qp_quants(Codebook::<G>::MOST + 2, x, weights).scale;
                (scale * f32::from(Codebook::<G>::MOST + 1), scale)
            }
            false => (max, max / top),
        };
        if span <= 0.0 {
            return None;
        }
        let count = 2 * self.steps + 1;
        trials.start(count, |i| (top + (i - f32::from(self.steps)) * self.step) / span);
        self.attempt(level, x, weights, roots, trials);
        let mut fit = Fit { scale: start, entries: [0; 8] };
        let (mut best, mut chosen) = (0.0, None);
        for (trial, (sumqx, sumq2)) in trials.sumqx.iter().zip(&trials.sumq2).take(trials.count).enumerate() {
            if *sumq2 > 0.0 && sumqx * sumqx > best * sumq2 {
                fit.scale = sumqx / sumq2;
                best = fit.scale * sumqx;
                chosen = Some(trial);
            }
        }
        let mut missed = if self.again == Again::Missed { 0 } else { u8::MAX };
        if let Some(trial) = chosen {
            missed = 0;
            for k in 0..N / G {
                let word = trials.chosen[k][trial];
                fit.entries[k] = self.book.entry_of(word as u16);
                missed |= u8::from(trials.own[k][trial] != word) << k;
            }
        }
        let again = match self.again {
            Again::Always => u8::MAX,
            Again::IfMissed if missed > 0 => u8::MAX,
            Again::IfMissed | Again::Missed => missed,
        };
        if again > 0 && fit.scale > 0.0 {
            self.refine(level, x, weights, roots, again, &mut fit);
        }
        Some(fit)
    }

    /// Looks the groups in `again` up at the scale that was found, and fits it to what that gives.
    fn refine<const N: usize>(
        &self,
        level: Option<Level>,
        x: &[f32; N],
        weights: &[f32; N],
        roots: &[f32; N],
        again: u8,
        fit: &mut Fit,
    ) {
        let inverse = 1.0 / fit.scale;
        let values = odd_values::<G>().map(|value| fit.scale * value);
        let groups = x.as_chunks::<G>().0.iter().zip(roots.as_chunks::<G>().0).enumerate();
        for (k, (x, roots)) in groups.filter(|(k, _)| again >> k & 1 == 1) {
            let word = Codebook::<G>::word(&x.map(|x| code(inverse, x, Codebook::<G>::MOST)));
            fit.entries[k] = self.book.nearest(level, word, x, roots, &values).0;
        }
        let words = fit.entries.map(|entry| self.book.word_of(entry));
        let (sumqx, sumq2) = self.sums(x, weights, words);
        if sumq2 > 0.0 {
            fit.scale = sumqx / sumq2;
        }
    }

    /// Finds for each trial the entries at its scale and the sums.
    fn attempt<const N: usize>(
        &self,
        level: Option<Level>,
        x: &[f32; N],
        weights: &[f32; N],
        roots: &[f32; N],
        trials: &mut Trials,
    ) {
        if level.is_some_and(|level| {
            simd::try_scales::<N, G>(level, &self.book.grid(), x, weights, roots, trials)
        }) {
            return;
        }
        for trial in 0..trials.count {
            let (inverse, scale) = (trials.inverse[trial], trials.scale[trial]);
            let values = odd_values::<G>().map(|value| scale * value);
            let mut words = [0; 8];
            for (k, (x, roots)) in x.as_chunks::<G>().0.iter().zip(roots.as_chunks::<G>().0).enumerate() {
                let word = Codebook::<G>::word(&x.map(|x| code(inverse, x, Codebook::<G>::MOST)));
                let (entry, _) = self.book.nearest(level, word, x, roots, &values);
                words[k] = self.book.word_of(entry);
                (trials.own[k][trial], trials.chosen[k][trial]) = (i32::from(word), i32::from(words[k]));
            }
            (trials.sumqx[trial], trials.sumq2[trial]) = self.sums(x, weights, words);
        }
    }

    /// The sums over all elements, `w * x * q` and `w * q * q`.
    fn sums<const N: usize>(&self, x: &[f32; N], weights: &[f32; N], words: [u16; 8]) -> (f32, f32) {
        let (mut sumqx, mut sumq2) = (0.0, 0.0);
        let groups = x.as_chunks::<G>().0.iter().zip(weights.as_chunks::<G>().0);
        for ((x, weights), word) in groups.zip(words) {
            let codes = Codebook::<G>::codes(word);
            for ((x, w), code) in x.iter().zip(weights).zip(codes) {
                let q = f32::from(2 * code + 1);
                sumqx += w * x * q;
                sumq2 += w * q * q;
            }
        }
        (sumqx, sumq2)
    }
}

/// The first of the elements that lose least by another sign.
fn of_least_loss(x: &[f32; 8], weights: &[f32; 8]) -> usize {
    let (mut turn, mut least) = (0, weights[0] * x[0] * x[0]);
    for i in 1..8 {
        let loss = weights[i] * x[i] * x[i];
        if loss < least {
            (turn, least) = (i, loss);
        }
    }
    turn
}

/// The largest element, of eight abreast, for each comparison waits for the one before it.
fn largest<const N: usize>(x: &[f32; N]) -> f32 {
    let mut abreast = [f32::MIN; 8];
    for x in x.as_chunks::<8>().0 {
        for (max, x) in abreast.iter_mut().zip(x) {
            *max = if x > max { *x } else { *max };
        }
    }
    abreast.into_iter().fold(f32::MIN, |max, x| if x > max { x } else { max })
}

/// The code, up to `most`, whose odd number is nearest.
pub(super) fn code(inverse: f32, x: f32, most: u8) -> u8 {
    nearest_int(0.5 * (inverse * x - 1.0)).clamp(0, i32::from(most)) as u8
}
