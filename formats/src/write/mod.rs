//! The writer that all containers share. A container plans its files as a `Layout`, which fixes every offset from
//! names, shapes and dtypes alone; then rows are pulled in parallel chunks and written where they belong, so
//! the bytes do not depend on the threads. Files grow beside the target and take its name only when they are
//! whole, synced and read back by the strict reader.

mod behind;
mod growing;
mod journal;
mod limit;
mod partial;
mod rewrite;
mod rows;

use crate::error::{Error, Kind, Result};
use crate::mmap::Mapping;
use crate::quant::DType;
use crate::stamp::Stamp;
use crate::tensor::{Shape, Tensor};
use growing::Growing;
pub use journal::Resume;
pub use partial::write_whole;
pub use rewrite::{Rewrite, Way};
use rows::write_rows;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

/// Weights that a thread writes at a time, unless a single row is longer.
pub const CHUNK: usize = 1 << 18;

/// Weights that are computed at a time, unless a single row is longer: what lies between the steps of the line stays
/// in the core's own cache.
pub const BLOCK: usize = 1 << 13;

/// Is told how a write goes on. Called from many threads.
pub trait Watch: Sync {
    /// `bytes` more of tensor `index` of output `output` are written; `finished` with its last ones.
    fn advance(&self, output: usize, index: usize, bytes: u64, finished: bool);

    /// Is told, before all else, that so many pieces were found that an earlier run has written.
    fn resumes(&self, _pieces: usize) {}

    /// Whether to stop; asked between chunks.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody.
impl Watch for () {
    fn advance(&self, _output: usize, _index: usize, _bytes: u64, _finished: bool) {}
}

/// A container as it is going to be: everything but the weights, and the place of every weight.
pub struct Layout<'a> {
    /// The final name, written over if it is there: of the only file, or of the directory that holds the files. Several
    /// files without a directory stand beside each other where this would.
    pub(crate) target: PathBuf,
    pub(crate) is_directory: bool,
    pub(crate) files: Vec<Planned>,
    pub(crate) tensors: Vec<Placed<'a>>,
}

/// One file of a container.
pub(crate) struct Planned {
    /// Its name, in the directory or beside the target; empty for the only file of a container.
    pub name: String,
    /// What it starts with: a header, or all of a file without tensors.
    pub head: Vec<u8>,
    /// Bytes of the whole file.
    pub total: u64,
    /// Reads the finished file strictly: what it holds. None for files without tensors.
    pub read: Option<Reader>,
}

/// Reads a file strictly: the tensors that it holds.
pub(crate) type Reader = fn(&Mapping) -> Result<Vec<Held>>;

/// A tensor and where its rows go.
pub(crate) struct Placed<'a> {
    pub tensor: &'a Tensor,
    /// Its name in the file. Outputs share the work on tensors whose own names are equal.
    pub name: &'a str,
    /// Which of the files.
    pub file: usize,
    /// Where it starts in the file.
    pub offset: u64,
}

/// A tensor that a reader found.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    pub offset: u64,
    pub name: String,
    /// Without trailing ones.
    pub ne: Vec<u64>,
    pub dtype: String,
}

impl Held {
    pub fn new(name: &str, shape: &Shape, dtype: DType, offset: u64) -> Held {
        Held { offset, name: name.to_string(), ne: shape.significant().to_vec(), dtype: dtype.to_string() }
    }
}

impl Layout<'_> {
    /// Bytes of all files.
    pub fn total(&self) -> u64 {
        self.files.iter().map(|f| f.total).fold(0, u64::saturating_add)
    }

    /// The files as they will be called, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|f| self.path(f)).collect()
    }

    fn path(&self, file: &Planned) -> PathBuf {
        match (self.is_directory, file.name.is_empty()) {
            (true, _) => self.target.join(&file.name),
            (false, true) => self.target.clone(),
            (false, false) => self.target.with_file_name(&file.name),
        }
    }

    /// The files in order: what each is called, how many tensors it holds, and its bytes.
    pub fn parts(&self) -> Vec<Part> {
        let mut tensors = vec![0; self.files.len()];
        self.tensors.iter().for_each(|t| tensors[t.file] += 1);
        let part =
            |(file, tensors): (&Planned, usize)| Part { path: self.path(file), tensors, bytes: file.total };
        self.files.iter().zip(tensors).map(part).collect()
    }
}

/// One file of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub path: PathBuf,
    pub tensors: usize,
    pub bytes: u64,
}

/// What a write is told beside the layouts.
#[derive(Debug, Default)]
pub struct Job {
    /// What decides every byte beside the layouts, as names and values: the options. An unfinished output of the same
    /// work is gone on with.
    pub work: Vec<(String, String)>,
    /// The files that are read, as they were when reading them began.
    pub inputs: Vec<Stamp>,
    pub resume: Resume,
}

/// Writes `layouts` without more ado: see `carry_out`.
pub fn write(layouts: &[Layout<'_>], watch: &dyn Watch) -> Result<()> {
    carry_out(layouts, &Job::default(), watch)
}

/// Writes all `layouts` at once, tensor by tensor, so that rows which they share are read once. Nothing takes its
/// name before all are whole. What is written when a run is stopped stays, for the same job to go on with. Runs on
/// the current rayon pool.
pub fn carry_out(layouts: &[Layout<'_>], job: &Job, watch: &dyn Watch) -> Result<()> {
    limit::allow(layouts.iter().map(|l| l.files.len()).sum())?;
    let mut outputs = Vec::with_capacity(layouts.len());
    for layout in layouts {
        outputs.push(Growing::create(layout, job)?);
    }
    let earlier = outputs.iter().map(Growing::earlier).sum();
    if earlier > 0 {
        watch.resumes(earlier);
    }
    let whole = fill(&outputs, job, watch);
    if let Err(e) = &whole
        && matches!(e.kind(), Kind::Interrupted | Kind::Io | Kind::NoSpace)
        // Else there would be nothing to go on with: the work is another now.
        && job.inputs.iter().all(|stamp| stamp.check().is_ok())
    {
        outputs.iter_mut().for_each(Growing::keep);
    }
    whole?;
    outputs.into_iter().try_for_each(Growing::publish)
}

/// Writes the rows, and holds the finished files and the inputs against what they should be.
fn fill(outputs: &[Growing<'_>], job: &Job, watch: &dyn Watch) -> Result<()> {
    let files: Vec<&File> = outputs.iter().flat_map(Growing::files).collect();
    let written = AtomicU64::new(0);
    let (rows, synced) = behind::during(&files, &written, || write_rows(outputs, &written, watch));
    rows?;
    if let (Err(e), Some(first)) = (synced, outputs.first()) {
        return Err(Error::io(&e, &first.layout.target));
    }
    job.inputs.iter().try_for_each(Stamp::check)?;
    outputs.iter().try_for_each(Growing::finish)
}
