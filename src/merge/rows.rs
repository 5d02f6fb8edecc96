//! Rows that are computed from several models: each source is decoded from its own dtype to f64, the method
//! combines them, and the result is rounded once to f32. Nothing is stored in between.

use super::method::{Method, Pair, Place, Term};
use super::{Params, survey};
use ggraft_formats::{Error, Result, Rows, Tensor};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The tensors that are merged into one, and how.
pub(super) struct Sources {
    id: u64,
    pub onto: Tensor,
    /// Chat and base of each vector.
    pub pairs: Vec<(Tensor, Tensor)>,
    pub method: &'static Method,
    pub params: Params,
    /// What the method must know of the whole tensor, once it was asked for.
    facts: OnceLock<Vec<f64>>,
}

/// Some rows of all sources, decoded.
pub(super) struct Decoded {
    /// Which sources, and which of their rows.
    of: (u64, Range<usize>),
    pub onto: Vec<f64>,
    /// Chat and base; no base, if the method reads none.
    pub pairs: Vec<(Vec<f64>, Vec<f64>)>,
}

impl Decoded {
    /// Each vector's values in this range of elements.
    pub fn pairs_at(&self, at: Range<usize>) -> Vec<Pair<'_>> {
        let all = self.pairs.iter();
        all.map(|(chat, base)| Pair { chat: part(chat, &at), base: part(base, &at) }).collect()
    }
}

fn part<'a>(values: &'a [f64], at: &Range<usize>) -> &'a [f64] {
    values.get(at.clone()).unwrap_or_default()
}

thread_local! {
    /// What this thread decoded last: outputs of several weights and types ask for the same rows in turn.
    static LAST: RefCell<Option<Decoded>> = const { RefCell::new(None) };
}

impl Sources {
    pub fn new(
        onto: Tensor,
        pairs: Vec<(Tensor, Tensor)>,
        method: &'static Method,
        params: Params,
    ) -> Sources {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Sources { id, onto, pairs, method, params, facts: OnceLock::new() }
    }

    pub fn name(&self) -> &str {
        &self.onto.name
    }

    pub fn vectors(&self) -> usize {
        self.pairs.len()
    }

    pub fn elements(&self) -> u64 {
        self.onto.shape().elements()
    }

    /// The row length.
    pub fn row(&self) -> Result<usize> {
        self.onto.row_elements()
    }

    pub fn rows(&self) -> Result<usize> {
        let rows = usize::try_from(self.onto.shape().rows());
        rows.map_err(|_| Error::invalid("the tensor has too many rows").tensor(self.name()))
    }

    /// What the method must know of the whole tensor; it is read for that when this is first asked.
    fn facts(&self) -> Result<&[f64]> {
        if self.facts.get().is_none()
            && let Some(found) = survey::in_turn(self, || self.facts.get().is_some())?
        {
            return Ok(self.facts.get_or_init(|| found));
        }
        Ok(self.facts.get().map_or(&[], Vec::as_slice))
    }

    /// Calls `f` with `rows` of all sources.
    fn with<T>(&self, rows: &Range<usize>, f: impl FnOnce(&Decoded) -> Result<T>) -> Result<T> {
        let of = (self.id, rows.clone());
        LAST.with_borrow_mut(|last| match last {
            Some(decoded) if decoded.of == of => f(decoded),
            _ => f(last.insert(self.decode(rows)?)),
        })
    }

    /// Gives back what was mapped of these rows.
    pub fn release(&self, rows: &Range<usize>) {
        self.onto.release(rows.clone());
        for (chat, base) in &self.pairs {
            chat.release(rows.clone());
            base.release(rows.clone());
        }
    }

    pub fn decode(&self, rows: &Range<usize>) -> Result<Decoded> {
        let count = rows.len() * self.row()?;
        let one = |t: &Tensor| -> Result<Vec<f64>> {
            let mut values = vec![0.0; count];
            t.decode_rows_f64(rows.clone(), &mut values)?;
            Ok(values)
        };
        let mut pairs = Vec::with_capacity(self.pairs.len());
        for (chat, base) in &self.pairs {
            let base = if self.method.reads_base { one(base)? } else { Vec::new() };
            pairs.push((one(chat)?, base));
        }
        Ok(Decoded { of: (self.id, rows.clone()), onto: one(&self.onto)?, pairs })
    }
}

/// F32 rows of the output.
pub(super) struct Merged {
    pub sources: Arc<Sources>,
    /// One a vector.
    pub weights: Vec<f64>,
    /// What the rules multiply them with.
    pub factor: f64,
}

impl Rows for Merged {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let sources = &self.sources;
        let place = Place {
            tensor: sources.name(),
            first: rows.start as u64 * sources.row()? as u64,
            params: &sources.params,
            facts: sources.facts()?,
        };
        let values = sources.with(&rows, |decoded| {
            let mut values = decoded.onto.clone();
            let pairs = decoded.pairs.iter().zip(&self.weights);
            let terms: Vec<Term<'_>> = pairs
                .map(|((chat, base), w)| Term { chat, base, weight: w * self.factor, share: *w })
                .collect();
            (sources.method.combine)(&mut values, &terms, &place);
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
        self.sources.release(&rows);
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
