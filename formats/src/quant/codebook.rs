//! The codebooks of the IQ dtypes as their encoders search them: which entry stands for a group of codes or, if none
//! does, which entries are near it. Built once from `grids.rs`; an entry's codes are packed into a word, two bits each
//! for groups of eight elements and three for groups of four, the first in the lowest.
//! Specification: ggml `iq2xs_init_impl`, `iq3xs_init_impl`, `iq2_find_best_neighbour`, `iq3_find_best_neighbour`,
//! `iq1_find_best_neighbour2`.

use super::grids;
use crate::simd::{self, Grid, Level};
use std::sync::LazyLock;

pub(super) static IQ1: LazyLock<Codebook<8>> = LazyLock::new(|| Codebook::new(&grids::IQ1, 3));
pub(super) static IQ2_XXS: LazyLock<Codebook<8>> = LazyLock::new(|| Codebook::new(&grids::IQ2_XXS, 2));
pub(super) static IQ2_XS: LazyLock<Codebook<8>> = LazyLock::new(|| Codebook::new(&grids::IQ2_XS, 2));
pub(super) static IQ2_S: LazyLock<Codebook<8>> = LazyLock::new(|| Codebook::new(&grids::IQ2_S, 1));
pub(super) static IQ3_XXS: LazyLock<Codebook<4>> = LazyLock::new(|| Codebook::new(&grids::IQ3_XXS, 2));
pub(super) static IQ3_S: LazyLock<Codebook<4>> = LazyLock::new(|| Codebook::new(&grids::IQ3_S, 3));

/// Code -> value for the 2- and 3-bit dtypes. Two-bit codes have the same value twice, so that what stands above them
/// in a word need not be cut off.
pub(super) const fn odd_values<const G: usize>() -> [f32; 8] {
    if G == 8 {
        [1.0, 3.0, 5.0, 7.0, 1.0, 3.0, 5.0, 7.0]
    } else {
        [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0]
    }
}

/// A codebook of groups of `G` elements.
pub(super) struct Codebook<const G: usize> {
    /// The word of each entry.
    words: Vec<u16>,
    /// Of each word the entry and 0, or where the list of near ones begins and how many they are.
    places: Vec<[u16; 2]>,
    /// The lists of near entries, by their words, eights of which the last is filled up with its last one.
    near: Vec<[u16; 8]>,
}

impl<const G: usize> Codebook<G> {
    pub const BITS: usize = if G == 8 { 2 } else { 3 };
    /// The largest code.
    pub const MOST: u8 = if G == 8 { 2 } else { 7 };

    /// With lists of the entries at the `want` least distances, by distance and number.
    fn new(grid: &[u16], want: usize) -> Codebook<G> {
        let stride = 16 / G;
        let codes: Vec<[u8; G]> = grid
            .iter()
            .map(|entry| std::array::from_fn(|i| (entry >> (i * stride)) as u8 & ((1 << stride) - 1)))
            .collect();
        let words: Vec<u16> = codes.iter().map(Self::word).collect();
        let mut book = Codebook { words, places: Vec::new(), near: Vec::new() };
        book.places.resize(usize::from(Self::word(&[Self::MOST; G])) + 1, [0; 2]);
        for word in 0..book.places.len() as u16 {
            let point = Self::codes(word);
            if point.iter().any(|code| *code > Self::MOST) {
                continue;
            }
            let distances: Vec<u16> = codes.iter().map(|entry| distance(entry, &point)).collect();
            book.places[usize::from(word)] = book.place(&distances, want);
        }
        book
    }

    /// The place of a word at these distances to the entries.
    fn place(&mut self, distances: &[u16], want: usize) -> [u16; 2] {
        if let Some(entry) = distances.iter().position(|d| *d == 0) {
            return [entry as u16, 0];
        }
        let mut list = Vec::new();
        let mut last = 0;
        for _ in 0..want {
            let Some(next) = distances.iter().copied().filter(|d| *d > last).min() else { break };
            last = next;
            list.extend(
                distances.iter().zip(&self.words).filter(|(d, _)| **d == next).map(|(_, word)| *word),
            );
        }
        let at = self.near.len();
        for eight in list.chunks(8) {
            let filled = |i| eight.get(i).or(eight.last()).copied().unwrap_or_default();
            self.near.push(std::array::from_fn(filled));
        }
        [at as u16, list.len() as u16]
    }

    /// The word of a group of codes.
    pub fn word(codes: &[u8; G]) -> u16 {
        codes.iter().rev().fold(0, |word, code| word << Self::BITS | u16::from(*code))
    }

    /// The codes of a word.
    pub fn codes(word: u16) -> [u8; G] {
        std::array::from_fn(|i| (word >> (i * Self::BITS)) as u8 & ((1 << Self::BITS) - 1))
    }

    /// The word of an entry.
    pub fn word_of(&self, entry: u16) -> u16 {
        self.words[usize::from(entry)]
    }

    /// The entry that has this word.
    pub fn entry_of(&self, word: u16) -> u16 {
        self.places[usize::from(word)][0]
    }

    /// What the kernels of `simd` search.
    pub fn grid(&self) -> Grid<'_> {
        Grid { places: &self.places, near: &self.near }
    }

    /// The entry for a word, and whether it is its own: else, of those near it, the one at the least weighted distance
    /// from `x`, the first of equals. The codes stand for `values`.
    pub fn nearest(
        &self,
        level: Option<Level>,
        word: u16,
        x: &[f32; G],
        weights: &[f32; G],
        values: &[f32; 8],
    ) -> (u16, bool) {
        let [at, count] = self.places[usize::from(word)];
        if count == 0 {
            return (at, true);
        }
        let near = &self.near[usize::from(at)..][..usize::from(count).div_ceil(8)];
        let found = level.and_then(|level| simd::nearest_of(level, near, x, weights, values));
        (self.entry_of(found.unwrap_or_else(|| nearest(near, x, weights, values))), false)
    }
}

impl Codebook<8> {
    /// `nearest` for many groups: takes the place of each word that is no entry's. The codes of each group stand for its
    /// `values`.
    pub fn nearest_of_each(
        &self,
        level: Option<Level>,
        words: &mut [u16],
        x: &[[f32; 8]],
        weights: &[[f32; 8]],
        values: &[[f32; 8]],
    ) {
        let grid = self.grid();
        if level.is_some_and(|level| simd::nearest_of_each(level, &grid, words, x, weights, values)) {
            return;
        }
        for (((word, x), weights), values) in words.iter_mut().zip(x).zip(weights).zip(values) {
            *word = self.word_of(self.nearest(level, *word, x, weights, values).0);
        }
    }
}

/// The word of those near that is nearest, the first of equals.
fn nearest<const G: usize>(near: &[[u16; 8]], x: &[f32; G], weights: &[f32; G], values: &[f32; 8]) -> u16 {
    let terms: [[f32; 8]; G] = std::array::from_fn(|i| {
        values.map(|value| {
            let difference = value - x[i];
            weights[i] * difference * difference
        })
    });
    // What is too far for a number to tell is none the worse for the first.
    let (mut best, mut least) = (near[0][0], f32::MAX);
    for word in near.as_flattened() {
        let distance =
            (0..G).fold(0.0, |sum, i| sum + terms[i][usize::from(word >> (i * Codebook::<G>::BITS)) & 7]);
        if distance < least {
            (best, least) = (*word, distance);
        }
    }
    best
}

/// The square of the distance.
fn distance<const G: usize>(a: &[u8; G], b: &[u8; G]) -> u16 {
    a.iter().zip(b).map(|(a, b)| u16::from(a.abs_diff(*b))).map(|d| d * d).sum()
}

// The kernels are those of AVX2.
#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    fn longest<const G: usize>(book: &Codebook<G>) -> usize {
        book.places.iter().map(|[_, count]| usize::from(*count)).max().unwrap()
    }

    #[test]
    fn the_kernels_have_room_for_the_longest_list() {
        let of_eight = [&*IQ2_XXS, &*IQ2_XS, &*IQ2_S].map(longest);
        let of_four = [&*IQ3_XXS, &*IQ3_S].map(longest);
        let longest = of_eight.into_iter().chain(of_four).max().unwrap();
        assert_eq!(longest, 292);
        assert!(longest.next_multiple_of(8) <= simd::NEAR);
    }
}
