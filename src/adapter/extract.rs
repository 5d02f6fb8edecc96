//! A chat vector as a LoRA adapter: of every matrix that chat and base have in common, the factors of low rank that are
//! nearest to their difference. They are computed when they are written, a tensor at a time.

use super::svd::{LowRank, Matrix, low_rank};
use crate::ftype::QUANTIZATION_VERSION;
use crate::roles;
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Metadata, Model, Result, Rows, Shape, Tensor};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use xxhash_rust::xxh64::xxh64;

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

/// One of both factors.
struct Factor {
    job: Arc<Job>,
    is_a: bool,
    row: usize,
    rows: usize,
}

impl Rows for Factor {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let factors = self.job.factors()?;
        let all = if self.is_a { &factors.a } else { &factors.b };
        let values = &all[rows.start * self.row..rows.end * self.row];
        for (bytes, x) in out.as_chunks_mut().0.iter_mut().zip(values) {
            *bytes = (*x as f32).to_le_bytes();
        }
        Ok(())
    }

    fn prefetch(&self, _: Range<usize>) {}

    fn release(&self, rows: Range<usize>) {
        // B stands last.
        if !self.is_a && rows.end == self.rows {
            self.job.found.lock().unwrap_or_else(PoisonError::into_inner).factors = None;
        }
    }

    fn identify(&self, into: &mut Identity) {
        into.add(b"low rank");
        into.add(self.job.name.as_bytes());
        into.numbers([self.job.rank as u64, u64::from(self.is_a)]);
        self.job.chat.identify(into);
        self.job.base.identify(into);
    }
}

/// The adapter of this rank, what is computed for it, and what is to be told.
///
/// # Errors
/// The models are not of one shape.
pub fn extracted(
    chat: &Model,
    base: &Model,
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
        let is_table = roles::TABLES.contains(&name);
        let [row, rows] = *tensor.shape().ne() else {
            left.push(name);
            continue;
        };
        if is_table || !name.ends_with(".weight") {
            left.push(name);
            continue;
        }
        if tensor.shape() != other.shape() {
            let e = Error::invalid("chat and base differ in shape").tensor(name);
            problems.push(e.expected(other.shape()).found(tensor.shape()));
            continue;
        }
        let job = job(tensor, other, rank)?;
        for (is_a, row, rows) in [(true, row, job.rank as u64), (false, job.rank as u64, rows)] {
            let made = factor(&job, is_a, row, rows)?;
            let fits = row.is_multiple_of(dtype.block() as u64);
            tensors.push(made.encode(if fits { dtype } else { DType::F16 }, None)?);
        }
        jobs.push(job);
    }
    if let Some(e) = Error::all(problems) {
        return Err(e);
    }
    let mut notes = Vec::new();
    if let Some(first) = left.first() {
        notes.push(format!(
            "{} tensors are left out, {first} the first: an adapter changes matrices, and of the rows of tokens it is not known which model they are put on",
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

fn factor(job: &Arc<Job>, is_a: bool, row: u64, rows: u64) -> Result<Tensor> {
    let name = format!("{}.lora_{}", job.name, if is_a { "a" } else { "b" });
    let shape = Shape::new(&[row, rows])
        .ok_or_else(|| Error::invalid("the tensor is larger than any file can be").tensor(&name))?;
    let (length, count) = if is_a { (job.row, job.rank) } else { (job.rank, job.rows) };
    let rows = Factor { job: Arc::clone(job), is_a, row: length, rows: count };
    Tensor::new(&name, shape, DType::F32, Arc::new(rows))
}
