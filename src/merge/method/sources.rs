//! The tensors that are merged into one: rows of each are decoded from their own dtype to f64, once for all outputs that
//! ask for them. Nothing is stored in between.

use super::{Method, Pair, Params};
use crate::arch::Value;
use crate::roles;
use ggraft_formats::write::Identity;
use ggraft_formats::{Error, Result, Tensor};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The tensors that are merged into one, and how.
pub(crate) struct Sources {
    id: u64,
    /// Those of CP and of the vectors, in the trainer's space.
    pub own: Tensors,
    /// CP's as the GGUF has it, and what has become of its values there.
    pub kept: Tensor,
    pub value: Value,
    /// Rows that are a tensor of their own to a method: an expert of a stack, else all.
    pub unit: usize,
    /// All that is one tensor to the trainer, this among it: a method surveys them as one. Empty, if it is this alone.
    pub kin: Vec<Tensors>,
    pub method: &'static Method,
    pub params: Params,
    /// What the method must know of each unit, once it was asked for; kin share it.
    pub facts: Arc<OnceLock<Vec<Vec<f64>>>>,
}

/// Tensors of one name that are merged.
#[derive(Clone)]
pub(crate) struct Tensors {
    pub onto: Tensor,
    /// Chat and base of each vector.
    pub pairs: Vec<(Tensor, Tensor)>,
    /// Whether the bases are read.
    reads_base: bool,
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

/// What a method sees as one tensor: several, and rows of each.
pub type Unit<'a> = Vec<(&'a Tensors, Range<usize>)>;

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
        let own = Tensors { onto, pairs, reads_base: method.reads_base };
        let all = kept.shape().rows();
        let rows = roles::expert_rows(&kept.name, kept.shape().ne()).filter(|rows| *rows > 0).unwrap_or(all);
        let unit = usize::try_from(rows.max(1)).unwrap_or(usize::MAX);
        let (kin, facts) = (Vec::new(), Arc::default());
        Ok(Sources { id, own, kept, value, unit, kin, method, params, facts })
    }

    pub fn name(&self) -> &str {
        &self.own.onto.name
    }

    /// What each unit consists of: tensors, and rows of them.
    pub fn units(&self) -> Result<Vec<Unit<'_>>> {
        if !self.kin.is_empty() {
            let whole = |one| Ok((one, 0..Tensors::rows(one)?));
            return Ok(vec![self.kin.iter().map(whole).collect::<Result<_>>()?]);
        }
        let rows = self.own.rows()?;
        let unit = |first: usize| vec![(&self.own, first..rows.min(first.saturating_add(self.unit)))];
        Ok((0..rows).step_by(self.unit).map(unit).collect())
    }

    /// The row length.
    pub fn row(&self) -> Result<usize> {
        self.own.row()
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
    pub fn prefetch(&self, rows: &Range<usize>) {
        self.own.prefetch(rows);
    }

    /// Gives back what was mapped of these rows.
    pub fn release(&self, rows: &Range<usize>) {
        self.own.release(rows);
        self.kept.release(rows.clone());
    }

    /// Decodes `rows` of all sources into what another decoding has left.
    fn decode_into(&self, rows: &Range<usize>, decoded: &mut Decoded) -> Result<()> {
        decoded.of = None;
        self.own.decode_into(rows, decoded)?;
        decoded.of = Some((self.id, rows.clone()));
        Ok(())
    }
}

impl Tensors {
    pub fn row(&self) -> Result<usize> {
        self.onto.row_elements()
    }

    pub fn rows(&self) -> Result<usize> {
        let rows = usize::try_from(self.onto.shape().rows());
        rows.map_err(|_| Error::invalid("the tensor has too many rows").tensor(&self.onto.name))
    }

    fn each(&self, f: impl Fn(&Tensor)) {
        f(&self.onto);
        for (chat, base) in &self.pairs {
            f(chat);
            f(base);
        }
    }

    /// Adds what decides their values.
    pub fn identify(&self, into: &mut Identity) {
        self.onto.identify(into);
        for (chat, base) in &self.pairs {
            chat.identify(into);
            base.identify(into);
        }
    }

    /// Tells what is going to be decoded of these rows.
    pub fn prefetch(&self, rows: &Range<usize>) {
        self.onto.prefetch(rows.clone());
        for (chat, base) in &self.pairs {
            chat.prefetch(rows.clone());
            if self.reads_base {
                base.prefetch(rows.clone());
            }
        }
    }

    pub fn release(&self, rows: &Range<usize>) {
        self.each(|tensor| tensor.release(rows.clone()));
    }

    pub fn decode(&self, rows: &Range<usize>) -> Result<Decoded> {
        let mut decoded = Decoded::default();
        self.decode_into(rows, &mut decoded)?;
        Ok(decoded)
    }

    fn decode_into(&self, rows: &Range<usize>, decoded: &mut Decoded) -> Result<()> {
        let count = rows.len() * self.row()?;
        let fill = |t: &Tensor, values: &mut Vec<f64>| {
            values.resize(count, 0.0);
            t.decode_rows_f64(rows.clone(), values)
        };
        fill(&self.onto, &mut decoded.onto)?;
        decoded.pairs.resize_with(self.pairs.len(), Default::default);
        for ((chat, base), (chats, bases)) in self.pairs.iter().zip(&mut decoded.pairs) {
            fill(chat, chats)?;
            if self.reads_base {
                fill(base, bases)?;
            } else {
                bases.clear();
            }
        }
        Ok(())
    }
}
