//! The search through a codebook, with AVX2: a lane is one of eight entries near a group of elements or one of eight
//! candidates for a scale, and does what the scalar code of `quant/lattice.rs` and `quant/codebook.rs` does, in its order.
//! What an element adds to a distance depends on its code alone, so it is computed once for each code and then looked up.

use super::Level;

/// What the kernels know of a codebook; `quant/codebook.rs` says more.
pub struct Grid<'a> {
    /// Of each word the entry and 0, or where the list of near ones begins and its length.
    pub places: &'a [[u16; 2]],
    /// The lists, by words.
    pub near: &'a [[u16; 8]],
    /// The odd numbers that the codes of each entry stand for.
    pub odd: &'a [u8],
}

/// A scale that is tried for a sub-block, and what comes of it.
#[derive(Clone, Copy, Default)]
pub struct Trial {
    pub inverse: f32,
    pub scale: f32,
    /// For each group.
    pub entries: [u16; 8],
    /// Bit `k` tells that the codes of group `k` were no entry's.
    pub missed: u8,
    /// The sums over all elements, `w * x * q` and `w * q * q`.
    pub sumqx: f32,
    pub sumq2: f32,
}

/// Tries `trials` for `N` elements in groups of `G`: 32 in eights or fours, or 16 in eights. False if there is no kernel
/// for that or for the level.
#[cfg(target_arch = "x86_64")]
pub fn try_scales<const N: usize, const G: usize>(
    level: Level,
    grid: &Grid,
    x: &[f32; N],
    weights: &[f32; N],
    roots: &[f32; N],
    trials: &mut [Trial],
) -> bool {
    let Some(avx2) = level.as_avx2() else { return false };
    match (N, G) {
        (32, 8) => avx2::thirty_two_in_eights(avx2, grid, x, weights, roots, trials),
        (16, 8) => avx2::sixteen_in_eights(avx2, grid, x, weights, roots, trials),
        (32, 4) => avx2::thirty_two_in_fours(avx2, grid, x, weights, roots, trials),
        _ => return false,
    }
    true
}

/// The word of those near eight elements that is nearest to them; its codes stand for `values`. `None` if there is no
/// kernel for the level.
#[cfg(target_arch = "x86_64")]
pub fn nearest_of(
    level: Level,
    near: &[[u16; 8]],
    x: &[f32; 8],
    weights: &[f32; 8],
    values: &[f32; 8],
) -> Option<u16> {
    Some(avx2::nearest_of_eight(level.as_avx2()?, near, x, weights, values))
}

#[cfg(not(target_arch = "x86_64"))]
pub fn try_scales<const N: usize, const G: usize>(
    _level: Level,
    _grid: &Grid,
    _x: &[f32; N],
    _weights: &[f32; N],
    _roots: &[f32; N],
    _trials: &mut [Trial],
) -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
pub fn nearest_of(
    _level: Level,
    _near: &[[u16; 8]],
    _x: &[f32; 8],
    _weights: &[f32; 8],
    _values: &[f32; 8],
) -> Option<u16> {
    None
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{Grid, Trial};
    use fearless_simd::{Avx2, f32x8, i32x4, i32x8, kernel, prelude::*, u8x16, u16x8};
    use std::arch::x86_64::*;

    kernel!(
        pub fn thirty_two_in_eights(
            avx2: Avx2,
            grid: &Grid,
            x: &[f32],
            weights: &[f32],
            roots: &[f32],
            trials: &mut [Trial],
        ) {
            sweep::<32, 8>(avx2, grid, x, weights, roots, trials);
        }
    );

    kernel!(
        pub fn sixteen_in_eights(
            avx2: Avx2,
            grid: &Grid,
            x: &[f32],
            weights: &[f32],
            roots: &[f32],
            trials: &mut [Trial],
        ) {
            sweep::<16, 8>(avx2, grid, x, weights, roots, trials);
        }
    );

    kernel!(
        pub fn thirty_two_in_fours(
            avx2: Avx2,
            grid: &Grid,
            x: &[f32],
            weights: &[f32],
            roots: &[f32],
            trials: &mut [Trial],
        ) {
            sweep::<32, 4>(avx2, grid, x, weights, roots, trials);
        }
    );

    kernel!(
        pub fn nearest_of_eight(
            avx2: Avx2,
            near: &[[u16; 8]],
            x: &[f32; 8],
            weights: &[f32; 8],
            values: &[f32; 8],
        ) -> u16 {
            nearest(avx2, near, x, weights, load(avx2, values))
        }
    );

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(avx2: Avx2, x: &[f32]) -> __m256 {
        f32x8::from_slice(avx2, x).into()
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn sweep<const N: usize, const G: usize>(
        avx2: Avx2,
        grid: &Grid,
        x: &[f32],
        weights: &[f32],
        roots: &[f32],
        trials: &mut [Trial],
    ) {
        let odd = if G == 8 {
            _mm256_setr_ps(1.0, 3.0, 5.0, 7.0, 1.0, 3.0, 5.0, 7.0)
        } else {
            _mm256_setr_ps(1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0)
        };
        let (xs, ws) = (x.as_chunks::<G>().0, roots.as_chunks::<G>().0);
        for trials in trials.chunks_mut(8) {
            let mut q = [[0u8; 8]; N];
            for (c, trial) in trials.iter_mut().enumerate() {
                let words = words::<N, G>(avx2, x, trial.inverse);
                let values = _mm256_mul_ps(_mm256_set1_ps(trial.scale), odd);
                trial.missed = 0;
                for (k, ((x, w), word)) in xs.iter().zip(ws).zip(words).enumerate() {
                    let [mut entry, eights] = grid.places[usize::from(word)];
                    if eights > 0 {
                        let near = &grid.near[usize::from(entry)..][..usize::from(eights)];
                        let word = nearest(avx2, near, x, w, values);
                        entry = grid.places[usize::from(word)][0];
                        trial.missed |= 1 << k;
                    }
                    trial.entries[k] = entry;
                    let codes = &grid.odd[G * usize::from(entry)..][..G];
                    q[G * k..][..G].iter_mut().zip(codes).for_each(|(q, code)| q[c] = *code);
                }
            }
            sums(avx2, x, weights, &q, trials);
        }
    }

    /// The words of the groups of codes at a scale.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn words<const N: usize, const G: usize>(avx2: Avx2, x: &[f32], inverse: f32) -> [u16; 8] {
        let mut words = [0; 8];
        for (x, words) in x.as_chunks::<16>().0.iter().zip(words.chunks_mut(16 / G)) {
            let low = codes::<G>(load(avx2, &x[..8]), inverse);
            let high = codes::<G>(load(avx2, &x[8..]), inverse);
            let both = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(both), _mm256_extracti128_si256::<1>(both));
            let (second, third) = if G == 8 { (0x0401, 0x0010_0001) } else { (0x0801, 0x0040_0001) };
            let pairs = _mm_maddubs_epi16(bytes, _mm_set1_epi16(second));
            let fours: i32x4<Avx2> = _mm_madd_epi16(pairs, _mm_set1_epi32(third)).simd_into(avx2);
            let fours = fours.to_array();
            for (k, word) in words.iter_mut().enumerate() {
                *word = if G == 8 { fours[2 * k] | fours[2 * k + 1] << 8 } else { fours[k] } as u16;
            }
        }
        words
    }

    /// `lattice::code` of eight elements.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn codes<const G: usize>(x: __m256, inverse: f32) -> __m256i {
        let product = _mm256_mul_ps(_mm256_set1_ps(inverse), x);
        let near = _mm256_mul_ps(_mm256_set1_ps(0.5), _mm256_sub_ps(product, _mm256_set1_ps(1.0)));
        let bits = _mm256_castps_si256(_mm256_add_ps(near, _mm256_set1_ps(12582912.0)));
        let code = _mm256_sub_epi32(
            _mm256_and_si256(bits, _mm256_set1_epi32(0x007f_ffff)),
            _mm256_set1_epi32(0x0040_0000),
        );
        let most = _mm256_set1_epi32(if G == 8 { 2 } else { 7 });
        _mm256_min_epi32(_mm256_max_epi32(code, _mm256_setzero_si256()), most)
    }

    /// `Codebook::nearest` for codes that are no entry's; the codes of the words stand for `values`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn nearest<const G: usize>(
        avx2: Avx2,
        near: &[[u16; 8]],
        x: &[f32; G],
        weights: &[f32; G],
        values: __m256,
    ) -> u16 {
        let mut terms = [_mm256_setzero_ps(); G];
        for i in 0..G {
            let difference = _mm256_sub_ps(values, _mm256_set1_ps(x[i]));
            terms[i] = _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(weights[i]), difference), difference);
        }
        let mut least = _mm256_set1_ps(f32::MAX);
        let mut best = _mm256_setzero_si256();
        for (n, words) in near.iter().enumerate() {
            let words = u16x8::from_slice(avx2, words);
            let mut words = _mm256_cvtepu16_epi32(words.into());
            let mut sum = look_up::<G>(terms[0], words);
            for term in &terms[1..] {
                words = if G == 8 { _mm256_srli_epi32::<2>(words) } else { _mm256_srli_epi32::<3>(words) };
                sum = _mm256_add_ps(sum, look_up::<G>(*term, words));
            }
            let closer = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(sum, least));
            best = _mm256_blendv_epi8(best, _mm256_set1_epi32(n as i32), closer);
            // Of a NaN and a number the second operand is the result.
            least = _mm256_min_ps(sum, least);
        }
        let half = _mm256_min_ps(least, _mm256_permute2f128_ps::<1>(least, least));
        let quarter = _mm256_min_ps(half, _mm256_permute_ps::<0b01_00_11_10>(half));
        let all = _mm256_min_ps(quarter, _mm256_permute_ps::<0b10_11_00_01>(quarter));
        let equal = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(least, all)) as u32;
        let mut lane = equal.trailing_zeros() as usize & 7;
        if near.len() == 1 {
            return near[0][lane];
        }
        let best: i32x8<Avx2> = best.simd_into(avx2);
        let best = best.to_array();
        let mut others = equal & equal.wrapping_sub(1);
        while others != 0 {
            let other = others.trailing_zeros() as usize & 7;
            if best[other] < best[lane] {
                lane = other;
            }
            others &= others - 1;
        }
        near[best[lane] as usize][lane]
    }

    /// What a code, the lowest of a word, stands for. Two bits look up one of four, the same in both halves; what stands
    /// above them is not looked at.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn look_up<const G: usize>(terms: __m256, words: __m256i) -> __m256 {
        if G == 8 { _mm256_permutevar_ps(terms, words) } else { _mm256_permutevar8x32_ps(terms, words) }
    }

    /// The sums of eight trials; `q` holds the odd numbers of each element, one a trial.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn sums<const N: usize>(avx2: Avx2, x: &[f32], weights: &[f32], q: &[[u8; 8]; N], trials: &mut [Trial]) {
        let (mut sumqx, mut sumq2) = (_mm256_setzero_ps(), _mm256_setzero_ps());
        for (q, (x, w)) in
            q.as_flattened().chunks_exact(16).zip(x.chunks_exact(2).zip(weights.chunks_exact(2)))
        {
            let two: __m128i = u8x16::from_slice(avx2, q).into();
            for (q, (x, w)) in [two, _mm_unpackhi_epi64(two, two)].into_iter().zip(x.iter().zip(w)) {
                let q = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(q));
                sumqx = _mm256_add_ps(sumqx, _mm256_mul_ps(_mm256_set1_ps(w * x), q));
                sumq2 = _mm256_add_ps(sumq2, _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(*w), q), q));
            }
        }
        let (sumqx, sumq2): (f32x8<Avx2>, f32x8<Avx2>) = (sumqx.simd_into(avx2), sumq2.simd_into(avx2));
        for ((trial, sumqx), sumq2) in trials.iter_mut().zip(sumqx.to_array()).zip(sumq2.to_array()) {
            trial.sumqx = sumqx;
            trial.sumq2 = sumq2;
        }
    }
}
