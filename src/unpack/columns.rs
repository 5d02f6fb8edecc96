//! Weights whose codes lie column by column, as GPTQ and AWQ have them: a row of codes is an input of the layer, a column
//! is a row of the weight. They are gathered in tiles of 32 inputs, so that no more than some rows are ever decoded.

use super::coded::in_range;
use super::grid::torch;
use super::numbers::{elements, mask, spread, with_bytes};
use super::rows::Packed;
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Tensor};
use std::ops::Range;

/// Inputs of a tile: they fill whole words, whatever the bits.
const TILE: usize = 32;

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

/// The parts of such a weight.
pub struct Columns {
    pub words: Words,
    pub codes: Tensor,
    /// Zero points, packed along the rows of the weight.
    pub zeros: Tensor,
    /// Whether one is added to each zero point, in the words.
    pub lifted: bool,
    /// The bits that are flipped in codes and zero points alike: the sign of signed ones, so that both grow from 0.
    pub flip: u8,
    pub scales: Tensor,
    /// The group of each input, if they are not in order.
    pub order: Option<Tensor>,
    /// Inputs of a group.
    pub group: usize,
    /// Inputs and outputs of the layer: columns and rows of the weight.
    pub inputs: usize,
    pub outputs: usize,
    pub groups: usize,
}

impl Columns {
    /// Checks that the parts fit each other.
    pub fn checked(self) -> Result<Columns> {
        let bits = self.bits() as usize;
        let code_words = match self.words {
            Words::Down(_) => [self.inputs.saturating_mul(bits).div_ceil(32), self.outputs],
            Words::Awq | Words::Along => [self.inputs, self.outputs.div_ceil(8)],
            Words::Bytes => [self.inputs, self.outputs],
        };
        let (zero_words, dtypes) = match self.words {
            Words::Bytes => ([self.groups, self.outputs], [DType::I8, DType::U8]),
            _ => ([self.groups, self.outputs.saturating_mul(bits).div_ceil(32)], [DType::I32, DType::U32]),
        };
        fits(&self.codes, &dtypes, &code_words)?;
        fits(&self.zeros, &dtypes, &zero_words)?;
        fits(&self.scales, &[DType::F16, DType::BF16, DType::F32], &[self.groups, self.outputs])?;
        if let Some(order) = &self.order {
            fits(order, &[DType::I32, DType::I64], &[self.inputs])?;
        } else if self.group == 0 || self.inputs.div_ceil(self.group) > self.groups {
            return Err(Error::invalid("there are too few groups of scales for these codes")
                .tensor(&self.scales.name)
                .expected(format!("{} inputs in groups of {}", self.inputs, self.group))
                .found(format!("{} groups", self.groups)));
        }
        Ok(self)
    }

    /// The eight codes of 4 bits in a word, in the order of their columns.
    fn eight(&self, word: u32) -> [u8; 8] {
        let codes = spread::<4>(u64::from(word)) ^ (u64::from(self.flip) * 0x0101_0101_0101_0101);
        let [a, b, c, d, e, f, g, h] = codes.to_le_bytes();
        if self.words == Words::Awq { [a, e, b, f, c, g, d, h] } else { [a, b, c, d, e, f, g, h] }
    }

    fn bits(&self) -> u32 {
        match self.words {
            Words::Down(bits) => bits,
            Words::Awq | Words::Along => 4,
            Words::Bytes => 8,
        }
    }

    /// The group of each input.
    fn group_of(&self) -> Result<Vec<usize>> {
        match &self.order {
            Some(order) => in_range(order, self.inputs, self.groups),
            None => Ok((0..self.inputs).map(|i| i / self.group).collect()),
        }
    }

    /// The zero points of `rows` of the weight in a group.
    fn zeros(&self, group: usize, rows: &Range<usize>, out: &mut [f32]) -> Result<()> {
        let (bits, each) = (self.bits(), self.zeros.shape().row() as usize);
        if self.words == Words::Bytes {
            return with_bytes(&self.zeros, group * each + rows.start..group * each + rows.end, |bytes| {
                out.iter_mut().zip(bytes).for_each(|(zero, b)| *zero = f32::from(b ^ self.flip));
                Ok(())
            });
        }
        let first = rows.start * bits as usize / 32;
        let places = first..(rows.end * bits as usize).div_ceil(32).min(each);
        let bytes = (group * each + places.start) * 4..(group * each + places.end) * 4;
        let words: Vec<u32> = with_bytes(&self.zeros, bytes, |b| Ok(self.lifted(b)))?;
        for (zero, row) in out.iter_mut().zip(rows.clone()) {
            let code = match self.words {
                Words::Awq | Words::Along => u32::from(self.eight(words[row / 8 - first])[row % 8]),
                _ => field(&words, row * bits as usize - first * 32, bits),
            };
            // The codes of three bits that lie in two words have no carry among words.
            *zero = (if self.lifted && bits == 3 { (code + 1) & mask(3) } else { code }) as f32;
        }
        Ok(())
    }

    /// Words of zero points, to each of which one has been added where that is due.
    fn lifted(&self, bytes: &[u8]) -> Vec<u32> {
        let bits = self.bits();
        let ones = match self.lifted && bits != 3 {
            true => (0..32 / bits).map(|i| 1 << (i * bits)).sum(),
            false => 0u32,
        };
        bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b).wrapping_add(ones)).collect()
    }

    /// The codes of `inputs` in `rows` of the weight, an input after the other.
    fn tile(
        &self,
        inputs: Range<usize>,
        rows: &Range<usize>,
        words: &mut Vec<u32>,
        out: &mut [u8],
    ) -> Result<()> {
        let (bits, count) = (self.bits() as usize, rows.len());
        let row = self.codes.row_bytes();
        if self.words == Words::Bytes {
            for (input, out) in inputs.zip(out.chunks_exact_mut(count)) {
                with_bytes(&self.codes, input * row + rows.start..input * row + rows.end, |bytes| {
                    out.iter_mut().zip(bytes).for_each(|(code, b)| *code = b ^ self.flip);
                    Ok(())
                })?;
            }
            return Ok(());
        }
        let (lines, places) = match self.words {
            Words::Down(_) => (inputs.start * bits / 32..(inputs.end * bits).div_ceil(32), rows.clone()),
            _ => (inputs.clone(), rows.start / 8..rows.end.div_ceil(8)),
        };
        words.clear();
        for line in lines {
            let start = line * row;
            with_bytes(&self.codes, start + places.start * 4..start + places.end * 4, |bytes| {
                words.extend(bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)));
                Ok(())
            })?;
        }
        for (i, out) in out.chunks_exact_mut(count).take(inputs.len()).enumerate() {
            match self.words {
                Words::Down(_) => down(words, i * bits, bits as u32, out),
                _ => {
                    let words = &words[i * places.len()..(i + 1) * places.len()];
                    // The first word may begin before the rows.
                    let before = rows.start % 8;
                    let (first, rest) = out.split_at_mut(count.min(8 - before));
                    let copy = |out: &mut [u8], found: &[u8]| {
                        out.iter_mut().zip(found).for_each(|(code, found)| *code = *found);
                    };
                    copy(first, &self.eight(words.first().copied().unwrap_or(0))[before..]);
                    rest.chunks_mut(8)
                        .zip(words.iter().skip(1))
                        .for_each(|(out, word)| copy(out, &self.eight(*word)));
                }
            }
        }
        Ok(())
    }
}

/// The codes that begin at this bit of their column, one of each column; `words` has a row for each 32 bits.
fn down(words: &[u32], bit: usize, bits: u32, out: &mut [u8]) {
    let (word, shift) = (bit / 32, (bit % 32) as u32);
    let low = &words[word * out.len()..(word + 1) * out.len()];
    let mask = mask(bits);
    out.iter_mut().zip(low).for_each(|(code, low)| *code = (low >> shift & mask) as u8);
    if shift + bits > 32 {
        let high = &words[(word + 1) * out.len()..(word + 2) * out.len()];
        out.iter_mut().zip(high).for_each(|(code, high)| *code |= (high << (32 - shift) & mask) as u8);
    }
}

/// `bits` bits from this one on.
fn field(words: &[u32], bit: usize, bits: u32) -> u32 {
    let (word, shift) = (bit / 32, bit % 32);
    let both = u64::from(words[word]) | u64::from(words.get(word + 1).copied().unwrap_or(0)) << 32;
    (both >> shift) as u32 & mask(bits)
}

/// The first `columns` lines of `tile`, `count` values each, as columns of `out`, whose rows begin `row` values apart. Squares
/// of four are turned in registers.
fn turned(tile: &[f32], count: usize, out: &mut [f32], row: usize, columns: usize) {
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

impl Packed for Columns {
    /// Words of many rows lie together.
    const VALUES: usize = 1 << 18;

    fn decode(&self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let (count, inputs) = (rows.len(), self.inputs);
        let group_of = self.group_of()?;
        let (mut scales, mut zeros) = (vec![0f32; self.groups * count], vec![0f32; self.groups * count]);
        let lines = scales.chunks_exact_mut(count).zip(zeros.chunks_exact_mut(count));
        for (group, (scales, zeros)) in lines.enumerate() {
            let first = group * self.outputs;
            elements(&self.scales, self.scales.dtype(), first + rows.start..first + rows.end, scales)?;
            self.zeros(group, &rows, zeros)?;
        }
        let (mut words, mut codes, mut tile) =
            (Vec::new(), vec![0u8; TILE * count], vec![0f32; TILE * count]);
        for start in (0..inputs).step_by(TILE) {
            let end = inputs.min(start + TILE);
            self.tile(start..end, &rows, &mut words, &mut codes)?;
            let lines = tile.chunks_exact_mut(count).zip(codes.chunks_exact(count));
            for ((values, codes), group) in lines.zip(&group_of[start..end]) {
                let numbers = group * count..(group + 1) * count;
                let numbers = scales[numbers.clone()].iter().zip(&zeros[numbers]);
                for ((x, code), (scale, zero)) in values.iter_mut().zip(codes).zip(numbers) {
                    *x = scale * (f32::from(*code) - zero);
                }
            }
            turned(&tile, count, &mut out[start..], inputs, end - start);
        }
        Ok(())
    }

    fn parts(&self, rows: Range<usize>, f: &mut dyn FnMut(&Tensor, Range<usize>)) {
        // Every row needs something of every row of codes: all are told at the ends.
        if rows.start == 0 || rows.end == self.outputs {
            let parts = [&self.codes, &self.zeros, &self.scales].into_iter().chain(&self.order);
            parts.for_each(|part| f(part, 0..usize::try_from(part.shape().rows()).unwrap_or(0)));
        }
    }

    fn describe(&self, into: &mut Identity) {
        into.add(format!("{:?}", self.words).as_bytes());
        let sizes = [self.group, self.inputs, self.outputs, self.groups, usize::from(self.lifted)];
        into.numbers(sizes.map(|n| n as u64));
        into.numbers([u64::from(self.flip)]);
    }
}

/// Refuses a part of another dtype or shape.
pub fn fits(part: &Tensor, dtypes: &[DType], shape: &[usize]) -> Result<()> {
    let due: Vec<u64> = shape.iter().map(|n| *n as u64).collect();
    let found = torch(part);
    if dtypes.contains(&part.dtype()) && found == due {
        return Ok(());
    }
    let names: Vec<String> = dtypes.iter().map(DType::to_string).collect();
    Err(Error::invalid("a part of packed weights does not fit the others")
        .tensor(&part.name)
        .expected(format!("{} {due:?}", names.join(" or ")))
        .found(format!("{} {found:?}", part.dtype()))
        .hint("the download is incomplete, or config.json is of another model"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_any_size_are_turned() {
        for (count, columns, row) in [(1, 32, 40), (4, 8, 8), (7, 32, 33), (9, 5, 6), (64, 30, 32)] {
            let tile: Vec<f32> = (0..TILE * count).map(|i| i as f32).collect();
            let mut out = vec![-1.0; (count - 1) * row + columns];
            turned(&tile, count, &mut out, row, columns);
            for (place, x) in out.iter().enumerate() {
                let (j, i) = (place / row, place % row);
                let due = if i < columns { (i * count + j) as f32 } else { -1.0 };
                assert_eq!(*x, due, "{count} {columns} {row}: {j} {i}");
            }
        }
    }
}
