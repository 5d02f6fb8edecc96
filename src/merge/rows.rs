//! Rows that are computed from several models: each source is decoded from its own dtype to f64, the method
//! combines them, and the result is rounded once to f32. Nothing is stored in between.

use super::method::{Method, Pair, Place, Term};
use super::{Params, survey};
use ggraft_formats::simd::vectorized;
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
#[derive(Default)]
pub(super) struct Decoded {
    /// Which sources, and which of their rows; none yet, or none that could be decoded.
    of: Option<(u64, Range<usize>)>,
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
    static LAST: RefCell<Decoded> = RefCell::default();
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
        LAST.with_borrow_mut(|last| {
            if last.of.as_ref() != Some(&(self.id, rows.clone())) {
                self.decode_into(rows, last)?;
            }
            f(last)
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
        let mut decoded = Decoded::default();
        self.decode_into(rows, &mut decoded)?;
        Ok(decoded)
    }

    /// Decodes `rows` of all sources into what another decoding has left.
    fn decode_into(&self, rows: &Range<usize>, decoded: &mut Decoded) -> Result<()> {
        decoded.of = None;
        let count = rows.len() * self.row()?;
        let fill = |t: &Tensor, values: &mut Vec<f64>| {
            values.resize(count, 0.0);
            t.decode_rows_f64(rows.clone(), values)
        };
        fill(&self.onto, &mut decoded.onto)?;
        decoded.pairs.resize_with(self.pairs.len(), Default::default);
        for ((chat, base), (chats, bases)) in self.pairs.iter().zip(&mut decoded.pairs) {
            fill(chat, chats)?;
            if self.method.reads_base {
                fill(base, bases)?;
            } else {
                bases.clear();
            }
        }
        decoded.of = Some((self.id, rows.clone()));
        Ok(())
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
        let finite = vectorized(
            #[inline(always)]
            || {
                let pairs = out.as_chunks_mut().0.iter_mut().zip(&values);
                pairs.fold(true, |finite, (bytes, x)| {
                    let x = *x as f32;
                    *bytes = x.to_le_bytes();
                    finite & x.is_finite()
                })
            },
        );
        if finite { Ok(()) } else { Err(self.overflow(rows.start, &values)) }
    }

    fn release(&self, rows: Range<usize>) {
        self.sources.release(&rows);
    }
}

impl Merged {
    /// The error for `values`, from this row on, some of which are not finite in f32.
    fn overflow(&self, first_row: usize, values: &[f64]) -> Error {
        let onto = &self.sources.onto;
        let row = usize::try_from(onto.shape().row()).unwrap_or(usize::MAX).max(1);
        let mut singles = values.iter().map(|x| *x as f32).enumerate();
        let (i, found) = singles.find(|(_, x)| !x.is_finite()).unwrap_or_default();
        Error::invalid("the merged weight is not finite")
            .tensor(&onto.name)
            .found(format!("{found} at row {}, column {}", first_row + i / row, i % row))
            .mend("choose a smaller --weight")
    }
}
