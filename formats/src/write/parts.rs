//! Outputs that several processes write, on one machine or on many: made once, with room for all; then filled by jobs, each
//! of which has its bytes; then finished. Of bytes that lie on one page of memory one job is the writer: file systems of
//! networks write whole pages. Serves plans.

use super::durable::{self, Growing, Parted, Sink};
use super::job::{Job, Records, Span, Watch};
use super::layout::Layout;
use super::rows::{count, write_rows};
use super::{Placed, Run, behind, limit};
use crate::error::{Error, Kind, Result};
use crate::stamp::Stamp;
use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

/// Bytes that are left to the system's cache before they are synced: many jobs that sync often are a storm on one file system.
const UNSYNCED: u64 = 1 << 30;

/// Makes the files of `layouts`, with their heads and with room for all, and leaves them to the jobs. `told` is called when all
/// are this process's alone, before they are left.
///
/// # Errors
/// A path is taken, or the disk has no room; what was made then goes again. Those of `told`.
pub fn prepare(layouts: &[Layout<'_>], job: &Job, told: impl FnOnce() -> Result<()>) -> Result<()> {
    if let Some(e) = Error::all(durable::look(layouts, job)?) {
        return Err(e);
    }
    limit::allow(layouts.iter().map(|l| l.files.len()).sum())?;
    let mut made: Vec<Growing<'_>> = Vec::new();
    let all = || {
        for layout in layouts {
            made.push(Growing::create(layout, job)?);
        }
        told()?;
        made.iter().try_for_each(Growing::part)
    };
    let done = all();
    if done.is_err() {
        made.into_iter().filter(|output| !output.journal.is_begun()).for_each(Growing::discard);
    }
    done
}

/// Whether `prepare` has made all files of `layouts`, and they are still there to be filled. If not, what jobs have told of them
/// counts for nothing.
///
/// # Errors
/// Something else has the name of a journal.
pub fn is_prepared(layouts: &[Layout<'_>]) -> Result<bool> {
    for layout in layouts {
        if !durable::is_prepared(layout)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether nothing lies where the files of `layouts` would grow.
pub fn nothing_grows(layouts: &[Layout<'_>]) -> bool {
    layouts.iter().all(durable::nothing_grows)
}

/// Whether whatever lies where `layouts` grow was made for this plan: only that may be begun anew.
///
/// # Errors
/// Something else has the name of a journal.
pub fn are_of_plan(layouts: &[Layout<'_>], plan: &str) -> Result<bool> {
    for layout in layouts {
        if !durable::is_of_plan(layout, plan)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes these spans of each layout: the hash of each, as it was read back. The same job may have run before, be running
/// elsewhere, or have been stopped at any moment.
///
/// # Errors
/// Those of `carry_out`; and what `prepare` has made is not there.
pub fn carry_out_spans(
    layouts: &[Layout<'_>],
    spans: &[Vec<Span>],
    job: &Job,
    records: &Records,
    watch: &dyn Watch,
) -> Result<Vec<Vec<(Span, String)>>> {
    let open = |(number, (layout, spans)): (usize, (_, &Vec<Span>))| {
        Parted::open(layout, number, spans, job, records)
    };
    limit::allow(spans.iter().map(Vec::len).sum())?;
    let outputs = layouts.iter().zip(spans).enumerate().map(open).collect::<Result<Vec<_>>>()?;
    let earlier = outputs.iter().map(|output| output.journal().earlier.pieces.len()).sum();
    if earlier > 0 {
        watch.resumes(earlier);
    }
    let files: Vec<&File> = outputs.iter().flat_map(Parted::files).collect();
    let written = AtomicU64::new(0);
    let (rows, synced) = behind::during(&files, &written, UNSYNCED, || write_rows(&outputs, &written, watch));
    rows?;
    if let (Err(e), Some(first)) = (synced, outputs.first()) {
        return Err(Error::io(&e, &first.layout.target));
    }
    job.inputs.iter().filter(|stamp| stamp.is_file()).try_for_each(Stamp::check)?;
    outputs.iter().map(Parted::finish).collect()
}

/// Removes the journals of jobs from a folder; what else lies there stays.
///
/// # Errors
/// The folder cannot be read, or a journal not removed.
pub fn clear(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(&e, folder))? {
        let path = entry.map_err(|e| Error::io(&e, folder))?.path();
        if matches!(durable::told(&path), Ok(Some(_))) {
            std::fs::remove_file(&path).map_err(|e| Error::io(&e, &path))?;
        }
    }
    Ok(())
}

/// Gives what all jobs together have written its name, once it is seen to be whole: every file of the length and with the
/// head of the plan, accepted by the strict reader. Bytes of which hashes are given are read and compared with them.
///
/// # Errors
/// Anything is missing or not as it was planned.
pub fn finish(
    layouts: &[Layout<'_>],
    hashes: &[Vec<(Span, String)>],
    job: &Job,
    watch: &dyn Watch,
    beside: impl FnOnce(&[Vec<PathBuf>]) -> Result<Vec<Vec<u8>>>,
) -> Result<()> {
    whole(layouts, hashes)?;
    layouts.iter().try_for_each(durable::is_left)?;
    if let Some(e) = Error::all(durable::look(layouts, job)?) {
        return Err(e);
    }
    limit::allow(layouts.iter().map(|l| l.files.len()).sum())?;
    let mut run = Run { job, outputs: Vec::with_capacity(layouts.len()), smalls: Vec::new() };
    let done = run.begin(layouts, watch).and_then(|over| match over {
        true => Ok(()),
        // Whoever finished meanwhile has taken the files along, and those that are here are new and empty.
        false if !run.outputs.iter().all(|output| output.journal.earlier.parted) => {
            Err(Error::new(Kind::Failure, "another process finishes this plan, or has finished it")
                .hint("give the same command again"))
        }
        false => {
            run.outputs.iter().try_for_each(|output| output.journal.whole())?;
            run.conclude(beside)
        }
    });
    match done {
        Ok(()) => run.clear(),
        Err(e) => {
            run.leave(&e);
            Err(e)
        }
    }
}

/// Whether all that was prepared has its name, and nothing is left to be done: `hashes`, of all bytes, tell that it is that.
///
/// # Errors
/// All is done, but a file is missing, or is no longer what was written.
pub fn is_finished(layouts: &[Layout<'_>], hashes: &[Vec<(Span, String)>]) -> Result<bool> {
    let is_open =
        |layout: &Layout<'_>| super::is_under_way(&layout.target) || !durable::nothing_grows(layout);
    if layouts.iter().any(is_open) {
        return Ok(false);
    }
    whole(layouts, hashes).map(|()| true)
}

/// Refuses files that are missing or not as planned. All of them are told.
fn whole(layouts: &[Layout<'_>], hashes: &[Vec<(Span, String)>]) -> Result<()> {
    let each = layouts.iter().zip(hashes).flat_map(|(layout, hashes)| {
        (0..layout.files.len()).map(move |i| durable::is_there(layout, i, hashes))
    });
    let problems: Vec<Error> = each.filter_map(Result::err).collect();
    Error::all(problems).map_or(Ok(()), Err)
}

/// What the journals of a job tell: how many of its pieces are written by whoever has begun it, and when the last of them was
/// told; none if nobody has begun.
///
/// # Errors
/// The folder cannot be read.
pub fn progress(records: &Records) -> Result<Option<(usize, SystemTime)>> {
    let io = |e: std::io::Error| Error::io(&e, &records.folder);
    let start = format!("{}-", records.name);
    let mut pieces = HashSet::new();
    let mut last = None;
    for entry in std::fs::read_dir(&records.folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((output, _)) = name.strip_prefix(&start).and_then(|rest| rest.split_once('.')) else {
            continue;
        };
        // It may be gone: the job is done just now.
        let Ok(Some(told)) = durable::told(&entry.path()) else { continue };
        pieces.extend(told.into_iter().map(|(tensor, row)| (output.to_string(), tensor, row)));
        last = last.max(entry.metadata().and_then(|meta| meta.modified()).ok());
    }
    Ok(last.map(|last| (pieces.len(), last)))
}

/// What a job of these spans has to do of one layout: its pieces, and the bytes of each tensor.
///
/// # Errors
/// A tensor has too many rows.
pub fn of_spans(layout: &Layout<'_>, spans: &[Span]) -> Result<(usize, Vec<u64>)> {
    let within = |placed: &Placed<'_>| {
        let start = placed.offset;
        let end = start.saturating_add(placed.tensor.bytes());
        let spans = spans.iter().filter(|span| span.file == placed.file);
        spans.map(|span| span.bytes.end.min(end).saturating_sub(span.bytes.start.max(start))).sum()
    };
    let bytes = layout.tensors.iter().map(within).collect();
    Ok((count(layout, spans)?, bytes))
}
