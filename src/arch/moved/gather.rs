//! Elements that are scattered over a source, gathered in tiles that fit the nearest cache.

use super::{RUN, TILE, WORDS, Walk};
use ggraft_formats::{Result, Tensor};

/// So many rows of scattered elements.
pub struct Gather {
    pub unit: usize,
    pub row: usize,
    pub count: usize,
    /// From the elements of one row to those of the next, in the source.
    pub step: usize,
}

impl Gather {
    /// The elements along `walk`, of a source that lies in one piece.
    pub fn lent(&mut self, bytes: &[u8], from: usize, walk: Walk, out: &mut [u8]) {
        match self.unit {
            2 => self.tiles::<2, 4>(bytes, from, walk, out),
            4 => self.tiles::<4, 2>(bytes, from, walk, out),
            8 => self.tiles::<8, 1>(bytes, from, walk, out),
            _ => self.tiles::<1, 4>(bytes, from, walk, out),
        }
    }

    fn tiles<const N: usize, const G: usize>(&self, bytes: &[u8], from: usize, walk: Walk, out: &mut [u8]) {
        let (source, _) = bytes.as_chunks::<N>();
        let (out, _) = out.as_chunks_mut::<N>();
        if self.step == 1 && walk.to == 1 {
            return self.turned::<_, G>(source, [0; N], from, walk, out);
        }
        for first in (0..self.count).step_by(TILE) {
            let rows = first..self.count.min(first + TILE);
            for start in (0..walk.size).step_by(TILE) {
                for i in rows.clone() {
                    let columns = start..walk.size.min(start + TILE);
                    let mut place = from + i * self.step + start * walk.from;
                    for j in columns {
                        out[i * self.row + j * walk.to] = source[place];
                        place += walk.from;
                    }
                }
            }
        }
    }

    /// A tile at a time of what is transposed. Columns of the source lie a row apart, often a power of two, where few lines
    /// of a cache can be kept: so every run is read once, `G` of them become one run of words, and a row of the result
    /// takes a word of each.
    fn turned<T: Copy, const G: usize>(&self, source: &[T], zero: T, from: usize, walk: Walk, out: &mut [T]) {
        let height = RUN / size_of::<T>();
        let mut tile = vec![[zero; G]; WORDS * height];
        for first in (0..self.count).step_by(height) {
            let rows = height.min(self.count - first);
            for start in (0..walk.size).step_by(WORDS * G) {
                let columns = (WORDS * G).min(walk.size - start);
                let run = |j: usize| {
                    let place = from + first + (start + j.min(columns - 1)) * walk.from;
                    &source[place..place + rows]
                };
                for (j, words) in tile.chunks_exact_mut(height).enumerate() {
                    interleave(std::array::from_fn(|k| run(j * G + k)), &mut words[..rows]);
                }
                let lines: [&[[T; G]]; WORDS] = std::array::from_fn(|j| &tile[j * height..][..rows]);
                let outs = out[first * self.row + start..].chunks_mut(self.row).take(rows);
                for (i, out) in outs.enumerate() {
                    let whole: [[T; G]; WORDS] = std::array::from_fn(|j| lines[j][i]);
                    let out = &mut out[..columns];
                    match out.as_chunks_mut::<G>().0.as_chunks_mut::<WORDS>().0 {
                        [words] => *words = whole,
                        _ => out.copy_from_slice(&whole.as_flattened()[..columns]),
                    }
                }
            }
        }
    }

    /// The elements along `walk`, of a source that is read row by row.
    pub fn read(&mut self, source: &mut Reader, from: usize, walk: Walk, out: &mut [u8]) -> Result<()> {
        let unit = self.unit;
        for j in 0..walk.size {
            for i in 0..self.count {
                let place = from + i * self.step + j * walk.from;
                let to = (i * self.row + j * walk.to) * unit;
                out[to..to + unit].copy_from_slice(source.element(place)?);
            }
        }
        Ok(())
    }
}

/// Makes one run of words of `G` runs. (An indexed loop: this form becomes vector instructions.)
fn interleave<T: Copy, const G: usize>(runs: [&[T]; G], words: &mut [[T; G]]) {
    let runs = runs.map(|run| &run[..words.len()]);
    for (i, word) in words.iter_mut().enumerate() {
        for k in 0..G {
            word[k] = runs[k][i];
        }
    }
}

/// A source of which one row is at hand.
pub struct Reader<'a> {
    source: &'a Tensor,
    elements: usize,
    row: Option<usize>,
    bytes: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a Tensor) -> Result<Reader<'a>> {
        let elements = source.row_elements()?.max(1);
        Ok(Reader { source, elements, row: None, bytes: vec![0; source.row_bytes()] })
    }

    pub fn element(&mut self, place: usize) -> Result<&[u8]> {
        let row = place / self.elements;
        if self.row != Some(row) {
            self.row = None;
            self.source.read(row..row + 1, &mut self.bytes)?;
            self.row = Some(row);
        }
        let unit = self.bytes.len() / self.elements;
        let start = place % self.elements * unit;
        Ok(&self.bytes[start..start + unit])
    }
}
