//! The tensors that are merged into one: rows of each are decoded from their own dtype to f64, once for all outputs that
//! ask for them. Nothing is stored in between.

use super::{Method, Pair, Params};
use ggraft_formats::{Error, Result, Tensor};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The tensors that are merged into one, and how.
pub(crate) struct Sources {
    id: u64,
    pub onto: Tensor,
    /// Chat and base of each vector.
    pub pairs: Vec<(Tensor, Tensor)>,
    pub method: &'static Method,
    pub params: Params,
    /// What the method must know of the whole tensor, once it was asked for.
    pub facts: OnceLock<Vec<f64>>,
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
