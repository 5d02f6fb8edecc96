//! Codes that lie column by column, as GPTQ and AWQ have them: a row of codes is an input of the layer, a column is a row of
//! the weight. They are taken a tile at a time, some inputs of some rows.

use super::codes::{mask, spread};
use std::ops::Range;

/// How codes lie in words of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// So many bits a code: a column's codes follow each other downwards, from the lowest bit of its first word on.
    Down(u32),
    /// Eight neighbours in a row share a word, in AWQ's order: the even ones lie in its lower half.
    Awq,
    /// Eight neighbours in a row share a word, the first in the lowest bits.
    Along,
    /// A byte for each.
    Bytes,
}

impl Words {
    /// Bits of a code.
    pub fn bits(self) -> u32 {
        match self {
            Words::Down(bits) => bits,
            Words::Awq | Words::Along => 4,
            Words::Bytes => 8,
        }
    }

    /// The eight codes of 4 bits in a word, in the order of their columns.
    #[inline(always)]
    fn eight(self, word: u32, flip: u8) -> [u8; 8] {
        let codes = spread::<4>(u64::from(word)) ^ (u64::from(flip) * 0x0101_0101_0101_0101);
        let [a, b, c, d, e, f, g, h] = codes.to_le_bytes();
        if self == Words::Awq { [a, e, b, f, c, g, d, h] } else { [a, b, c, d, e, f, g, h] }
    }

    /// The bytes of a line of codes or zero points in which those of `rows` of the weight lie; lines of `Down` are words of
    /// codes.
    fn bytes_of(self, rows: &Range<usize>) -> Range<usize> {
        match self {
            Words::Down(_) => rows.start * 4..rows.end * 4,
            Words::Awq | Words::Along => rows.start / 8 * 4..rows.end.div_ceil(8) * 4,
            Words::Bytes => rows.clone(),
        }
    }

    /// The codes of so many `inputs` in `rows` of the weight, an input after the other, with the bits of `flip` flipped.
    /// `lines` are the lines in which they lie, each of `line` bytes; of `Down` as many as hold the inputs, which begin with
    /// the first of the words.
    #[inline(never)]
    pub fn codes(
        self,
        flip: u8,
        (lines, line): (&[u8], usize),
        inputs: usize,
        rows: &Range<usize>,
        out: &mut [u8],
    ) {
        let (place, count) = (self.bytes_of(rows), rows.len());
        let outs = out.chunks_exact_mut(count).take(inputs);
        if self == Words::Bytes {
            for (out, line) in outs.zip(lines.chunks_exact(line)) {
                out.iter_mut().zip(&line[place.clone()]).for_each(|(code, b)| *code = b ^ flip);
            }
            return;
        }
        let each = place.len() / 4;
        let words = words(lines, line, place);
        if let Words::Down(bits) = self {
            outs.enumerate().for_each(|(i, out)| down(&words, i * bits as usize, bits, flip, out));
            return;
        }
        for (out, words) in outs.zip(words.chunks_exact(each)) {
            let Some((word, words)) = words.split_first() else { continue };
            // The first word may begin before the rows.
            let before = rows.start % 8;
            let (first, rest) = out.split_at_mut(count.min(8 - before));
            let copy = |out: &mut [u8], found: &[u8]| {
                out.iter_mut().zip(found).for_each(|(code, found)| *code = *found);
            };
            copy(first, &self.eight(*word, flip)[before..]);
            rest.chunks_mut(8).zip(words).for_each(|(out, word)| copy(out, &self.eight(*word, flip)));
        }
    }

    /// The zero points of `rows` of the weight in a group, packed along them in `line`; to each word one is added for each of
    /// them if they are `lifted`.
    #[inline(never)]
    pub fn zeros(self, (flip, lifted): (u8, bool), line: &[u8], rows: &Range<usize>, out: &mut [f32]) {
        let bits = self.bits();
        if self == Words::Bytes {
            let bytes = &line[rows.clone()];
            return out.iter_mut().zip(bytes).for_each(|(zero, b)| *zero = f32::from(b ^ flip));
        }
        // The codes of three bits that lie in two words have no carry among words.
        let ones = match lifted && bits != 3 {
            true => (0..32 / bits).map(|i| 1 << (i * bits)).sum(),
            false => 0u32,
        };
        let words = line.as_chunks::<4>().0;
        let word = |i: usize| words.get(i).map_or(0, |b| u32::from_le_bytes(*b).wrapping_add(ones));
        for (zero, row) in out.iter_mut().zip(rows.clone()) {
            let code = match self {
                Words::Awq | Words::Along => u32::from(self.eight(word(row / 8), flip)[row % 8]),
                _ => {
                    let bit = row * bits as usize;
                    let both = u64::from(word(bit / 32)) | u64::from(word(bit / 32 + 1)) << 32;
                    (both >> (bit % 32)) as u32 & mask(bits) ^ u32::from(flip)
                }
            };
            *zero = (if lifted && bits == 3 { (code + 1) & mask(3) } else { code }) as f32;
        }
    }
}

/// The words of `place` of each line of so many bytes. Lines lie a page apart: read one after the other, before anything is
/// done with them, they are waited for together.
fn words(lines: &[u8], line: usize, place: Range<usize>) -> Vec<u32> {
    let lines = lines.chunks_exact(line);
    let mut words = Vec::with_capacity(lines.len() * place.len() / 4);
    for line in lines {
        words.extend(line[place.clone()].as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)));
    }
    words
}

/// The codes that begin at this bit of their column, one of each column; `words` has a row for each 32 bits.
fn down(words: &[u32], bit: usize, bits: u32, flip: u8, out: &mut [u8]) {
    let (word, shift) = (bit / 32, (bit % 32) as u32);
    let low = &words[word * out.len()..(word + 1) * out.len()];
    let mask = mask(bits);
    out.iter_mut().zip(low).for_each(|(code, low)| *code = (low >> shift & mask) as u8 ^ flip);
    if shift + bits > 32 {
        let high = &words[(word + 1) * out.len()..(word + 2) * out.len()];
        out.iter_mut().zip(high).for_each(|(code, high)| *code ^= (high << (32 - shift) & mask) as u8);
    }
}

/// What codes are worth, `scale * (code - zero)` in f32: lines of `count` codes, each of the group that `groups` has for it.
/// `scales` and `zeros` have `count` numbers for each group.
#[inline(never)]
pub fn weights(
    codes: &[u8],
    count: usize,
    groups: &[usize],
    (scales, zeros): (&[f32], &[f32]),
    out: &mut [f32],
) {
    let lines = out.chunks_exact_mut(count).zip(codes.chunks_exact(count));
    for ((out, codes), group) in lines.zip(groups) {
        let numbers = group * count..(group + 1) * count;
        let numbers = scales[numbers.clone()].iter().zip(&zeros[numbers]);
        for ((x, code), (scale, zero)) in out.iter_mut().zip(codes).zip(numbers) {
            *x = scale * (f32::from(*code) - zero);
        }
    }
}

/// The first `columns` lines of `tile`, `count` values each, as columns of `out`, whose rows begin `row` values apart. Squares
/// of four are turned in registers.
#[inline(never)]
pub fn turned(tile: &[f32], count: usize, out: &mut [f32], row: usize, columns: usize) {
    const SIDE: usize = 4;
    let (high, wide) = (count / SIDE * SIDE, columns / SIDE * SIDE);
    let line = |i: usize, j: usize| -> [f32; SIDE] {
        let four = &tile[i * count + j..][..SIDE];
        [four[0], four[1], four[2], four[3]]
    };
    for j in (0..high).step_by(SIDE) {
        for i in (0..wide).step_by(SIDE) {
            let [a, b, c, d] = [line(i, j), line(i + 1, j), line(i + 2, j), line(i + 3, j)];
            for k in 0..SIDE {
                out[(j + k) * row + i..][..SIDE].copy_from_slice(&[a[k], b[k], c[k], d[k]]);
            }
        }
    }
    for j in 0..count {
        for i in if j < high { wide } else { 0 }..columns {
            out[j * row + i] = tile[i * count + j];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_any_size_are_turned() {
        for (count, columns, row) in [(1, 32, 40), (4, 8, 8), (7, 32, 33), (9, 5, 6), (64, 30, 32)] {
            let tile: Vec<f32> = (0..32 * count).map(|i| i as f32).collect();
            let mut out = vec![-1.0; (count - 1) * row + columns];
            turned(&tile, count, &mut out, row, columns);
            for (place, x) in out.iter().enumerate() {
                let (j, i) = (place / row, place % row);
                let due = if i < columns { (i * count + j) as f32 } else { -1.0 };
                assert_eq!(*x, due, "{count} {columns} {row}: {j} {i}");
            }
        }
    }

    /// Lines of 16 rows.
    const ROWS: usize = 16;

    fn line(words: Words) -> usize {
        words.bytes_of(&(0..ROWS)).end
    }

    /// The code of an input and a row, bit by bit.
    fn bitwise(words: Words, bytes: &[u8], input: usize, row: usize) -> u8 {
        let bits = words.bits() as usize;
        let bit = |line_: usize, bit: usize| bytes[line_ * line(words) + bit / 8] >> (bit % 8) & 1;
        let place = match words {
            Words::Awq => row / 8 * 8 + [0, 4, 1, 5, 2, 6, 3, 7][row % 8],
            _ => row,
        };
        let of = |b: usize| match words {
            Words::Down(_) => bit((input * bits + b) / 32, row * 32 + (input * bits + b) % 32),
            _ => bit(input, place * bits + b),
        };
        (0..bits).map(|b| of(b) << b).sum()
    }

    #[test]
    fn codes_are_found_wherever_the_rows_begin() {
        let downs = [2, 3, 4, 8].map(Words::Down);
        for words in downs.into_iter().chain([Words::Awq, Words::Along, Words::Bytes]) {
            let bytes: Vec<u8> = (0..32 * line(words)).map(|i| (i * 151 + i / 7 + 29) as u8).collect();
            for rows in [0..16, 3..5, 3..8, 8..16, 5..13] {
                for flip in [0, 1 << (words.bits() - 1)] {
                    let mut found = vec![0; 32 * rows.len()];
                    words.codes(flip, (&bytes, line(words)), 32, &rows, &mut found);
                    for (i, code) in found.iter().enumerate() {
                        let (input, row) = (i / rows.len(), rows.start + i % rows.len());
                        let due = bitwise(words, &bytes, input, row) ^ flip;
                        assert_eq!(*code, due, "{words:?} {rows:?} {input} {row}");
                    }
                }
            }
        }
    }

    #[test]
    fn zero_points_are_lifted_within_their_words() {
        for words in [Words::Down(2), Words::Down(3), Words::Down(4), Words::Along] {
            let bits = words.bits();
            // No code is the largest, so that none carries.
            let codes: Vec<u32> = (0..32).map(|i| (i * 5 + 1) % (mask(bits))).collect();
            let mut line = vec![0u8; 4 * bits as usize];
            for (i, code) in codes.iter().enumerate() {
                (0..bits as usize).for_each(|b| {
                    let bit = i * bits as usize + b;
                    line[bit / 8] |= ((code >> b & 1) << (bit % 8)) as u8;
                });
            }
            for lifted in [false, true] {
                let mut found = [0.0; 9];
                words.zeros((0, lifted), &line, &(10..19), &mut found);
                let due = codes[10..19].iter().map(|code| (code + u32::from(lifted)) as f32);
                assert!(found.into_iter().eq(due), "{words:?} {lifted}");
            }
        }
        let mut found = [0.0; 2];
        Words::Bytes.zeros((0x80, false), &[1, 2, 3], &(1..3), &mut found);
        assert_eq!(found, [130.0, 131.0]);
    }

    #[test]
    fn weights_are_of_the_groups_of_their_inputs() {
        let mut out = [0.0; 4];
        weights(&[1, 2, 3, 4], 2, &[1, 0], (&[1.0, 10.0, 100.0, 1000.0], &[0.0, 1.0, 2.0, 3.0]), &mut out);
        assert_eq!(out, [-100.0, -1000.0, 3.0, 30.0]);
    }
}
