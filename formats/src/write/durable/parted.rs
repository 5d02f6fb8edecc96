//! What one job of several does of an output: the files grow beside the target as ever, made beforehand; it opens those that
//! it writes to, cuts and removes nothing, and keeps a journal of its own. Nothing rests on locks: whoever else does the
//! same job writes the same bytes to the same places.

use super::files::{careful, existing, read_all_at};
use super::growing::{finished, place, work};
use super::journal::{Journal, Told};
use super::lock::is_at;
use super::sink::Sink;
use super::{journal_of, partial};
use crate::error::{Error, Kind, Result};
use crate::write::job::{Job, Records, Span};
use crate::write::layout::{Layout, Planned};
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3Default;

/// Bytes that are read at a time.
const STEP: usize = 1 << 20;

/// An output of which this process writes some bytes.
pub struct Parted<'a> {
    pub layout: &'a Layout<'a>,
    /// Each file that it writes to.
    files: Vec<Option<(PathBuf, File)>>,
    own: Vec<Range<u64>>,
    journal: Journal,
}

impl<'a> Parted<'a> {
    /// Opens the files of output `number` of a run.
    pub fn open(
        layout: &'a Layout<'a>,
        number: usize,
        spans: &[Span],
        job: &Job,
        records: &Records,
    ) -> Result<Parted<'a>> {
        is_planned(layout, job)?;
        let mut own = vec![0..0; layout.files.len()];
        for span in spans {
            match own.get_mut(span.file) {
                Some(own) => *own = span.bytes.clone(),
                None => return Err(Error::invalid("the plan names a file that the output has not")),
            }
        }
        let open = |(planned, own): (&Planned, &Range<u64>)| match own.is_empty() {
            true => Ok(None),
            false => open(layout, planned).map(Some),
        };
        let files = layout.files.iter().zip(&own).map(open).collect::<Result<_>>()?;
        let name = format!("{}-{number}", records.name);
        let journal = Journal::apart(&records.folder, &name, &work(layout, job))?;
        Ok(Parted { layout, files, own, journal })
    }

    /// The files that it writes to.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter().flatten().map(|(_, file)| file)
    }

    /// Syncs what is written; the hash of each span, read from the files.
    pub fn finish(&self) -> Result<Vec<(Span, String)>> {
        let mut hashes = Vec::new();
        for (i, file) in self.files.iter().enumerate() {
            let Some((path, file)) = file else { continue };
            file.sync_all().map_err(|e| Error::io(&e, path))?;
            let bytes = self.own[i].clone();
            let hash = hash(file, bytes.clone(), path)?;
            hashes.push((Span { file: i, bytes }, hash));
        }
        Ok(hashes)
    }
}

impl Sink for Parted<'_> {
    const LEFT: &'static str = "do the same job again: it goes on";

    fn layout(&self) -> &Layout<'_> {
        self.layout
    }

    fn journal(&self) -> &Journal {
        &self.journal
    }

    fn to_read(&self, file: usize) -> Result<&File> {
        let file = self.files.get(file).and_then(Option::as_ref).map(|(_, file)| file);
        file.ok_or_else(not_ours)
    }

    /// Another process may have done the same job, and the output its name: what is finished is not written to.
    fn to_write(&self, file: usize) -> Result<&File> {
        let (path, file) = self.files.get(file).and_then(Option::as_ref).ok_or_else(not_ours)?;
        match is_at(file, path) {
            true => Ok(file),
            false => Err(Error::new(
                Kind::Failure,
                "the output that the plan has made is finished, or was removed",
            )
            .file(path)
            .hint("`ggraft status` says how far the plan is")),
        }
    }

    fn own(&self, file: usize) -> Range<u64> {
        self.own.get(file).cloned().unwrap_or(0..0)
    }
}

/// Whether a plan has made ready all files of the output, and they still are where they grow.
pub fn is_prepared(layout: &Layout<'_>) -> Result<bool> {
    let told = Told::read(&journal_of(&layout.target))?.is_some_and(|told| told.parted);
    Ok(told && layout.files.iter().all(|planned| grows(layout, planned)))
}

/// Whether a file of this length and head lies where this one grows.
fn grows(layout: &Layout<'_>, planned: &Planned) -> bool {
    let due = partial::Planned { head: &planned.head, total: planned.total };
    existing(&place(layout, planned)).and_then(|file| partial::has(&file, &due)).unwrap_or(false)
}

fn not_ours() -> Error {
    Error::new(Kind::Failure, "this file belongs to other jobs")
}

/// Refuses an output of which anything is not what the plan has made, or the end of it has given its name: a file that
/// somebody else put there, or that is gone.
pub fn is_left(layout: &Layout<'_>) -> Result<()> {
    let journal = journal_of(&layout.target);
    let told = Told::read(&journal)?.filter(|told| told.parted).ok_or_else(|| not_prepared(&journal))?;
    for (planned, finished) in layout.files.iter().zip(finished(layout, &told)) {
        if !finished && !grows(layout, planned) {
            return Err(Error::new(Kind::Verification, "the file that the plan has made is not there")
                .file(&place(layout, planned))
                .hint("make the plan again with --no-resume"));
        }
    }
    Ok(())
}

fn not_prepared(journal: &Path) -> Error {
    Error::new(Kind::Io, "the unfinished output that the plan has made is not there")
        .file(journal)
        .hint("the folder must be one that all machines share; if it was removed, make the plan again")
}

/// Whether what lies where the output grows is the plan's of this name, or nothing.
pub fn is_of_plan(layout: &Layout<'_>, plan: &str) -> Result<bool> {
    let told = Told::read(&journal_of(&layout.target))?;
    let names = |told: Told| told.work.iter().any(|(key, value)| key == "plan" && value == plan);
    Ok(told.is_none_or(names))
}

/// Refuses an output that no plan, or another one, has made ready.
fn is_planned(layout: &Layout<'_>, job: &Job) -> Result<()> {
    let journal = journal_of(&layout.target);
    let Some(told) = Told::read(&journal)?.filter(|told| told.parted) else {
        return Err(not_prepared(&journal));
    };
    let work = work(layout, job);
    if told.work == work { Ok(()) } else { told.refuse_other(&journal, &work) }
}

fn open(layout: &Layout<'_>, planned: &Planned) -> Result<(PathBuf, File)> {
    let path = place(layout, planned);
    let mut options = OpenOptions::new();
    let file = careful(options.read(true).write(true)).open(&path).map_err(|e| {
        Error::io(&e, &path).hint("the plan has made this file; if it was removed, make the plan again")
    })?;
    let due = partial::Planned { head: &planned.head, total: planned.total };
    match partial::has(&file, &due).map_err(|e| Error::io(&e, &path))? {
        true => Ok((path, file)),
        false => Err(Error::new(Kind::Failure, "this is not the unfinished output that the plan has made")
            .file(&path)
            .expected(format!("{} bytes, and the head that was planned", planned.total))
            .hint("make the plan again with --no-resume")),
    }
}

/// Where a file of an output lies, growing or finished, if it has the length and the head of the plan; else an error that
/// says what is wrong. With hashes of its bytes those are compared.
pub fn is_there(layout: &Layout<'_>, file: usize, hashes: &[(Span, String)]) -> Result<()> {
    let Some(planned) = layout.files.get(file) else { return Ok(()) };
    let wrong = |what: &str, path: &Path| Error::new(Kind::Verification, what).file(path);
    let growing = place(layout, planned);
    let (path, opened) = match existing(&growing) {
        Ok(file) => (growing, file),
        Err(_) => {
            let path = layout.path(planned);
            let file = existing(&path).map_err(|_| wrong("a file of the output is missing", &growing))?;
            (path, file)
        }
    };
    let due = partial::Planned { head: &planned.head, total: planned.total };
    let length = opened.metadata().map_err(|e| Error::io(&e, &path))?.len();
    if length != planned.total {
        return Err(wrong("a file of the output has a wrong length", &path)
            .expected(planned.total)
            .found(length));
    }
    if !partial::has(&opened, &due).map_err(|e| Error::io(&e, &path))? {
        return Err(wrong("a file of the output does not begin as planned", &path));
    }
    for (span, known) in hashes.iter().filter(|(span, _)| span.file == file) {
        let found = hash(&opened, span.bytes.clone(), &path)?;
        if found != *known {
            return Err(wrong("a file of the output is not what the job has written", &path)
                .offset(span.bytes.start)
                .expected(known)
                .found(found));
        }
    }
    Ok(())
}

/// The hash of some bytes of a file.
fn hash(file: &File, bytes: Range<u64>, path: &Path) -> Result<String> {
    let mut hash = Xxh3Default::new();
    let mut buffer = vec![0; STEP];
    let mut at = bytes.start;
    while at < bytes.end {
        let more = usize::try_from(bytes.end - at).unwrap_or(STEP).min(STEP);
        read_all_at(file, &mut buffer[..more], at).map_err(|e| Error::io(&e, path))?;
        hash.update(&buffer[..more]);
        at += more as u64;
    }
    Ok(format!("{:032x}", hash.digest128()))
}
