//! A table of tokens with more rows than the checkpoint holds.

use ggraft_formats::write::Identity;
use ggraft_formats::{Result, Rows, Tensor};
use std::ops::Range;

/// Rows of zeros.
pub struct Zeros;

impl Rows for Zeros {
    fn read(&self, _: Range<usize>, out: &mut [u8]) -> Result<()> {
        out.fill(0);
        Ok(())
    }

    fn identify(&self, into: &mut Identity) {
        into.add(b"zeros");
    }
}

/// A table with rows of zeros after its own.
pub struct Padded(pub Tensor);

impl Padded {
    /// Those of `rows` that the table has.
    fn held(&self, rows: &Range<usize>) -> Range<usize> {
        let held = usize::try_from(self.0.shape().rows()).unwrap_or(usize::MAX);
        rows.start.min(held)..rows.end.min(held)
    }
}

impl Rows for Padded {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let held = self.held(&rows);
        let (own, zeros) = out.split_at_mut(held.len() * self.0.row_bytes());
        zeros.fill(0);
        if held.is_empty() { Ok(()) } else { self.0.read(held, own) }
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.0.prefetch(self.held(&rows));
    }

    fn release(&self, rows: Range<usize>) {
        self.0.release(self.held(&rows));
    }

    fn identify(&self, into: &mut Identity) {
        into.add(b"padded");
        self.0.identify(into);
    }
}
