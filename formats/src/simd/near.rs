//! Of the entries of a list that which is nearest to a group at each of eight scales, with AVX2: serves `lattice.rs`.
//! The weighted distance to an entry is `c - 2 b s + a s²` in the scale `s`, where `c` is the same for all entries, so that
//! `a` and `b` are found once for all scales whose codes are the same. Where the two least lie closer together than
//! roundings may move them, it says so, and they are computed as the scalar code does: no number of this file is one that
//! is written.

use super::codebook::avx2::{load, look_up, nearest, odd_values};
use fearless_simd::{Avx2, f32x8, i32x8, prelude::*, u16x8};
use std::arch::x86_64::*;

/// Near entries that there is room for; the longest list has 292, which `quant/codebook.rs` tests.
pub const NEAR: usize = 304;

/// The entries of a list.
pub struct Near {
    /// Of each the sums of `w * q * q` and of `2 * w * x * q`.
    a: [f32; NEAR],
    b: [f32; NEAR],
    words: [i32; NUMBER as usize + 1],
}

impl Near {
    pub const EMPTY: Near = Near { a: [0.0; NEAR], b: [0.0; NEAR], words: [0; NUMBER as usize + 1] };

    /// The sums of a list of entries.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn measure<const G: usize>(&mut self, avx2: Avx2, group: &Group<G>, list: &[[u16; 8]]) {
        let a = self.a.as_chunks_mut::<8>().0.iter_mut();
        let places = a.zip(self.b.as_chunks_mut::<8>().0).zip(self.words.as_chunks_mut::<8>().0);
        for (((a_out, b_out), words_out), list) in places.zip(list) {
            let mut words = _mm256_cvtepu16_epi32(u16x8::from_slice(avx2, list).into());
            let all: i32x8<Avx2> = words.simd_into(avx2);
            all.store_slice(words_out);
            let mut a = look_up::<G>(group.a[0], words);
            let mut b = look_up::<G>(group.b[0], words);
            for i in 1..G {
                words = if G == 8 { _mm256_srli_epi32::<2>(words) } else { _mm256_srli_epi32::<3>(words) };
                a = _mm256_add_ps(a, look_up::<G>(group.a[i], words));
                b = _mm256_add_ps(b, look_up::<G>(group.b[i], words));
            }
            let (a, b): (f32x8<Avx2>, f32x8<Avx2>) = (a.simd_into(avx2), b.simd_into(avx2));
            a.store_slice(a_out);
            b.store_slice(b_out);
        }
    }

    /// Writes the words of the nearest of the first `count` entries for eight scales, whose inverses are given, too. Bit `i` of the result
    /// tells that another is so near that roundings may decide.
    ///
    /// What counts is how far below `c` a distance lies: the number of an entry takes the place of its lowest bits, and the
    /// largest is found among integers. With `u = 2^-24` and `t` the sum of `w (q s + |x|)²` for the largest `q`, the scalar
    /// code's distance is off by less than `13 u t` (8 elements), that of `a` and `b` by less than `12 u t`; two of each
    /// differ by less than `50 u t`. Here all is divided by the scale, and `64 u` leaves room for the roundings of the bound.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn least<const G: usize>(
        &self,
        avx2: Avx2,
        group: &Group<G>,
        count: usize,
        (scale, inverse): (&[f32], &[f32]),
        chosen: &mut [i32; 8],
    ) -> u32 {
        const ROUNDING: f32 = 64.0 / 16777216.0;
        let (scale, inverse) = (load(avx2, scale), load(avx2, inverse));
        let [mut best, mut second] = [_mm256_set1_epi32(i32::MIN); 2];
        let rest = _mm256_set1_epi32(!NUMBER);
        for (n, (a, b)) in NUMBERS.iter().zip(self.a.iter().zip(&self.b)).take(count) {
            let gain = _mm256_sub_ps(_mm256_set1_ps(*b), _mm256_mul_ps(_mm256_set1_ps(*a), scale));
            let gain = _mm256_and_si256(_mm256_castps_si256(gain), rest);
            let gain = _mm256_or_si256(gain, _mm256_set1_epi32(*n));
            second = _mm256_max_epi32(second, _mm256_min_epi32(best, gain));
            best = _mm256_max_epi32(best, gain);
        }
        self.look_up(avx2, count, best, chosen);
        let [ww, wx, xx] = group.bound.map(|bound| _mm256_set1_ps(bound));
        let bound = _mm256_add_ps(_mm256_add_ps(_mm256_mul_ps(inverse, xx), wx), _mm256_mul_ps(scale, ww));
        let rounding = _mm256_mul_ps(bound, _mm256_set1_ps(ROUNDING));
        // Cut off, the best is no better than it was; the second may have been better by a part in 2^14, and is no worse than
        // 0 here, for integers do not tell which of two that are negative is the larger.
        let best = _mm256_castsi256_ps(_mm256_and_si256(best, rest));
        let second = _mm256_max_ps(_mm256_castsi256_ps(second), _mm256_setzero_ps());
        let second = _mm256_mul_ps(second, _mm256_set1_ps(1.0 + 2.0 / 16384.0));
        let apart = _mm256_cmp_ps::<_CMP_GT_OQ>(_mm256_sub_ps(best, second), rounding);
        // Where nothing is so small that it loses bits, nor so large that it overflows. Of `a` nothing can be so small, however
        // large the scale: square roots of f32 numbers are 0 or above 3e-23. That bounds `b`, too: a product that loses bits
        // is too small to count beside `a * scale` from a scale of 1e-15 on, and below that `scaled` tells of it.
        let scaled = _mm256_mul_ps(rounding, scale);
        let large = _mm256_cmp_ps::<_CMP_GT_OQ>(scaled, _mm256_set1_ps(1e-30));
        let most = _mm256_max_ps(_mm256_max_ps(bound, ww), scaled);
        let small = _mm256_cmp_ps::<_CMP_LT_OQ>(most, _mm256_set1_ps(1e30));
        let sure = _mm256_and_ps(apart, _mm256_and_ps(large, small));
        _mm256_movemask_ps(sure) as u32 ^ 0xff
    }

    /// The words of eight of the first `count` entries, whose numbers are the lowest bits.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn look_up(&self, avx2: Avx2, count: usize, numbers: __m256i, chosen: &mut [i32; 8]) {
        if count <= 8 {
            let words: __m256i = i32x8::from_slice(avx2, &self.words[..8]).into();
            let found: i32x8<Avx2> = _mm256_permutevar8x32_epi32(words, numbers).simd_into(avx2);
            found.store_array(chosen);
            return;
        }
        let numbers: i32x8<Avx2> = numbers.simd_into(avx2);
        for (chosen, n) in chosen.iter_mut().zip(numbers.to_array()) {
            *chosen = self.words[(n & NUMBER) as usize];
        }
    }
}

/// The lowest bits, which number the entries of a list.
const NUMBER: i32 = 511;

/// From 0 on.
const NUMBERS: [i32; NEAR] = {
    let mut numbers = [0; NEAR];
    let mut i = 0;
    while i < NEAR {
        numbers[i] = i as i32;
        i += 1;
    }
    numbers
};

/// A group, and what its elements add to the sums of `Near`, for each code.
pub struct Group<'a, const G: usize> {
    x: &'a [f32; G],
    /// The square roots of the weights: as in ggml, distances to neighbours are weighted by them, where the sums that a
    /// scale is fitted to have the weights themselves.
    w: &'a [f32; G],
    a: [__m256; G],
    b: [__m256; G],
    /// Sums of `w * q * q`, `2 * w * x * q` and `w * x * x`, all positive and with the largest value of a code: no distance
    /// and no part of one is larger than the scale times `scale * [0] + [1] + inverse * [2]`.
    bound: [f32; 3],
}

impl<'a, const G: usize> Group<'a, G> {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn new(x: &'a [f32; G], w: &'a [f32; G]) -> Self {
        let zero = _mm256_setzero_ps();
        let mut group = Group { x, w, a: [zero; G], b: [zero; G], bound: [0.0; 3] };
        let odd = odd_values::<G>();
        let squares = _mm256_mul_ps(odd, odd);
        let most = if G == 8 { 5.0 } else { 15.0 };
        for i in 0..G {
            let wx = w[i] * x[i];
            group.a[i] = _mm256_mul_ps(_mm256_set1_ps(w[i]), squares);
            group.b[i] = _mm256_mul_ps(_mm256_set1_ps(2.0 * wx), odd);
            group.bound[0] += most * most * w[i];
            group.bound[1] += 2.0 * most * wx.abs();
            group.bound[2] += wx * x[i];
        }
        group
    }

    /// The nearest as the scalar code computes it.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn nearest(&self, avx2: Avx2, near: &[[u16; 8]], scale: f32) -> u16 {
        let values = _mm256_mul_ps(_mm256_set1_ps(scale), odd_values::<G>());
        nearest(avx2, near, self.x, self.w, values)
    }
}
