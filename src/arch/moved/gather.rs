//! Scattered elements of a source that does not lie in one piece: it is read row by row.

use super::Walk;
use ggraft_formats::gather::Gather;
use ggraft_formats::{Result, Tensor};

/// The elements along `walk`, of a source that is read row by row.
pub fn read(gather: &Gather, source: &mut Reader, from: usize, walk: Walk, out: &mut [u8]) -> Result<()> {
    let unit = gather.unit;
    for j in 0..walk.size {
        for i in 0..gather.count {
            let place = from + i * gather.step + j * walk.from;
            let to = (i * gather.row + j * walk.to) * unit;
            out[to..to + unit].copy_from_slice(source.element(place)?);
        }
    }
    Ok(())
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
