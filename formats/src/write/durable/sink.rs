//! What the rows of an output are written to: all of its files, or those bytes of them that one job of several writes.

use super::Journal;
use crate::error::Result;
use crate::write::layout::Layout;
use std::fs::File;
use std::ops::Range;

/// Where the rows of one output go.
pub trait Sink: Sync {
    /// What may be done with what a stopped run has left.
    const LEFT: &'static str;

    fn layout(&self) -> &Layout<'_>;

    /// Tells what is written, and what an earlier run has written.
    fn journal(&self) -> &Journal;

    /// The file at this place of the layout.
    fn to_read(&self, file: usize) -> Result<&File>;

    /// The same, to be written to; refused if it has its name already, or is no longer where it grows.
    fn to_write(&self, file: usize) -> Result<&File>;

    /// Which bytes of it this run writes.
    fn own(&self, file: usize) -> Range<u64>;
}
