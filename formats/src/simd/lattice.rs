//! The search through a codebook for many scales at once, with AVX2: a lane is a scale that is tried for a sub-block. Serves
//! `quant/lattice.rs`, whose sums it makes in the same order.
//! Neighbouring scales give most groups the same codes, and so the same entries to choose from (`near.rs`).

use super::Level;
use super::codebook::Grid;

/// The scales that are tried, and room for eight more, so that eight can be loaded from each.
const ROOM: usize = 40;

/// The scales that are tried for a sub-block, rising inverses, and what comes of each.
pub struct Trials {
    /// Up to 32.
    pub count: usize,
    /// The inverses and the scales; what follows the last repeats it.
    pub inverse: [f32; ROOM],
    pub scale: [f32; ROOM],
    /// For each group the word of its codes, and of the entry that stands for it.
    pub own: [[i32; ROOM]; 8],
    pub chosen: [[i32; ROOM]; 8],
    /// The sums over all elements, `w * x * q` and `w * q * q`.
    pub sumqx: [f32; ROOM],
    pub sumq2: [f32; ROOM],
    #[cfg(target_arch = "x86_64")]
    near: super::near::Near,
}

impl Trials {
    /// None yet.
    pub fn new() -> Trials {
        let (floats, words) = ([0.0; ROOM], [[0; ROOM]; 8]);
        Trials {
            count: 0,
            inverse: floats,
            scale: floats,
            own: words,
            chosen: words,
            sumqx: floats,
            sumq2: floats,
            #[cfg(target_arch = "x86_64")]
            near: super::near::Near::EMPTY,
        }
    }

    /// Begins with the inverses that `inverse` gives for 0 up to, but without, `count`.
    pub fn start(&mut self, count: u8, inverse: impl Fn(f32) -> f32) {
        self.count = usize::from(count);
        let last = f32::from(count) - 1.0;
        for (i, number) in self.inverse.iter_mut().zip(NUMBERS) {
            *i = inverse(if number < last { number } else { last });
        }
        for (scale, inverse) in self.scale.iter_mut().zip(&self.inverse) {
            *scale = 1.0 / inverse;
        }
    }
}

/// From 0 on.
const NUMBERS: [f32; ROOM] = {
    let mut numbers = [0.0; ROOM];
    let mut i = 0;
    while i < ROOM {
        numbers[i] = i as f32;
        i += 1;
    }
    numbers
};

/// Tries them for `N` elements in groups of `G`. False if there is no kernel for that or for the level, or if the numbers
/// are such that it cannot answer for them.
#[cfg(target_arch = "x86_64")]
pub fn try_scales<const N: usize, const G: usize>(
    level: Level,
    grid: &Grid,
    x: &[f32; N],
    weights: &[f32; N],
    roots: &[f32; N],
    trials: &mut Trials,
) -> bool {
    let Some(avx2) = level.as_avx2() else { return false };
    match (N, G, trials.count.div_ceil(8)) {
        (32, 8, 2) => avx2::two_of_32_in_eights(avx2, grid, x, weights, roots, trials),
        (16, 8, 3) => avx2::three_of_16_in_eights(avx2, grid, x, weights, roots, trials),
        (32, 4, 3) => avx2::three_of_32_in_fours(avx2, grid, x, weights, roots, trials),
        (32, 4, 4) => avx2::four_of_32_in_fours(avx2, grid, x, weights, roots, trials),
        _ => false,
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub fn try_scales<const N: usize, const G: usize>(
    _level: Level,
    _grid: &Grid,
    _x: &[f32; N],
    _weights: &[f32; N],
    _roots: &[f32; N],
    _trials: &mut Trials,
) -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::super::codebook::avx2::{load, look_up, odd_values};
    use super::super::near::Group;
    use super::{Grid, ROOM, Trials};
    use fearless_simd::{Avx2, f32x8, i32x8, kernel, prelude::*};
    use std::arch::x86_64::*;

    macro_rules! sweeps {
        ($($name:ident: $n:literal, $g:literal, $v:literal;)*) => { $(
            kernel!(
                pub fn $name(
                    avx2: Avx2,
                    grid: &Grid,
                    x: &[f32],
                    weights: &[f32],
                    roots: &[f32],
                    trials: &mut Trials,
                ) -> bool {
                    sweep::<$n, $g, $v>(avx2, grid, x, weights, roots, trials)
                }
            );
        )* };
    }

    // Elements, how many of them are a group, and eights of trials.
    sweeps! {
        two_of_32_in_eights: 32, 8, 2;
        three_of_16_in_eights: 16, 8, 3;
        three_of_32_in_fours: 32, 4, 3;
        four_of_32_in_fours: 32, 4, 4;
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn sweep<const N: usize, const G: usize, const V: usize>(
        avx2: Avx2,
        grid: &Grid,
        x: &[f32],
        weights: &[f32],
        roots: &[f32],
        trials: &mut Trials,
    ) -> bool {
        if !rounds(avx2, x, trials.inverse[trials.count.saturating_sub(1)]) {
            return false;
        }
        let groups = x.as_chunks::<G>().0.iter().zip(roots.as_chunks::<G>().0);
        for (k, (x, w)) in groups.take(N / G).enumerate() {
            let ends = own_words::<G, V>(avx2, x, &trials.inverse, &mut trials.own[k]);
            choose(avx2, grid, &Group::new(x, w), ends, trials, k);
        }
        sums::<N, G, V>(avx2, x, weights, trials);
        true
    }

    /// Whether all codes at the largest inverse are numbers that rounding by addition rounds.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn rounds(avx2: Avx2, x: &[f32], inverse: f32) -> bool {
        let mut all = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
        for x in x.as_chunks::<8>().0 {
            let product = _mm256_mul_ps(_mm256_set1_ps(inverse), load(avx2, x));
            let magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0), product);
            all = _mm256_and_ps(all, _mm256_cmp_ps::<_CMP_LT_OQ>(magnitude, _mm256_set1_ps(1048576.0)));
        }
        _mm256_movemask_ps(all) == 0xff
    }

    /// The words of the codes of a group at each scale. Bit `i` of the result tells that trial `i` is the last of a run of
    /// the same word.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn own_words<const G: usize, const V: usize>(
        avx2: Avx2,
        x: &[f32; G],
        inverses: &[f32; ROOM],
        own: &mut [i32; ROOM],
    ) -> u32 {
        for v in 0..V {
            let inverse = load(avx2, &inverses[8 * v..8 * v + 8]);
            let mut words = _mm256_setzero_si256();
            for x in x.iter().rev() {
                let product = _mm256_mul_ps(inverse, _mm256_set1_ps(*x));
                words = match G {
                    8 => {
                        // Half of the product less 1, rounded to even, is above 0 and above 1.
                        let one = _mm256_cmp_ps::<_CMP_GT_OQ>(product, _mm256_set1_ps(2.0));
                        let two = _mm256_cmp_ps::<_CMP_GE_OQ>(product, _mm256_set1_ps(4.0));
                        let words = _mm256_sub_epi32(_mm256_slli_epi32::<2>(words), _mm256_castps_si256(one));
                        _mm256_sub_epi32(words, _mm256_castps_si256(two))
                    }
                    _ => {
                        let less = _mm256_sub_ps(product, _mm256_set1_ps(1.0));
                        let near = _mm256_mul_ps(_mm256_set1_ps(0.5), less);
                        let sum = _mm256_add_ps(near, _mm256_set1_ps(12582912.0));
                        let code = _mm256_sub_epi32(_mm256_castps_si256(sum), _mm256_set1_epi32(0x4b40_0000));
                        let code = _mm256_max_epi32(code, _mm256_setzero_si256());
                        let code = _mm256_min_epi32(code, _mm256_set1_epi32(7));
                        _mm256_add_epi32(_mm256_slli_epi32::<3>(words), code)
                    }
                };
            }
            let words: i32x8<Avx2> = words.simd_into(avx2);
            words.store_slice(&mut own[8 * v..8 * v + 8]);
        }
        own[8 * V] = -1;
        let mut ends = 0;
        for v in 0..V {
            let same = _mm256_cmpeq_epi32(words(avx2, own, 8 * v), words(avx2, own, 8 * v + 1));
            let same = _mm256_movemask_ps(_mm256_castsi256_ps(same)) as u32;
            ends |= (same ^ 0xff) << (8 * v);
        }
        ends
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn words(avx2: Avx2, words: &[i32; ROOM], first: usize) -> __m256i {
        i32x8::from_slice(avx2, &words[first..first + 8]).into()
    }

    /// Chooses for each trial the entry that stands for a group.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn choose<const G: usize>(
        avx2: Avx2,
        grid: &Grid,
        group: &Group<G>,
        mut ends: u32,
        trials: &mut Trials,
        k: usize,
    ) {
        let mut start = 0;
        while ends != 0 {
            let end = ends.trailing_zeros() as usize + 1;
            ends &= ends - 1;
            let [at, count] = grid.places[trials.own[k][start] as usize];
            let count = usize::from(count);
            let list = &grid.near[usize::from(at)..];
            if count > 1 {
                trials.near.measure(avx2, group, &list[..count.div_ceil(8)]);
            }
            for first in (start..end).step_by(8) {
                let mut chosen = [0; 8];
                let doubt = match count {
                    0 => {
                        chosen.copy_from_slice(&trials.own[k][first..first + 8]);
                        0
                    }
                    1 => {
                        chosen.fill(i32::from(list[0][0]));
                        0
                    }
                    _ => {
                        let scales = (&trials.scale[first..first + 8], &trials.inverse[first..first + 8]);
                        trials.near.least(avx2, group, count, scales, &mut chosen)
                    }
                };
                trials.chosen[k][first..first + 8].copy_from_slice(&chosen);
                let mut doubt = doubt & ((1u64 << (end - first)) - 1) as u32;
                while doubt != 0 {
                    let trial = first + doubt.trailing_zeros() as usize;
                    doubt &= doubt - 1;
                    let word = group.nearest(avx2, &list[..count.div_ceil(8)], trials.scale[trial]);
                    trials.chosen[k][trial] = i32::from(word);
                }
            }
            start = end;
        }
    }

    /// The sums over all elements.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn sums<const N: usize, const G: usize, const V: usize>(
        avx2: Avx2,
        x: &[f32],
        weights: &[f32],
        trials: &mut Trials,
    ) {
        let odd = odd_values::<G>();
        let zero = _mm256_setzero_ps();
        let (mut sumqx, mut sumq2) = ([zero; V], [zero; V]);
        let groups = x.as_chunks::<G>().0.iter().zip(weights.as_chunks::<G>().0);
        for (k, (x, w)) in groups.take(N / G).enumerate() {
            let mut chosen = [_mm256_setzero_si256(); V];
            for (v, chosen) in chosen.iter_mut().enumerate() {
                *chosen = words(avx2, &trials.chosen[k], 8 * v);
            }
            for i in 0..G {
                let qx = _mm256_mul_ps(_mm256_set1_ps(w[i] * x[i]), odd);
                let q2 = _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(w[i]), odd), odd);
                for v in 0..V {
                    sumqx[v] = _mm256_add_ps(sumqx[v], look_up::<G>(qx, chosen[v]));
                    sumq2[v] = _mm256_add_ps(sumq2[v], look_up::<G>(q2, chosen[v]));
                    chosen[v] = match G {
                        8 => _mm256_srli_epi32::<2>(chosen[v]),
                        _ => _mm256_srli_epi32::<3>(chosen[v]),
                    };
                }
            }
        }
        for v in 0..V {
            let (qx, q2): (f32x8<Avx2>, f32x8<Avx2>) = (sumqx[v].simd_into(avx2), sumq2[v].simd_into(avx2));
            qx.store_slice(&mut trials.sumqx[8 * v..8 * v + 8]);
            q2.store_slice(&mut trials.sumq2[8 * v..8 * v + 8]);
        }
    }
}
