//! Rows that are computed from several models: each source is decoded from its own dtype to f64, the method
//! combines them, and the result is rounded once to f32. Nothing is stored in between.

use super::{Method, Term};
use ggraft_formats::{Error, Result, Rows, Tensor};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The tensors that are merged into one.
pub(super) struct Sources {
    id: u64,
    pub onto: Tensor,
    /// Chat and base of each vector.
    pub pairs: Vec<(Tensor, Tensor)>,
}

/// Some rows of all sources, decoded.
struct Decoded {
    /// Which sources, and which of their rows.
    of: (u64, Range<usize>),
    onto: Vec<f64>,
    pairs: Vec<(Vec<f64>, Vec<f64>)>,
}

thread_local! {
    /// What this thread decoded last: outputs of several weights and types ask for the same rows in turn.
    static LAST: RefCell<Option<Decoded>> = const { RefCell::new(None) };
}

impl Sources {
    pub fn new(onto: Tensor, pairs: Vec<(Tensor, Tensor)>) -> Sources {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Sources { id: NEXT.fetch_add(1, Ordering::Relaxed), onto, pairs }
    }

    /// Calls `f` with `rows` of all sources.
    fn with<T>(&self, rows: &Range<usize>, f: impl FnOnce(&Decoded) -> Result<T>) -> Result<T> {
        let of = (self.id, rows.clone());
        LAST.with_borrow_mut(|last| match last {
            Some(decoded) if decoded.of == of => f(decoded),
            _ => f(last.insert(self.decode(rows, of)?)),
        })
    }

    fn decode(&self, rows: &Range<usize>, of: (u64, Range<usize>)) -> Result<Decoded> {
        let count = rows.len() * self.onto.row_elements()?;
        let one = |t: &Tensor| -> Result<Vec<f64>> {
            let mut values = vec![0.0; count];
            t.decode_rows_f64(rows.clone(), &mut values)?;
            Ok(values)
        };
        let mut pairs = Vec::with_capacity(self.pairs.len());
        for (chat, base) in &self.pairs {
            pairs.push((one(chat)?, one(base)?));
        }
        Ok(Decoded { of, onto: one(&self.onto)?, pairs })
    }
}

/// F32 rows of the output.
pub(super) struct Merged {
    pub sources: Arc<Sources>,
    /// One a vector.
    pub weights: Vec<f64>,
    pub method: &'static Method,
}

impl Rows for Merged {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let values = self.sources.with(&rows, |decoded| {
            let mut values = decoded.onto.clone();
            let pairs = decoded.pairs.iter().zip(&self.weights);
            let terms: Vec<Term<'_>> =
                pairs.map(|((chat, base), w)| Term { chat, base, weight: *w }).collect();
            (self.method.combine)(&mut values, &terms);
            Ok(values)
        })?;
        for (i, (bytes, x)) in out.as_chunks_mut().0.iter_mut().zip(&values).enumerate() {
            let x = *x as f32;
            if !x.is_finite() {
                return Err(self.overflow(rows.start, i, x));
            }
            *bytes = x.to_le_bytes();
        }
        Ok(())
    }

    fn release(&self, rows: Range<usize>) {
        self.sources.onto.release(rows.clone());
        for (chat, base) in &self.sources.pairs {
            chat.release(rows.clone());
            base.release(rows.clone());
        }
    }
}

impl Merged {
    fn overflow(&self, first_row: usize, i: usize, found: f32) -> Error {
        let onto = &self.sources.onto;
        let row = usize::try_from(onto.shape().row()).unwrap_or(usize::MAX).max(1);
        Error::invalid("the merged weight is not finite")
            .tensor(&onto.name)
            .found(format!("{found} at row {}, column {}", first_row + i / row, i % row))
            .mend("choose a smaller --weight")
    }
}
