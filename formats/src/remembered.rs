//! Rows that keep what was last read and decoded of them, a thread each: outputs of several types that ask for the same
//! rows in turn cause one reading and one decoding. `Tensor::remembered` makes them.

use crate::error::Result;
use crate::tensor::{Fours, Rows, Tensor};
use crate::write::Identity;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows that are asked for several times in turn.
struct Remembered {
    id: u64,
    source: Tensor,
}

/// What a thread knows of the rows that it was asked for last.
#[derive(Default)]
struct Last {
    /// Of which tensor, and which rows.
    of: Option<(u64, Range<usize>)>,
    /// Their bytes and their values; empty where they are not known.
    bytes: Vec<u8>,
    values: Vec<f32>,
}

thread_local! {
    static LAST: RefCell<Last> = RefCell::default();
}

impl Remembered {
    /// Calls `f` with what is known of `rows`. It is taken out meanwhile, for the source may remember, too.
    fn with<T>(&self, rows: &Range<usize>, f: impl FnOnce(&mut Last) -> Result<T>) -> Result<T> {
        let mut last = LAST.take();
        let of = Some((self.id, rows.clone()));
        if last.of != of {
            last.of = of;
            last.bytes.clear();
            last.values.clear();
        }
        let result = f(&mut last);
        LAST.set(last);
        result
    }

    /// The bytes of `rows`, read if they are not known.
    fn bytes<'a>(&self, rows: &Range<usize>, last: &'a mut Last) -> Result<&'a [u8]> {
        if last.bytes.is_empty() {
            last.bytes.resize(rows.len() * self.source.row_bytes(), 0);
            if let Err(e) = self.source.read(rows.clone(), &mut last.bytes) {
                last.bytes.clear();
                return Err(e);
            }
        }
        Ok(&last.bytes)
    }
}

impl Rows for Remembered {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        if let Some(bytes) = self.source.lent(rows.clone()) {
            out.copy_from_slice(bytes);
            return Ok(());
        }
        self.with(&rows, |last| {
            out.copy_from_slice(self.bytes(&rows, last)?);
            Ok(())
        })
    }

    fn borrow(&self, rows: Range<usize>) -> Option<&[u8]> {
        self.source.lent(rows)
    }

    fn decode(&self, rows: Range<usize>, out: &mut [f32]) -> Result<bool> {
        self.with(&rows, |last| {
            if last.values.len() == out.len() {
                out.copy_from_slice(&last.values);
                return Ok(true);
            }
            match self.source.lent(rows.clone()) {
                Some(bytes) => self.source.dtype().decode(bytes, out)?,
                None => self.source.dtype().decode(self.bytes(&rows, last)?, out)?,
            }
            last.values.clear();
            last.values.extend_from_slice(out);
            Ok(true)
        })
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.source.prefetch(rows);
    }

    fn origin(&self) -> Option<Tensor> {
        self.source.origin()
    }

    fn fours(&self) -> Option<Fours> {
        self.source.fours()
    }

    fn release(&self, rows: Range<usize>) {
        self.source.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        self.source.identify(into);
    }
}

impl Tensor {
    /// The same tensor, for several outputs that are written at once.
    ///
    /// # Errors
    /// Never, for what has a shape and a dtype has them still.
    pub fn remembered(self) -> Result<Tensor> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (name, shape, dtype) = (self.name.clone(), *self.shape(), self.dtype());
        Tensor::new(&name, shape, dtype, Arc::new(Remembered { id, source: self }))
    }
}
