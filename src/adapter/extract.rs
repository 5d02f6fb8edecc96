//! A difference of two models as a LoRA adapter: of every matrix that they have in common, the factors of low rank that are
//! nearest to it. They are computed when they are written, a tensor at a time.

use super::svd::{LowRank, Matrix, low_rank};
use crate::ftype::QUANTIZATION_VERSION;
use crate::roles;
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Metadata, Model, Result, Rows, Shape, Tensor};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use xxhash_rust::xxh64::xxh64;

/// The most bytes of two matrices from elsewhere that are held while their factors are computed; larger ones are fetched anew
/// each time that they are read.
const HELD: u64 = 1 << 30;

/// The factors of one difference.
pub struct Job {
    name: String,
    chat: Tensor,
    base: Tensor,
    rows: usize,
    row: usize,
    rank: usize,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    factors: Option<Arc<LowRank>>,
    kept: Option<f64>,
}

impl Job {
    /// The tensor, and which part of the squares of its difference the factors keep, if they were computed.
    pub fn kept(&self) -> Option<(&str, f64)> {
        let kept = self.found.lock().unwrap_or_else(PoisonError::into_inner).kept;
        kept.map(|kept| (self.name.as_str(), kept))
    }

    fn factors(&self) -> Result<Arc<LowRank>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(factors) = &found.factors {
            return Ok(Arc::clone(factors));
        }
        let read = |rows: Range<usize>, out: &mut [f64]| {
            let mut base = vec![0.0; out.len()];
            self.chat.decode_rows_f64(rows.clone(), out)?;
            self.base.decode_rows_f64(rows, &mut base)?;
            out.iter_mut().zip(base).for_each(|(x, y)| *x -= y);
            Ok(())
        };
        let matrix = Matrix { rows: self.rows, row: self.row, read: &read };
        let factors = Arc::new(low_rank(&matrix, self.rank, xxh64(self.name.as_bytes(), 0))?);
        self.chat.release(0..self.rows);
        self.base.release(0..self.rows);
        found.kept = Some(factors.kept);
        found.factors = Some(Arc::clone(&factors));
        Ok(factors)
    }
}

/// Which models the adapter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wearer {
    /// Any that has the shapes, but for the rows of its tokens.
    Kin,
    /// The very model that the difference is taken from, whose rows of tokens therefore fit.
    Itself,
}

/// How the numbers of a factor lie.
#[derive(Clone, Copy, Debug)]
enum Side {
    /// A row of the matrix's length for each rank.
    Across,
    /// The same, turned: for each column of the matrix as many numbers as the rank.
    AcrossTurned,
    /// For each row of the matrix as many numbers as the rank.
    Down,
}

/// One of both factors.
struct Factor {
    job: Arc<Job>,
    side: Side,
    shape: [usize; 2],
    /// Whether it is the second of the two, after which they are needed no longer.
    is_last: bool,
}

impl Rows for Factor {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let factors = self.job.factors()?;
        let [row, _] = self.shape;
        let numbers = rows.start * row..rows.end * row;
        let value = |i: usize| match self.side {
            Side::Across => factors.a[i],
            Side::AcrossTurned => factors.a[i % row * self.job.row + i / row],
            Side::Down => factors.b[i],
        };
        for (bytes, i) in out.as_chunks_mut().0.iter_mut().zip(numbers) {
            *bytes = (value(i) as f32).to_le_bytes();
        }
        Ok(())
    }

    fn prefetch(&self, rows: Range<usize>) {
        // Whichever is needed first, both are made of the whole matrices, which are read several times.
        let Job { chat, base, rows: all, .. } = &*self.job;
        if !self.is_last && rows.start == 0 && chat.bytes().saturating_add(base.bytes()) <= HELD {
            chat.prefetch(0..*all);
            base.prefetch(0..*all);
        }
    }

    fn release(&self, rows: Range<usize>) {
        if self.is_last && rows.end == self.shape[1] {
            self.job.found.lock().unwrap_or_else(PoisonError::into_inner).factors = None;
        }
    }

    fn identify(&self, into: &mut Identity) {
        into.add(b"low rank");
        into.add(self.job.name.as_bytes());
        into.numbers([self.job.rank as u64, u64::from(!self.is_last)]);
        self.job.chat.identify(into);
        self.job.base.identify(into);
    }
}

/// The adapter of this rank that makes chat of base, what is computed for it, and what is to be told.
///
/// # Errors
/// The models are not of one shape.
pub fn extracted(
    chat: &Model,
    base: &Model,
    wearer: Wearer,
    rank: usize,
    dtype: DType,
) -> Result<(Model, Vec<Arc<Job>>, Vec<String>)> {
    if chat.architecture() != base.architecture() {
        return Err(Error::invalid("chat and base are of different architectures")
            .expected(base.architecture().unwrap_or("none"))
            .found(chat.architecture().unwrap_or("none")));
    }
    let (mut tensors, mut jobs, mut left, mut problems) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for tensor in &chat.tensors {
        let name = tensor.name.as_str();
        let Some(other) = base.tensors.iter().find(|t| t.name == name) else {
            problems.push(Error::invalid("base lacks a tensor of chat").tensor(name));
            continue;
        };
        let is_foreign = wearer == Wearer::Kin && roles::TABLES.contains(&name);
        let [row, rows] = *tensor.shape().ne() else {
            left.push(name);
            continue;
        };
        if is_foreign || !name.ends_with(".weight") {
            left.push(name);
            continue;
        }
        if tensor.shape() != other.shape() {
            let e = Error::invalid("chat and base differ in shape").tensor(name);
            problems.push(e.expected(other.shape()).found(tensor.shape()));
            continue;
        }
        let job = job(tensor, other, rank)?;
        let rank = rank as u64;
        // llama.cpp looks rows up in the first factor of an embedding.
        let sides = match name == roles::EMBEDDING {
            true => [(Side::Down, [rank, rows]), (Side::AcrossTurned, [rank, row])],
            false => [(Side::Across, [row, rank]), (Side::Down, [rank, rows])],
        };
        for (i, (side, shape)) in sides.into_iter().enumerate() {
            let made = factor(&job, side, shape, i == 1)?;
            let fits = shape[0].is_multiple_of(dtype.block() as u64);
            tensors.push(made.encode(if fits { dtype } else { DType::F16 }, None)?);
        }
        jobs.push(job);
    }
    if let Some(e) = Error::all(problems) {
        return Err(e);
    }
    let mut notes = Vec::new();
    if let Some(first) = left.first() {
        let rows = match wearer {
            Wearer::Kin => {
                ", and of the rows of tokens it is not known which model they are put on (--onto tells it)"
            }
            Wearer::Itself => "",
        };
        notes.push(format!(
            "{} tensors are left out, {first} the first: an adapter changes matrices{rows}",
            left.len()
        ));
    }
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", chat.architecture().unwrap_or_default());
    metadata.set("general.type", "adapter");
    metadata.set("adapter.type", "lora");
    let name = chat.metadata.str("general.name").unwrap_or("A chat model");
    metadata.set("general.name", format!("{name} LoRA"));
    // With the rank as alpha the factors count as they are.
    metadata.set("adapter.lora.alpha", rank as f32);
    metadata.set("general.quantization_version", QUANTIZATION_VERSION);
    let reads = chat.reads.clone();
    base.reads.all().into_iter().for_each(|stamp| reads.add(stamp));
    Ok((Model { metadata, tensors, containers: Vec::new(), reads }, jobs, notes))
}

fn job(chat: &Tensor, base: &Tensor, rank: usize) -> Result<Arc<Job>> {
    let rows = super::rows::count(chat)?;
    Ok(Arc::new(Job {
        name: chat.name.clone(),
        chat: chat.clone(),
        base: base.clone(),
        rows,
        row: chat.row_elements()?,
        rank,
        found: Mutex::default(),
    }))
}

fn factor(job: &Arc<Job>, side: Side, shape: [u64; 2], is_last: bool) -> Result<Tensor> {
    let name = format!("{}.lora_{}", job.name, if is_last { "b" } else { "a" });
    let shape = Shape::new(&shape)
        .ok_or_else(|| Error::invalid("the tensor is larger than any file can be").tensor(&name))?;
    let [row, rows] = [shape.row(), shape.dim(1)].map(|n| n as usize);
    let rows = Factor { job: Arc::clone(job), side, shape: [row, rows], is_last };
    Tensor::new(&name, shape, DType::F32, Arc::new(rows))
}
