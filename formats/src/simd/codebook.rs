//! The search for the entry of a codebook that is nearest to a group of elements, with AVX2: a lane is one of eight entries and
//! does what the scalar code of `quant/codebook.rs` does, in its order. What an element adds to a distance depends on its
//! code alone, so it is computed once for each code and then looked up.

use super::Level;

/// What the kernels know of a codebook; `quant/codebook.rs` says more.
pub struct Grid<'a> {
    /// Of each word the entry and 0, or where the list of near ones begins and how many there are.
    pub places: &'a [[u16; 2]],
    /// The lists, by words, in eights of which the last is filled up.
    pub near: &'a [[u16; 8]],
}

/// The word of those near `G` elements, eight or four, that is nearest to them; its codes stand for `values`. `None` if there
/// is no kernel for the level.
#[cfg(target_arch = "x86_64")]
pub fn nearest_of<const G: usize>(
    level: Level,
    near: &[[u16; 8]],
    x: &[f32; G],
    weights: &[f32; G],
    values: &[f32; 8],
) -> Option<u16> {
    let avx2 = level.as_avx2()?;
    match G {
        8 => Some(avx2::nearest_of_eight(avx2, near, x.first_chunk()?, weights.first_chunk()?, values)),
        4 => Some(avx2::nearest_of_four(avx2, near, x.first_chunk()?, weights.first_chunk()?, values)),
        _ => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub fn nearest_of<const G: usize>(
    _level: Level,
    _near: &[[u16; 8]],
    _x: &[f32; G],
    _weights: &[f32; G],
    _values: &[f32; 8],
) -> Option<u16> {
    None
}

/// `nearest_of` for many groups of eight elements: takes the place of each word that is no entry's; `values` are those of each
/// group. False if there is no kernel for the level.
#[cfg(target_arch = "x86_64")]
pub fn nearest_of_each(
    level: Level,
    grid: &Grid,
    words: &mut [u16],
    x: &[[f32; 8]],
    weights: &[[f32; 8]],
    values: &[[f32; 8]],
) -> bool {
    let Some(avx2) = level.as_avx2() else { return false };
    avx2::nearest_of_each(avx2, grid, words, x, weights, values);
    true
}

#[cfg(not(target_arch = "x86_64"))]
pub fn nearest_of_each(
    _level: Level,
    _grid: &Grid,
    _words: &mut [u16],
    _x: &[[f32; 8]],
    _weights: &[[f32; 8]],
    _values: &[[f32; 8]],
) -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2 {
    use super::Grid;
    use fearless_simd::{Avx2, f32x8, i32x8, kernel, prelude::*, u16x8};
    use std::arch::x86_64::*;

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

    kernel!(
        pub fn nearest_of_four(
            avx2: Avx2,
            near: &[[u16; 8]],
            x: &[f32; 4],
            weights: &[f32; 4],
            values: &[f32; 8],
        ) -> u16 {
            nearest(avx2, near, x, weights, load(avx2, values))
        }
    );

    kernel!(
        pub fn nearest_of_each(
            avx2: Avx2,
            grid: &Grid,
            words: &mut [u16],
            x: &[[f32; 8]],
            weights: &[[f32; 8]],
            values: &[[f32; 8]],
        ) {
            for (((word, x), weights), values) in words.iter_mut().zip(x).zip(weights).zip(values) {
                let [at, count] = grid.places[usize::from(*word)];
                if count > 0 {
                    let near = &grid.near[usize::from(at)..][..usize::from(count).div_ceil(8)];
                    *word = nearest(avx2, near, x, weights, load(avx2, values));
                }
            }
        }
    );

    /// What the codes of the 2- and 3-bit dtypes stand for, `quant/codebook.rs`.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn odd_values<const G: usize>() -> __m256 {
        match G {
            8 => _mm256_setr_ps(1.0, 3.0, 5.0, 7.0, 1.0, 3.0, 5.0, 7.0),
            _ => _mm256_setr_ps(1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn load(avx2: Avx2, x: &[f32]) -> __m256 {
        f32x8::from_slice(avx2, x).into()
    }

    /// `Codebook::nearest` for codes that are no entry's; the codes of the words stand for `values`.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn nearest<const G: usize>(
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
    pub fn look_up<const G: usize>(terms: __m256, words: __m256i) -> __m256 {
        if G == 8 { _mm256_permutevar_ps(terms, words) } else { _mm256_permutevar8x32_ps(terms, words) }
    }
}
