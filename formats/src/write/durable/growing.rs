//! Containers that are being written: their files, which grow beside the target, and the journal of what is done. Serves
//! the writer.

use super::files::{self, name_in, names, sync_directory};
use super::inner;
use super::journal::{Journal, Told};
use super::partial::{self, Partial};
use super::publish::{publish_directory, publish_file, publish_set, remove_aside};
use super::sink::Sink;
use super::{beside, folder, in_the_way, journal_of};
use crate::error::{Error, Kind, Result};
use crate::identity::Identity;
use crate::mmap::Mapping;
use crate::stamp::Stamp;
use crate::write::job::{Job, Resume};
use crate::write::layout::{Held, Layout, Planned};
use crate::write::pieces::step;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A container that is being written.
pub struct Growing<'a> {
    pub layout: &'a Layout<'a>,
    /// One for each file of the layout.
    files: Vec<Partial>,
    /// Which of them have their names already.
    finished: Vec<bool>,
    pub journal: Journal,
}

impl<'a> Growing<'a> {
    /// Makes the files, or takes over those of an earlier run that did the same work.
    pub fn create(layout: &'a Layout<'a>, job: &Job) -> Result<Growing<'a>> {
        let dir = folder(&layout.target);
        std::fs::create_dir_all(dir).map_err(|e| Error::io(&e, dir))?;
        let anew = job.resume == Resume::Never;
        let journal = Journal::open(journal_of(&layout.target), &work(layout, job), anew)?;
        let finished = finished(layout, &journal.earlier);
        let mut growing = Growing { layout, files: Vec::new(), finished, journal };
        match growing.open() {
            Ok(()) => Ok(growing),
            Err(e) => {
                if !growing.journal.is_begun() {
                    growing.discard();
                }
                Err(e)
            }
        }
    }

    fn open(&mut self) -> Result<()> {
        if self.layout.is_directory && !self.finished.contains(&true) {
            self.open_directory()?;
        }
        for (planned, finished) in self.layout.files.iter().zip(&self.finished) {
            let file = if *finished {
                let path = self.layout.path(planned);
                let file = files::existing(&path).map_err(|e| Error::io(&e, &path))?;
                Partial { path, file }
            } else {
                let planned_file = partial::Planned { head: &planned.head, total: planned.total };
                Partial::claim(place(self.layout, planned), &self.journal, &planned_file)?
            };
            self.files.push(file);
        }
        Ok(())
    }

    /// Makes the growing directory, or takes one over that holds nothing but what is ours.
    fn open_directory(&self) -> Result<()> {
        let path = beside(&self.layout.target);
        match std::fs::create_dir(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.map_err(|e| Error::io(&e, &path))?,
        }
        if !path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            return Err(in_the_way(&path));
        }
        for name in names(&path)? {
            let is_planned = self.layout.files.iter().any(|planned| name == *planned.name);
            if !is_planned && !inner::is_planned(self.layout, &name) {
                inner::remove_known(&path.join(&name), &self.journal)?;
            }
        }
        inner::make(&path, self.layout, &self.journal)
    }

    /// Leaves the files, for good, to jobs that fill them.
    pub fn part(&self) -> Result<()> {
        let sync = |file: &Partial| file.file.sync_all().map_err(|e| Error::io(&e, &file.path));
        self.files.iter().try_for_each(sync)?;
        if self.layout.is_directory {
            inner::sync(&beside(&self.layout.target), self.layout)?;
        }
        sync_directory(self.files.first().map_or(self.journal.folder(), |file| folder(&file.path)))?;
        sync_directory(self.journal.folder())?;
        self.journal.parted()
    }

    /// The files, in the order of the layout.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter().map(|f| &f.file)
    }

    /// Where the files lie now.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|f| f.path.clone()).collect()
    }

    fn changed(&self, i: usize) -> Error {
        Error::new(Kind::Failure, "the output exists, and is no longer what the run has written")
            .file(&self.files[i].path)
            .hint("give --no-resume --force to replace it, or another name with -o")
    }

    /// The pieces that an earlier run has written.
    pub fn earlier(&self) -> usize {
        self.journal.earlier.pieces.len()
    }

    /// Syncs the files and holds them against the plan, with the strict reader.
    pub fn finish(&self) -> Result<()> {
        for (i, (planned, file)) in self.layout.files.iter().zip(&self.files).enumerate() {
            let io = |e: std::io::Error| Error::io(&e, &file.path);
            if self.finished[i] {
                let planned = partial::Planned { head: &planned.head, total: planned.total };
                let same = partial::has(&file.file, &planned).map_err(io)?;
                if !same {
                    return Err(self.changed(i));
                }
            } else {
                file.file.sync_all().map_err(io)?;
            }
            let placed = self.layout.tensors.iter().filter(|p| p.file == i);
            let expected = placed.map(|p| Held::new(p.name, p.tensor.shape(), p.tensor.dtype(), p.offset));
            read_back(planned, expected.collect(), &file.path)?;
        }
        Ok(())
    }

    /// Gives the container its name, which something else may have only with `force`.
    pub fn publish(&self, force: bool) -> Result<()> {
        let target = &self.layout.target;
        if self.layout.is_directory {
            return match self.finished.contains(&true) {
                true => Ok(()),
                false => {
                    inner::sync(&beside(target), self.layout)?;
                    publish_directory(&beside(target), target, force, &self.journal)
                }
            };
        }
        let open = self.files.iter().zip(self.layout.paths()).zip(&self.finished);
        let open: Vec<(PathBuf, PathBuf)> = open
            .filter(|(_, finished)| !**finished)
            .map(|((file, path), _)| (file.path.clone(), path))
            .collect();
        match (open.as_slice(), self.files.len()) {
            ([], _) => Ok(()),
            ([(from, to)], 1) => publish_file(from, to, force),
            (several, _) => publish_set(several, force, &self.journal),
        }
    }

    /// Removes what was replaced, by this run or an earlier one that was stopped.
    pub fn clear(&self) -> Result<()> {
        let told = Told::read(&journal_of(&self.layout.target))?.unwrap_or_default();
        for (name, id) in &told.asides {
            remove_aside(&self.journal.folder().join(name), id);
            // Stopped between exchanging the names and moving the old one aside.
            remove_aside(&beside(&self.layout.target), id);
        }
        Ok(())
    }

    /// What has its name, each with its stamp.
    pub fn done(&self) -> Result<Vec<(String, String)>> {
        let stamp = |path: PathBuf| {
            let path = std::path::absolute(&path).unwrap_or(path);
            Ok((path.to_string_lossy().into_owned(), Stamp::of(&path)?.to_string()))
        };
        self.layout.paths().into_iter().map(stamp).collect()
    }

    /// Removes all that grows, and the journal: nothing of it can be gone on with. What has its name stays.
    pub fn discard(self) {
        for (file, finished) in self.files.iter().zip(&self.finished) {
            if !finished {
                file.discard();
            }
        }
        if self.layout.is_directory {
            // Only empty ones go.
            inner::discard(&beside(&self.layout.target), self.layout);
            _ = std::fs::remove_dir(beside(&self.layout.target));
        }
        self.journal.discard();
    }
}

impl Sink for Growing<'_> {
    const LEFT: &'static str =
        "give the same command again to go on, or remove what ends in .partial and .partial.journal";

    fn layout(&self) -> &Layout<'_> {
        self.layout
    }

    fn journal(&self) -> &Journal {
        &self.journal
    }

    fn to_read(&self, file: usize) -> Result<&File> {
        Ok(&self.files[file].file)
    }

    fn to_write(&self, file: usize) -> Result<&File> {
        if self.finished[file] { Err(self.changed(file)) } else { Ok(&self.files[file].file) }
    }

    fn own(&self, file: usize) -> Range<u64> {
        0..self.layout.files[file].total
    }
}

/// Where a file lies while it grows.
pub fn place(layout: &Layout<'_>, planned: &Planned) -> PathBuf {
    match layout.is_directory {
        true => beside(&layout.target).join(&planned.name),
        false => beside(&layout.path(planned)),
    }
}

/// Whether nothing lies where the files of the layout would grow.
pub fn nothing_grows(layout: &Layout<'_>) -> bool {
    layout.files.iter().all(|planned| place(layout, planned).symlink_metadata().is_err())
}

/// Which files of the layout an earlier run, of which `told` tells, has given their names, as far as can be seen without
/// reading them: all pieces are written, and it is this very file, or one of that length and head where nothing grows.
pub fn finished(layout: &Layout<'_>, told: &Told) -> Vec<bool> {
    let journal = journal_of(&layout.target);
    let is_finished = |(i, planned): (usize, &Planned)| -> bool {
        let (path, growing) = (layout.path(planned), place(layout, planned));
        let tensors = layout.tensors.iter().enumerate().filter(|(_, t)| t.file == i);
        let written = told.whole
            || tensors.into_iter().all(|(index, placed)| {
                let rows = usize::try_from(placed.tensor.shape().rows()).unwrap_or(usize::MAX);
                let step = step(placed.tensor).unwrap_or(1);
                (0..rows).step_by(step).all(|row| told.pieces.contains_key(&(index, row)))
            });
        let known = told.files.get(&name_in(folder(&journal), &growing));
        let is_there = path.symlink_metadata().is_ok_and(|meta| meta.is_file());
        let planned = partial::Planned { head: &planned.head, total: planned.total };
        let has = || files::existing(&path).and_then(|file| partial::has(&file, &planned)).unwrap_or(false);
        written
            && is_there
            && ((known.is_some() && files::id_of(&path).as_ref() == known)
                || (growing.symlink_metadata().is_err() && has()))
    };
    if told.pieces.is_empty() && !told.whole {
        return vec![false; layout.files.len()];
    }
    let found: Vec<bool> = layout.files.iter().enumerate().map(is_finished).collect();
    // A directory has its name as a whole.
    if layout.is_directory && found.contains(&false) { vec![false; found.len()] } else { found }
}

/// What decides every byte of this output.
pub fn work(layout: &Layout<'_>, job: &Job) -> Vec<(String, String)> {
    let mut work = job.work.clone();
    work.extend(layout.told.clone());
    // What a plan names is known there by its content: stamps are those of one machine.
    let inputs = job.inputs.iter().filter(|stamp| stamp.is_file() && !job.is_shared);
    for stamp in inputs {
        let fact = (stamp.path().display().to_string(), stamp.to_string());
        if !work.contains(&fact) {
            work.push(fact);
        }
    }
    work.extend(made(layout));
    work
}

/// What the layout itself says of the bytes.
fn made(layout: &Layout<'_>) -> Vec<(String, String)> {
    let mut work = layout.facts();
    let mut rows = Identity::default();
    for placed in &layout.tensors {
        let tensor = placed.tensor;
        rows.add(placed.name.as_bytes());
        rows.numbers([placed.file as u64, placed.offset]);
        tensor.identify(&mut rows);
    }
    work.push((String::from("how the tensors are made"), rows.hash()));
    let mut files = Identity::default();
    for file in &layout.files {
        files.add(file.name.as_bytes());
        files.add(&file.head);
        files.numbers([file.total]);
    }
    let output = format!("{} bytes, headers {}", layout.total(), files.hash());
    work.push((String::from("output"), output));
    work
}

/// What tells an output from every other, wherever its inputs lie; with those, every byte is decided.
pub fn fingerprint(layout: &Layout<'_>) -> String {
    let mut all = Identity::default();
    for (name, value) in layout.told.iter().chain(&made(layout)) {
        all.add(name.as_bytes());
        all.add(value.as_bytes());
    }
    all.hash()
}

fn read_back(planned: &Planned, mut expected: Vec<Held>, path: &Path) -> Result<()> {
    let wrong = |what: &str| Error::new(Kind::Verification, what).file(path);
    let file = Mapping::open(path)?;
    let length = file.bytes().len() as u64;
    if length != planned.total {
        return Err(wrong("the finished file has a wrong length").expected(planned.total).found(length));
    }
    let mut held = planned.read.map_or(Ok(Vec::new()), |read| read(&file))?;
    expected.sort();
    held.sort();
    if held == expected { Ok(()) } else { Err(wrong("the finished file does not hold what was planned")) }
}
