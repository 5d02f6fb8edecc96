//! Containers that are being written: their files, which grow beside the target, and the journal of what is done. Serves the
//! writer.

use super::journal::Journal;
use super::partial::{self, Directory, Partial};
use super::{Held, Job, Layout, Planned};
use crate::error::{Error, Kind, Result};
use crate::mmap::Mapping;
use std::fs::File;
use std::path::Path;
use xxhash_rust::xxh3::Xxh3Default;

/// A container that is being written.
pub(super) struct Growing<'a> {
    pub layout: &'a Layout<'a>,
    // In this order they are dropped: a directory can go only when it is empty, and the lock on all is the last.
    /// One for each file of the layout.
    files: Vec<Partial>,
    directory: Option<Directory>,
    pub journal: Journal,
}

impl<'a> Growing<'a> {
    /// Makes the files, or takes over those of an earlier run that did the same work.
    pub fn create(layout: &'a Layout<'a>, job: &Job) -> Result<Growing<'a>> {
        let mut work = job.work.clone();
        let inputs = job.inputs.iter().map(|stamp| (stamp.path().display().to_string(), stamp.to_string()));
        work.extend(inputs);
        work.push((String::from("output"), fingerprint(layout)));
        if layout.is_directory {
            partial::only_models(&layout.target)?;
        }
        let growing = partial::beside(&layout.target);
        let place = |planned: &Planned| match layout.is_directory {
            true => growing.join(&planned.name),
            false => partial::beside(&layout.path(planned)),
        };
        let is_whole =
            |p: &Planned| std::fs::metadata(place(p)).is_ok_and(|m| m.is_file() && m.len() == p.total);
        let journal = Journal::open(partial::journal(&layout.target), &work, job.resume, || {
            layout.files.iter().all(is_whole)
        })?;
        let resumes = !journal.earlier.is_empty();
        let names = layout.files.iter().filter(|_| resumes).map(|p| p.name.as_str());
        let directory =
            layout.is_directory.then(|| Directory::create(&growing, names.collect())).transpose()?;
        let mut container = Growing { layout, journal, files: Vec::new(), directory };
        for planned in &layout.files {
            let file = Partial::create(place(planned), planned.total, resumes);
            let file = file.inspect_err(|_| container.keep_if(resumes))?;
            partial::write_all_at(&file.file, &planned.head, 0).map_err(|e| Error::io(&e, &file.path))?;
            container.files.push(file);
        }
        Ok(container)
    }

    /// The files, in the order of the layout.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter().map(|f| &f.file)
    }

    /// The file of this place in the layout.
    pub fn file(&self, i: usize) -> &File {
        &self.files[i].file
    }

    /// The pieces that an earlier run has written.
    pub fn earlier(&self) -> usize {
        self.journal.earlier.len()
    }

    /// Leaves what there is to a later run, if there is anything.
    pub fn keep(&mut self) {
        let any = self.journal.is_begun();
        self.keep_if(any);
    }

    fn keep_if(&mut self, any: bool) {
        if any {
            self.files.iter_mut().for_each(Partial::keep);
            self.directory.iter_mut().for_each(Directory::keep);
            self.journal.keep();
        }
    }

    /// Syncs the files and holds them against the plan, with the strict reader.
    pub fn finish(&self) -> Result<()> {
        for (i, (planned, file)) in self.layout.files.iter().zip(&self.files).enumerate() {
            file.file.sync_all().map_err(|e| Error::io(&e, &file.path))?;
            let placed = self.layout.tensors.iter().filter(|p| p.file == i);
            let expected = placed.map(|p| Held::new(p.name, p.tensor.shape(), p.tensor.dtype(), p.offset));
            read_back(planned, expected.collect(), &file.path)?;
        }
        Ok(())
    }

    /// Gives the container its name. The journal goes with the last hold of it.
    pub fn publish(mut self) -> Result<()> {
        match self.directory {
            Some(directory) => {
                self.files.iter_mut().for_each(Partial::keep);
                directory.publish(&self.layout.target)
            }
            None => partial::publish(self.files.into_iter().zip(self.layout.paths()).collect()),
        }
    }
}

/// What tells a layout from others: the names and heads of its files, and their lengths.
fn fingerprint(layout: &Layout<'_>) -> String {
    let mut hash = Xxh3Default::new();
    for file in &layout.files {
        let lengths = [file.name.len() as u64, file.head.len() as u64, file.total];
        lengths.iter().for_each(|n| hash.update(&n.to_le_bytes()));
        hash.update(file.name.as_bytes());
        hash.update(&file.head);
    }
    format!("{} bytes, headers {:032x}", layout.total(), hash.digest128())
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
