//! The tensors that are merged into one: rows of each are decoded from their own dtype to f64, once for all outputs that
//! ask for them. Nothing is stored in between.

use super::{Method, Pair, Params};
use crate::arch::Value;
use crate::roles;
use ggraft_formats::{Error, Result, Tensor};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The tensors that are merged into one, and how.
pub(crate) struct Sources {
    id: u64,
    /// CP's, in the trainer's space, as are those of the vectors.
    pub onto: Tensor,
    /// Chat and base of each vector.
    pub pairs: Vec<(Tensor, Tensor)>,
    /// CP's as the GGUF has it, and what has become of its values there.
    pub kept: Tensor,
    pub value: Value,
    /// Rows that are a tensor of their own to a method: an expert of a stack, else all.
    pub unit: usize,
    pub method: &'static Method,
    pub params: Params,
    /// What the method must know of each unit, once it was asked for.
    pub facts: OnceLock<Vec<Vec<f64>>>,
}

/// Some rows of all sources, decoded.
#[derive(Default)]
pub(crate) struct Decoded {
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
    /// Tensors as a GGUF has them, whose values are brought back to the trainer's space.
    ///
    /// # Errors
    /// A value can only be changed that can be decoded.
    pub fn new(
        kept: Tensor,
        pairs: Vec<(Tensor, Tensor)>,
        value: Value,
        method: &'static Method,
        params: Params,
    ) -> Result<Sources> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let onto = value.trained(kept.clone())?;
        let trained = |(chat, base)| Ok((value.trained(chat)?, value.trained(base)?));
        let pairs = pairs.into_iter().map(trained).collect::<Result<_>>()?;
        let all = kept.shape().rows();
        let rows = roles::expert_rows(&kept.name, kept.shape().ne()).filter(|rows| *rows > 0).unwrap_or(all);
        let unit = usize::try_from(rows.max(1)).unwrap_or(usize::MAX);
        Ok(Sources { id, onto, pairs, kept, value, unit, method, params, facts: OnceLock::new() })
    }

    pub fn name(&self) -> &str {
        &self.onto.name
    }

    pub fn vectors(&self) -> usize {
        self.pairs.len()
    }

    /// The rows of each unit.
    pub fn units(&self) -> Result<impl Iterator<Item = Range<usize>>> {
        let (rows, unit) = (self.rows()?, self.unit);
        Ok((0..rows).step_by(unit).map(move |first| first..rows.min(first.saturating_add(unit))))
    }

    /// The row length.
    pub fn row(&self) -> Result<usize> {
        self.onto.row_elements()
    }

    pub fn rows(&self) -> Result<usize> {
        let rows = usize::try_from(self.onto.shape().rows());
        rows.map_err(|_| Error::invalid("the tensor has too many rows").tensor(self.name()))
    }

    /// Calls `f` with `rows` of all sources.
    pub fn with<T>(&self, rows: &Range<usize>, f: impl FnOnce(&Decoded) -> Result<T>) -> Result<T> {
        LAST.with_borrow_mut(|last| {
            if last.of.as_ref() != Some(&(self.id, rows.clone())) {
                self.decode_into(rows, last)?;
            }
            f(last)
        })
    }

    /// Tells that these rows are needed soon.
    pub fn expect(&self, rows: &Range<usize>) {
        self.onto.expect(rows.clone());
        for (chat, base) in &self.pairs {
            chat.expect(rows.clone());
            base.expect(rows.clone());
        }
    }

    /// Gives back what was mapped of these rows.
    pub fn release(&self, rows: &Range<usize>) {
        self.onto.release(rows.clone());
        self.kept.release(rows.clone());
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
