//! Elements that are scattered over a source, gathered in tiles that fit the nearest cache. Serves tensors that are moved:
//! permuted, transposed, interleaved.

/// Rows, and columns, of a tile that is gathered.
const TILE: usize = 32;

/// Bytes of a run of the source that a tile takes at once, where it turns rows into columns: some lines of the cache, and
/// few pages.
pub const RUN: usize = 256;

/// Words that a row of such a tile is put together of: a line of the cache, where a word has eight bytes.
const WORDS: usize = 8;

/// So many rows of scattered elements.
pub struct Gather {
    /// Bytes of an element: 1, 2, 4 or 8.
    pub unit: usize,
    /// From the first element of one row of the result to that of the next.
    pub row: usize,
    pub count: usize,
    /// From the elements of one row to those of the next, in the source.
    pub step: usize,
}

/// Elements of a row, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Along {
    pub size: usize,
    /// From one to the next, in the source and in the result.
    pub from: usize,
    pub to: usize,
}

impl Gather {
    /// The elements along `walk` from element `from` of the source on, whose `bytes` lie in one piece.
    #[inline(never)]
    pub fn gather(&self, bytes: &[u8], from: usize, walk: Along, out: &mut [u8]) {
        match self.unit {
            2 => self.tiles::<2, 4>(bytes, from, walk, out),
            4 => self.tiles::<4, 2>(bytes, from, walk, out),
            8 => self.tiles::<8, 1>(bytes, from, walk, out),
            _ => self.tiles::<1, 4>(bytes, from, walk, out),
        }
    }

    fn tiles<const N: usize, const G: usize>(&self, bytes: &[u8], from: usize, walk: Along, out: &mut [u8]) {
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
    fn turned<T: Copy, const G: usize>(
        &self,
        source: &[T],
        zero: T,
        from: usize,
        walk: Along,
        out: &mut [T],
    ) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Against one element after the other, for steps of every kind.
    #[test]
    fn every_element_comes_to_its_place() {
        let source: Vec<u8> = (0..8 * 4000).map(|i| (i * 37 + i / 251) as u8).collect();
        for unit in [1, 2, 4, 8] {
            for (row, count, step, walk) in [
                (40, 60, 1, Along { size: 40, from: 60, to: 1 }),
                (7, 33, 1, Along { size: 7, from: 35, to: 1 }),
                (90, 30, 90, Along { size: 45, from: 2, to: 1 }),
                (90, 30, 1, Along { size: 45, from: 40, to: 2 }),
            ] {
                let gather = Gather { unit, row, count, step };
                let mut found = vec![0; unit * row * count];
                gather.gather(&source, 5, walk, &mut found);
                let mut due = vec![0; unit * row * count];
                for (i, j) in (0..count).flat_map(|i| (0..walk.size).map(move |j| (i, j))) {
                    let (from, to) = (5 + i * step + j * walk.from, i * row + j * walk.to);
                    let element = &source[from * unit..(from + 1) * unit];
                    due[to * unit..(to + 1) * unit].copy_from_slice(element);
                }
                assert_eq!(found, due, "{unit} {walk:?}");
            }
        }
    }
}
