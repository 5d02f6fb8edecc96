//! Plans carried out: whole, resumed, or in the spans of jobs.

use super::Plan;
use ggraft_formats::stamp::Reads;
use ggraft_formats::write::{self, Beside, Job, Layout, Records, Resume, Span, Watch, parts};
use ggraft_formats::{Error, Result};
use std::path::{Path, PathBuf};

/// What a write is told beside the plans.
#[derive(Default)]
pub struct Work<'a> {
    /// The options, in words: an unfinished output is resumed if they, and the inputs, are the same.
    pub options: &'a str,
    pub resume: Resume,
    /// Whether an output may be replaced.
    pub force: bool,
    /// A folder in which one may be in any case.
    pub own: Option<&'a Path>,
    /// What is written beside the outputs once they are whole.
    pub beside: Vec<Beside>,
    /// The id of the plan that jobs carry out, if they do.
    pub plan: Option<&'a str>,
}

impl Work<'_> {
    fn job(&self, plans: &[(Plan, PathBuf)]) -> Job {
        let work = [("version", env!("CARGO_PKG_VERSION")), ("options", self.options)];
        let plan = self.plan.map(|id| (String::from("plan"), id.to_string()));
        let work = work.map(|(name, value)| (name.to_string(), value.to_string()));
        let inputs = Reads::default();
        plans.iter().flat_map(|(plan, _)| plan.reads.all()).for_each(|stamp| inputs.add(stamp));
        Job {
            work: plan.into_iter().chain(work).collect(),
            inputs: inputs.all(),
            resume: self.resume,
            force: self.force,
            own: self.own.map(PathBuf::from),
            beside: self.beside.clone(),
            is_shared: self.plan.is_some(),
        }
    }
}

fn layouts(plans: &[(Plan, PathBuf)]) -> Result<Vec<Layout<'_>>> {
    plans.iter().map(|(plan, path)| plan.layout(path)).collect()
}

/// Looks at every path that writing the plans would touch, and touches none: see `write::look`.
pub fn look(plans: &[(Plan, PathBuf)], work: &Work<'_>) -> Result<Vec<Error>> {
    write::look(&layouts(plans)?, &work.job(plans))
}

/// Writes each plan to its path, whose directory is made if it is missing; the inputs are read once for all. What was
/// written by a run that was stopped is taken over, if inputs and options are the same.
///
/// # Errors
/// An input changed or holds a weight that cannot be stored (NaN, infinity); a path is taken, the disk is full, or
/// `watch` stopped the work. Nothing that was there before is lost, and work that can be resumed stays.
pub fn write(plans: &[(Plan, PathBuf)], work: &Work<'_>, watch: &dyn Watch) -> Result<()> {
    write_beside(plans, work, watch, |_| Ok(Vec::new()))
}

/// The same with `work.beside`: `contents` is told where the files of each plan lie when they are whole, and gives what is
/// to stand in each of those files.
///
/// # Errors
/// Those of [`write`] and of `contents`.
pub fn write_beside(
    plans: &[(Plan, PathBuf)],
    work: &Work<'_>,
    watch: &dyn Watch,
    contents: impl FnOnce(&[Vec<PathBuf>]) -> Result<Vec<Vec<u8>>>,
) -> Result<()> {
    write::carry_out(&layouts(plans)?, &work.job(plans), watch, contents)
}

/// Makes the files of each plan and leaves them to the jobs of `work.plan`; `told` is called before that, when all are this
/// process's alone.
///
/// # Errors
/// A path is taken, or the disk has no room; those of `told`.
pub fn prepare(plans: &[(Plan, PathBuf)], work: &Work<'_>, told: impl FnOnce() -> Result<()>) -> Result<()> {
    parts::prepare(&layouts(plans)?, &work.job(plans), told)
}

/// Whether [`prepare`] has made all files, and they are still there to be filled.
///
/// # Errors
/// Something else has the name of a journal.
pub fn is_prepared(plans: &[(Plan, PathBuf)]) -> Result<bool> {
    parts::is_prepared(&layouts(plans)?)
}

/// Whether nothing lies where the files of the plans would grow.
///
/// # Errors
/// A container cannot hold a plan.
pub fn nothing_grows(plans: &[(Plan, PathBuf)]) -> Result<bool> {
    Ok(parts::nothing_grows(&layouts(plans)?))
}

/// Whether whatever lies where the plans' files grow was made for the plan of this id.
///
/// # Errors
/// Something else has the name of a journal.
pub fn are_of_plan(plans: &[(Plan, PathBuf)], id: &str) -> Result<bool> {
    parts::are_of_plan(&layouts(plans)?, id)
}

/// Writes these spans of each plan's files, as one of several jobs; the hashes of what was written.
///
/// # Errors
/// Those of [`write`]; and that the files were not made ready.
pub fn write_spans(
    plans: &[(Plan, PathBuf)],
    spans: &[Vec<Span>],
    work: &Work<'_>,
    records: &Records,
    watch: &dyn Watch,
) -> Result<Vec<Vec<(Span, String)>>> {
    parts::carry_out_spans(&layouts(plans)?, spans, &work.job(plans), records, watch)
}

/// Gives the outputs their names, once all jobs have written their spans. Bytes of which `hashes` are given are read again.
///
/// # Errors
/// Anything is missing, or not what was planned.
pub fn finish(
    plans: &[(Plan, PathBuf)],
    hashes: &[Vec<(Span, String)>],
    work: &Work<'_>,
    watch: &dyn Watch,
    contents: impl FnOnce(&[Vec<PathBuf>]) -> Result<Vec<Vec<u8>>>,
) -> Result<()> {
    parts::finish(&layouts(plans)?, hashes, &work.job(plans), watch, contents)
}

/// Whether all outputs have their names already, with nothing left to be done.
///
/// # Errors
/// They have, but are no longer what was written.
pub fn is_finished(plans: &[(Plan, PathBuf)], hashes: &[Vec<(Span, String)>]) -> Result<bool> {
    parts::is_finished(&layouts(plans)?, hashes)
}
