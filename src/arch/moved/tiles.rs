//! What was gathered and not yet asked for. Elements that lie scattered come a line of the cache at a time, so rows that
//! are read a few at a time are gathered many at a time, and each thread keeps those until it has read them.

use ggraft_formats::Result;
use ggraft_formats::gather::RUN;
use ggraft_formats::write::CHUNK;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};

/// The rows that threads have gathered of one tensor, and are reading.
pub struct Tiles {
    /// So many rows are gathered at a time: no more than a thread writes.
    height: usize,
    rows: usize,
    row_bytes: usize,
    held: Mutex<HashMap<ThreadId, Tile>>,
}

struct Tile {
    rows: Range<usize>,
    bytes: Vec<u8>,
}

impl Tiles {
    /// Of a tensor with so many rows of so many elements of `unit` bytes.
    pub fn new(rows: usize, row: usize, unit: usize) -> Tiles {
        let height = (CHUNK / row.max(1)).clamp(1, RUN / unit.max(1));
        Tiles { height, rows, row_bytes: row * unit, held: Mutex::default() }
    }

    /// Reads `rows` into `out`; `gather` does the same, at the same cost for a few rows as for many.
    pub fn read(
        &self,
        rows: Range<usize>,
        out: &mut [u8],
        gather: impl Fn(Range<usize>, &mut [u8]) -> Result<()>,
    ) -> Result<()> {
        if rows.len() >= self.height {
            return gather(rows, out);
        }
        let thread = thread::current().id();
        let mut tile = self.take(thread).unwrap_or(Tile { rows: 0..0, bytes: Vec::new() });
        let mut row = rows.start;
        while row < rows.end {
            if !tile.rows.contains(&row) {
                let first = row - row % self.height;
                let due = first..self.rows.min(first + self.height);
                tile.rows = 0..0;
                tile.bytes.resize(due.len() * self.row_bytes, 0);
                gather(due.clone(), &mut tile.bytes)?;
                tile.rows = due;
            }
            let end = rows.end.min(tile.rows.end);
            let within = |rows: Range<usize>, first: usize| {
                (rows.start - first) * self.row_bytes..(rows.end - first) * self.row_bytes
            };
            let bytes = &tile.bytes[within(row..end, tile.rows.start)];
            out[within(row..end, rows.start)].copy_from_slice(bytes);
            row = end;
        }
        self.lock().insert(thread, tile);
        Ok(())
    }

    /// Gives back what was gathered of `rows`.
    pub fn release(&self, rows: &Range<usize>) {
        self.lock().retain(|_, tile| tile.rows.end <= rows.start || tile.rows.start >= rows.end);
    }

    fn take(&self, thread: ThreadId) -> Option<Tile> {
        self.lock().remove(&thread)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ThreadId, Tile>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
