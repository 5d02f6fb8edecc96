//! The writer that all containers share. A container plans its files as a `Layout`, which fixes every offset from
//! names, shapes and dtypes alone; then rows are pulled in parallel chunks and written where they belong, so
//! the bytes do not depend on the threads. Files grow beside the target and take its name only when they are
//! whole, synced and read back by the strict reader.

mod behind;
mod divide;
mod durable;
mod job;
mod layout;
mod limit;
pub mod parts;
mod pieces;
mod rewrite;
mod rows;

pub use crate::identity::Identity;
pub use divide::divide;
pub use durable::{fingerprint, write_whole};
pub use job::{Beside, Job, Records, Resume, Span, Watch};
pub(crate) use layout::{Held, Placed, Planned};
pub use layout::{Layout, Part};
pub use pieces::{BLOCK, CHUNK};
pub use rewrite::{Rewrite, Way};

use crate::error::{Error, Kind, Result};
use crate::stamp::Stamp;
use durable::{Growing, Small, growing_small};
use rows::write_rows;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

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
        let (rows, synced) =
            behind::during(&files, &written, behind::STEP, || write_rows(&self.outputs, &written, watch));
        rows?;
        if let (Err(e), Some(first)) = (synced, self.outputs.first()) {
            return Err(Error::io(&e, &first.layout.target));
        }
        self.job.inputs.iter().filter(|stamp| stamp.is_file()).try_for_each(Stamp::check)?;
        self.conclude(beside)
    }

    /// Gives all its name, once every weight is written.
    fn conclude(&self, beside: impl FnOnce(&[Vec<PathBuf>]) -> Result<Vec<Vec<u8>>>) -> Result<()> {
        self.outputs.iter().try_for_each(Growing::finish)?;
        let Some(first) = self.outputs.first() else { return Ok(()) };
        let places: Vec<Vec<PathBuf>> = self.outputs.iter().map(Growing::paths).collect();
        for (small, content) in self.smalls.iter().zip(beside(&places)?) {
            small.write(&content, &first.journal)?;
        }
        self.outputs
            .iter()
            .try_for_each(|output| output.publish(self.job.replaces(&output.layout.target)))?;
        self.smalls.iter().try_for_each(|small| small.publish(self.job.replaces(&small.target)))?;
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
            let fresh = !output.journal.earlier.resumes();
            if !output.journal.is_begun() || (fresh && (hopeless || changed)) {
                output.discard();
            }
        }
    }
}
