//! A file that is to begin otherwise: its head is replaced and the rest stays, durably. Serves the editing of metadata.
//! What differs within one sector is written in place, for disks write a sector whole or not at all. For all else a
//! copy grows beside the file and takes its name when it is whole, synced and read back; the copy is made by the
//! system, which shares the blocks of data that does not move where the file system can (Btrfs, XFS).

use super::Watch;
use super::behind;
use super::durable::{self, Journal, Partial, Planned, write_all_at};
use crate::error::{Error, Kind, Result};
use crate::identity::Identity;
use crate::mmap::Mapping;
use crate::stamp::Stamp;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that a disk writes together, wherever it is.
const SECTOR: usize = 512;

/// Bytes that are copied at a time.
const CHUNK: u64 = 32 << 20;

/// How an edited file gets its new head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It has it already.
    Nothing,
    /// A few bytes are written over.
    InPlace,
    /// A new file takes the name; the data stays at its offset.
    Copied,
    /// A new file takes the name; the data moves to another offset.
    Moved,
}

/// A file and the head that it is to have.
pub struct Rewrite {
    source: PathBuf,
    /// The state of the file in which it was looked at.
    stamp: Stamp,
    /// Up to where the data starts.
    head: Vec<u8>,
    /// Bytes of the file that the head replaces.
    replaced: u64,
    /// Bytes of the file.
    bytes: u64,
    /// Where the heads differ, if they have the same length.
    differing: Option<Range<usize>>,
    /// Reads the result strictly.
    check: fn(&Mapping) -> Result<()>,
}

impl Rewrite {
    /// Plans to replace the first `replaced` bytes of `file`, whose state was `stamp` before it was opened.
    pub(crate) fn new(
        file: &Mapping,
        stamp: Stamp,
        head: Vec<u8>,
        replaced: u64,
        check: fn(&Mapping) -> Result<()>,
    ) -> Rewrite {
        let bytes = file.bytes().len() as u64;
        // A file without data may end before its padding does.
        let replaced = replaced.min(bytes);
        let old = file.bytes().get(..head.len()).filter(|old| old.len() as u64 == replaced);
        let differing = old.map(|old| {
            let differ = |(a, b): (&u8, &u8)| a != b;
            let first = old.iter().zip(&head).position(differ).unwrap_or(0);
            let last = old.iter().zip(&head).rposition(differ).map_or(first, |last| last + 1);
            first..last
        });
        Rewrite { source: file.path().to_path_buf(), stamp, head, replaced, bytes, differing, check }
    }

    /// How the file, or with `output` a new one beside it, gets the head.
    pub fn way(&self, output: Option<&Path>) -> Way {
        match &self.differing {
            None => Way::Moved,
            Some(_) if output.is_some() => Way::Copied,
            Some(part) if part.is_empty() => Way::Nothing,
            Some(part) if part.start / SECTOR == (part.end - 1) / SECTOR && has_one_name(&self.source) => {
                Way::InPlace
            }
            Some(_) => Way::Copied,
        }
    }

    /// Where the data starts, before and after.
    pub fn data_offsets(&self) -> (u64, u64) {
        (self.replaced, self.head.len() as u64)
    }

    /// Bytes that are copied.
    pub fn work(&self, output: Option<&Path>) -> u64 {
        match self.way(output) {
            Way::Nothing | Way::InPlace => 0,
            Way::Copied => self.bytes,
            Way::Moved => self.bytes - self.replaced,
        }
    }

    /// Bytes of the result.
    pub fn total(&self) -> u64 {
        (self.bytes - self.replaced).saturating_add(self.head.len() as u64)
    }

    /// Refuses what an edit must not touch, and touches nothing: an output that is the input by another name, or exists
    /// without `force`; and what something else has left under the names of unfinished files.
    pub fn look(&self, output: Option<&Path>, force: bool) -> Result<()> {
        let target = output.unwrap_or(&self.source);
        if let Some(output) = output {
            let refused = |what: &str| Error::new(Kind::Failure, what).file(output);
            if self.stamp.is_at(output) {
                return Err(refused("the output is the input").hint("leave -o out to edit the file itself"));
            }
            if output.is_dir() {
                return Err(refused("the output is a directory").hint("give the name of a file with -o"));
            }
            if !force && output.symlink_metadata().is_ok() && !self.is_finished(output) {
                return Err(
                    refused("the output exists").hint("give --force to replace it, or another name with -o")
                );
            }
        }
        for path in [durable::beside(target), durable::journal_of(target)] {
            if self.stamp.is_at(&path) {
                return Err(Error::new(Kind::Failure, "the unfinished output would be the input")
                    .file(&path)
                    .hint("choose another output with -o, or rename the input"));
            }
        }
        durable::look_beside(target)
    }

    /// Gives the file its head, or writes a new one to `output`, which may exist with `force`.
    pub fn carry_out(&self, output: Option<&Path>, force: bool, watch: &dyn Watch) -> Result<()> {
        let target = output.unwrap_or(&self.source);
        let way = self.way(output);
        self.look(output, force)?;
        if way == Way::Nothing {
            // What a run that was killed after its last step has left.
            return durable::clear_edit(target);
        }
        if let Some(output) = output.filter(|output| !force && self.is_finished(output)) {
            self.verify(output)?;
            return durable::clear_edit(output);
        }
        self.refuse_read_only(target)?;
        let journal = self.lock(target)?;
        // Whoever held the lock before may have edited the file.
        let done = self.stamp.check().and_then(|()| match (way, &self.differing) {
            (Way::InPlace, Some(part)) => self.write_over(part),
            _ => self.write_anew(target, output.is_none() || force, &journal, watch),
        });
        journal.discard();
        done
    }

    /// What tells this edit from others.
    fn identity(&self) -> Vec<(String, String)> {
        let mut head = Identity::default();
        head.add(&self.head);
        vec![(String::from("edit of"), self.stamp.to_string()), (String::from("header"), head.hash())]
    }

    /// Whether the output is what this very edit has made, in a run that was killed before it could clear up.
    fn is_finished(&self, output: &Path) -> bool {
        durable::edited(output, &self.identity())
    }

    fn refuse_read_only(&self, target: &Path) -> Result<()> {
        match std::fs::metadata(target) {
            Ok(meta) if meta.permissions().readonly() => {
                Err(Error::new(Kind::Failure, "the file is read-only")
                    .file(target)
                    .hint("make it writable, or give another name with -o"))
            }
            _ => Ok(()),
        }
    }

    /// Nobody else writes this file meanwhile, and what a stopped run has left of it is not destroyed.
    fn lock(&self, target: &Path) -> Result<Journal> {
        Journal::open(durable::journal_of(target), &self.identity(), false).map_err(|e| {
            e.hint("finish that work first, or remove what ends in .partial and .partial.journal")
        })
    }

    fn write_over(&self, part: &Range<usize>) -> Result<()> {
        let path = &self.source;
        let written = OpenOptions::new().write(true).open(path).and_then(|file| {
            write_all_at(&file, &self.head[part.clone()], part.start as u64)?;
            file.sync_data()
        });
        written.map_err(|e| Error::io(&e, path))?;
        self.verify(path)
    }

    fn write_anew(&self, target: &Path, force: bool, journal: &Journal, watch: &dyn Watch) -> Result<()> {
        let moves = self.differing.is_none();
        // Blocks that are shared need no room.
        let room = if moves { self.total() } else { 0 };
        let planned = Planned { head: &[], total: room };
        let new = Partial::claim(durable::beside(target), journal, &planned)?;
        let done = self.grow(&new, watch).and_then(|()| durable::publish_file(&new.path, target, force));
        done.inspect_err(|_| new.discard())
    }

    fn grow(&self, new: &Partial, watch: &dyn Watch) -> Result<()> {
        let written = AtomicU64::new(0);
        let (copied, synced) =
            behind::during(&[&new.file], &written, behind::STEP, || self.copy(new, &written, watch));
        copied?;
        let io = |e: io::Error| Error::io(&e, &new.path);
        synced.map_err(io)?;
        write_all_at(&new.file, &self.head, 0).map_err(io)?;
        new.file.set_len(self.total()).map_err(io)?;
        let permissions = std::fs::metadata(&self.source).map(|meta| meta.permissions());
        permissions.and_then(|p| new.file.set_permissions(p)).map_err(io)?;
        new.file.sync_all().map_err(io)?;
        self.verify(&new.path)?;
        self.stamp.check()
    }

    /// Copies the data, and where it stays at its offset the old head before it: so whole blocks are shared.
    fn copy(&self, new: &Partial, written: &AtomicU64, watch: &dyn Watch) -> Result<()> {
        let (start, to) = match self.differing {
            Some(_) => (0, 0),
            None => (self.replaced, self.head.len() as u64),
        };
        let mut source = File::open(&self.source).map_err(|e| Error::io(&e, &self.source))?;
        let io = |e: io::Error| Error::io(&e, &new.path);
        source.seek(SeekFrom::Start(start)).map_err(|e| Error::io(&e, &self.source))?;
        (&new.file).seek(SeekFrom::Start(to)).map_err(io)?;
        let mut left = self.bytes - start;
        while left > 0 {
            if watch.cancelled() {
                return Err(Error::new(Kind::Interrupted, "stopped by a signal before the file was whole")
                    .file(&new.path)
                    .hint("nothing has changed: give the same command again"));
            }
            let n = io::copy(&mut (&source).take(CHUNK.min(left)), &mut &new.file).map_err(io)?;
            if n == 0 {
                return Err(Error::new(Kind::Io, "the file became shorter while it was read")
                    .file(&self.source)
                    .hint("wait until nothing writes to it, and start again"));
            }
            left -= n;
            written.fetch_add(n, Ordering::Relaxed);
            watch.advance(0, 0, n, left == 0);
        }
        Ok(())
    }

    /// Reads the result back.
    fn verify(&self, path: &Path) -> Result<()> {
        let file = Mapping::open(path)?;
        if file.bytes().len() as u64 != self.total() || !file.bytes().starts_with(&self.head) {
            return Err(Error::new(Kind::Verification, "the finished file is not what was planned")
                .file(path)
                .hint("check the disk"));
        }
        (self.check)(&file).map_err(Error::verification)
    }
}

/// Whether writing to the file changes what no other name leads to: no link of either kind.
fn has_one_name(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.nlink() == 1)
    }
    #[cfg(not(unix))]
    {
        std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
    }
}
