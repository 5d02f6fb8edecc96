//! The writer that all containers share. A container plans its files as a `Layout`, which fixes every offset from
//! names, shapes and dtypes alone; then rows are pulled in parallel chunks and written where they belong, so
//! the bytes do not depend on the threads. Files grow beside the target and take its name only when they are
//! whole, synced and read back by the strict reader.

mod behind;
mod durable;
mod limit;
mod rewrite;
mod rows;

use crate::error::{Error, Kind, Result};
use crate::metadata::Metadata;
use crate::mmap::Mapping;
use crate::quant::DType;
use crate::stamp::Stamp;
use crate::tensor::{Shape, Tensor};
pub use durable::{Beside, Identity, Resume, write_whole};
use durable::{Growing, Small, growing_small};
pub use rewrite::{Rewrite, Way};
use rows::write_rows;
use std::fs::File;
use std::path::{Path, PathBuf};
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

    /// Is told that the file system of this output locks nothing: whoever writes it at the same time is not kept off.
    fn unlocked(&self, _target: &Path) {}

    /// Whether to stop; asked between chunks.
    fn cancelled(&self) -> bool {
        false
    }
}

/// A watcher that hears nothing.
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
    /// What the heads of the files tell of the model, where they tell it in keys and values.
    pub(crate) metadata: Option<&'a Metadata>,
    /// What the maker tells of it, for people who ask where two outputs differ.
    pub(crate) told: Vec<(String, String)>,
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

    /// The layout, of which this is told too where two outputs differ.
    pub fn telling(mut self, name: &str, value: &str) -> Self {
        self.told.push((name.to_string(), value.to_string()));
        self
    }

    /// The files as they will be called, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|f| self.path(f)).collect()
    }

    /// What stands in the files beside the weights, a fact each, so that people see where two outputs differ.
    fn facts(&self) -> Vec<(String, String)> {
        let metadata = self.metadata.into_iter().flat_map(Metadata::iter);
        let mut facts: Vec<(String, String)> = Vec::new();
        facts.extend(metadata.map(|(key, value)| (key.to_string(), crate::gguf::brief(value))));
        let files = self.files.iter().filter(|file| file.read.is_none());
        facts.extend(files.map(|file| {
            let mut hash = Identity::default();
            hash.add(&file.head);
            (file.name.clone(), format!("{} bytes, hash {}", file.total, hash.hash()))
        }));
        facts
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
    /// work is resumed.
    pub work: Vec<(String, String)>,
    /// The files that are read, as they were when they were opened, and the directories that were named.
    pub inputs: Vec<Stamp>,
    pub resume: Resume,
    /// Whether what has the names of the outputs may be replaced.
    pub force: bool,
    /// What is written beside the outputs once they are whole.
    pub beside: Vec<Beside>,
}

/// Writes `layouts`, over what has their names, with no job and so with nothing to resume: see `carry_out`.
pub fn write(layouts: &[Layout<'_>], watch: &dyn Watch) -> Result<()> {
    let job = Job { force: true, resume: Resume::Never, ..Job::default() };
    carry_out(layouts, &job, watch, |_| Ok(Vec::new()))
}

/// Whether a run that wrote `target` was stopped and can be resumed, as far as its journal shows.
pub fn is_under_way(target: &Path) -> bool {
    durable::journal_of(target).is_file()
}

/// Looks at every path that writing `layouts` would touch, and touches none. The outputs that exist and may not be
/// replaced; a run would be refused because of them.
///
/// # Errors
/// What no option could allow: an output that is an input, by whatever name; something in the way that is not ours; an
/// unfinished output of other work; a folder that takes no files.
pub fn look(layouts: &[Layout<'_>], job: &Job) -> Result<Vec<Error>> {
    durable::look(layouts, job)
}

/// Writes all `layouts` at once, tensor by tensor, so that rows which they share are read once. Nothing takes its
/// name before all are whole. What is written when a run is stopped stays, for the same job to resume. `beside` is told
/// where the files of each layout lie when they are whole, and gives the content of what stands beside them. Runs on the
/// current rayon pool.
pub fn carry_out(
    layouts: &[Layout<'_>],
    job: &Job,
    watch: &dyn Watch,
    beside: impl FnOnce(&[Vec<PathBuf>]) -> Result<Vec<Vec<u8>>>,
) -> Result<()> {
    if let Some(e) = Error::all(durable::look(layouts, job)?) {
        return Err(e);
    }
    limit::allow(layouts.iter().map(|l| l.files.len()).sum())?;
    let mut run = Run { job, outputs: Vec::with_capacity(layouts.len()), smalls: Vec::new() };
    let done = run.begin(layouts, watch).and_then(|over| match over {
        true => Ok(()),
        false => run.carry_out(watch, beside),
    });
    match done {
        Ok(()) => run.clear(),
        Err(e) => {
            run.leave(&e);
            Err(e)
        }
    }
}

/// The outputs of one run.
struct Run<'a> {
    job: &'a Job,
    outputs: Vec<Growing<'a>>,
    smalls: Vec<Small>,
}

impl<'a> Run<'a> {
    /// Makes or takes over what grows. Whether an earlier run had all its work done but for clearing up.
    fn begin(&mut self, layouts: &'a [Layout<'a>], watch: &dyn Watch) -> Result<bool> {
        let mut over = false;
        for layout in layouts {
            // Of work that is all done the first journal goes last; what is left of the others goes with it.
            if over && !is_under_way(&layout.target) {
                continue;
            }
            let output = Growing::create(layout, self.job)?;
            if !output.journal.is_locked {
                watch.unlocked(&layout.target);
            }
            over = over
                || (self.outputs.is_empty()
                    && durable::is_done(&output.journal.earlier, layouts, &self.job.beside));
            self.outputs.push(output);
        }
        if over {
            return Ok(true);
        }
        if let Some(first) = self.outputs.first() {
            for beside in &self.job.beside {
                let growing = growing_small(&beside.path, layouts);
                self.smalls.push(Small::claim(beside, growing, &first.journal)?);
            }
        }
        let earlier = self.outputs.iter().map(Growing::earlier).sum();
        if earlier > 0 {
            watch.resumes(earlier);
        }
        Ok(false)
    }

    fn carry_out(
        &self,
        watch: &dyn Watch,
        beside: impl FnOnce(&[Vec<PathBuf>]) -> Result<Vec<Vec<u8>>>,
    ) -> Result<()> {
        let files: Vec<&File> = self.outputs.iter().flat_map(Growing::files).collect();
        let written = AtomicU64::new(0);
        let (rows, synced) = behind::during(&files, &written, || write_rows(&self.outputs, &written, watch));
        rows?;
        if let (Err(e), Some(first)) = (synced, self.outputs.first()) {
            return Err(Error::io(&e, &first.layout.target));
        }
        self.job.inputs.iter().filter(|stamp| stamp.is_file()).try_for_each(Stamp::check)?;
        self.outputs.iter().try_for_each(Growing::finish)?;
        let Some(first) = self.outputs.first() else { return Ok(()) };
        let places: Vec<Vec<PathBuf>> = self.outputs.iter().map(Growing::paths).collect();
        for (small, content) in self.smalls.iter().zip(beside(&places)?) {
            small.write(&content, &first.journal)?;
        }
        self.outputs.iter().try_for_each(|output| output.publish(self.job.force))?;
        self.smalls.iter().try_for_each(|small| small.publish(self.job.force))?;
        let mut done = Vec::new();
        for output in &self.outputs {
            done.extend(output.done()?);
        }
        first.journal.done(&done)
    }

    /// Clears up after all has its name. The first journal, which tells of it, goes last.
    fn clear(self) -> Result<()> {
        self.outputs.iter().try_for_each(Growing::clear)?;
        self.outputs.into_iter().rev().for_each(|output| output.journal.discard());
        Ok(())
    }

    /// After a failure: what a later run can go on with stays, the rest goes.
    fn leave(self, e: &Error) {
        // The same inputs would be refused again; other ones are other work. Inputs that are gone may come back.
        let hopeless = matches!(e.kind(), Kind::Invalid | Kind::Unsupported | Kind::Usage);
        let changed = self.job.inputs.iter().filter(|s| s.is_file()).any(Stamp::is_changed);
        self.smalls.iter().for_each(Small::discard);
        for output in self.outputs {
            let fresh = output.earlier() == 0;
            if !output.journal.is_begun() || (fresh && (hopeless || changed)) {
                output.discard();
            }
        }
    }
}
