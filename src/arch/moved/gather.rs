//! Elements that are scattered over a source, gathered in tiles that fit the nearest cache.

use super::{RUN, TILE, Walk};
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
            2 => self.tiles::<2>(bytes, from, walk, out),
            4 => self.tiles::<4>(bytes, from, walk, out),
            8 => self.tiles::<8>(bytes, from, walk, out),
            _ => self.tiles::<1>(bytes, from, walk, out),
        }
    }

    fn tiles<const N: usize>(&mut self, bytes: &[u8], from: usize, walk: Walk, out: &mut [u8]) {
        let (source, _) = bytes.as_chunks::<N>();
        let (out, _) = out.as_chunks_mut::<N>();
        if self.step == 1 && walk.to == 1 {
            return self.turned(source, from, walk, out);
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
    /// of a cache can be kept: so every line is read once, and put together in a tile that lies dense.
    fn turned<const N: usize>(&self, source: &[[u8; N]], from: usize, walk: Walk, out: &mut [[u8; N]]) {
        let height = RUN / N.max(1);
        let mut tile = vec![[0; N]; height * TILE];
        for first in (0..self.count).step_by(height) {
            let rows = height.min(self.count - first);
            for start in (0..walk.size).step_by(TILE) {
                let columns = TILE.min(walk.size - start);
                let run = |j: usize| {
                    let place = from + first + (start + j) * walk.from;
                    &source[place..place + rows]
                };
                let mut j = 0;
                while j + 4 <= columns {
                    let (a, b, c, d) = (run(j), run(j + 1), run(j + 2), run(j + 3));
                    let lines = tile.as_chunks_mut::<TILE>().0.iter_mut().zip(a).zip(b).zip(c).zip(d);
                    for ((((line, a), b), c), d) in lines {
                        line[j..j + 4].copy_from_slice(&[*a, *b, *c, *d]);
                    }
                    j += 4;
                }
                for j in j..columns {
                    let lines = tile.as_chunks_mut::<TILE>().0.iter_mut().zip(run(j));
                    lines.for_each(|(line, x)| line[j] = *x);
                }
                for (i, line) in tile.as_chunks::<TILE>().0.iter().take(rows).enumerate() {
                    let to = (first + i) * self.row + start;
                    out[to..to + columns].copy_from_slice(&line[..columns]);
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
