//! Rows of a view that does not lie in one piece: transposed, narrowed, or strided in any other way. They are gathered
//! from the mapped file when they are read.

use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::mmap::Mapping;
use crate::tensor::Rows;
use std::ops::Range;

/// Where the elements lie. Whoever makes it has checked that all of them lie in the file.
pub struct Strided {
    pub file: Mapping,
    /// The first byte of the first element.
    pub start: usize,
    /// Bytes of an element.
    pub item: usize,
    /// Dimensions, the row length first, and for each the distance in elements.
    pub ne: Vec<usize>,
    pub strides: Vec<usize>,
}

impl Strided {
    fn row(&self) -> usize {
        self.ne.first().copied().unwrap_or(1)
    }

    /// The distance of the elements of a row.
    fn stride(&self) -> usize {
        match self.ne.first() {
            None | Some(0 | 1) => 1,
            Some(_) => self.strides.first().copied().unwrap_or(1),
        }
    }

    /// The byte where row `row` begins.
    fn begin(&self, mut row: usize) -> usize {
        let mut elements = 0;
        for (n, stride) in self.ne.iter().zip(&self.strides).skip(1) {
            elements += row % (*n).max(1) * stride;
            row /= (*n).max(1);
        }
        self.start + elements * self.item
    }

    /// The bytes of `row`, if its elements lie side by side.
    fn whole(&self, row: usize) -> Option<Range<usize>> {
        let begin = self.begin(row);
        (self.stride() == 1).then(|| begin..begin + self.row() * self.item)
    }

    fn short(&self) -> Error {
        Error::invalid("the data runs past the end of the file").file(self.file.path())
    }
}

impl Rows for Strided {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let bytes = self.file.bytes();
        let length = self.row() * self.item;
        if length == 0 {
            return Ok(());
        }
        if self.stride() == 1 {
            for (row, out) in rows.zip(out.chunks_exact_mut(length)) {
                let begin = self.begin(row);
                out.copy_from_slice(bytes.get(begin..begin + length).ok_or_else(|| self.short())?);
            }
            return Ok(());
        }
        // Column by column: of a transposed matrix, neighbouring rows lie side by side in the file.
        let begins: Vec<usize> = rows.map(|row| self.begin(row)).collect();
        for column in 0..self.row() {
            let (from, to) = (column * self.stride() * self.item, column * self.item);
            for (begin, out) in begins.iter().zip(out.chunks_exact_mut(length)) {
                let element =
                    bytes.get(begin + from..begin + from + self.item).ok_or_else(|| self.short())?;
                out[to..to + self.item].copy_from_slice(element);
            }
        }
        Ok(())
    }

    fn borrow(&self, rows: Range<usize>) -> Option<&[u8]> {
        match rows.len() {
            1 => self.file.bytes().get(self.whole(rows.start)?),
            _ => None,
        }
    }

    fn prefetch(&self, rows: Range<usize>) {
        for row in rows {
            let Some(place) = self.whole(row) else { return };
            self.file.prefetch(place);
        }
    }

    fn release(&self, rows: Range<usize>) {
        for row in rows {
            let Some(place) = self.whole(row) else { return };
            self.file.release(place);
        }
    }

    fn identify(&self, into: &mut Identity) {
        into.add(b"strided");
        into.numbers([self.start as u64, self.item as u64]);
        into.numbers(self.ne.iter().chain(&self.strides).map(|n| *n as u64));
    }
}
