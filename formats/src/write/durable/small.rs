//! Small files beside the outputs: reports, model cards, Modelfiles. Each is claimed and locked before the work, filled when
//! the outputs are whole, and gets its name after theirs; the first output's journal tells of it.

use super::files::{existing, id_of, name_in, remove_if, write_all_at};
use super::journal::{Journal, Told};
use super::lock::lock;
use super::partial::{Partial, Planned};
use super::publish::publish_file;
use super::{beside, folder, in_the_way};
use crate::error::{Error, Kind, Result};
use crate::write::job::Beside;
use crate::write::layout::Layout;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_128;

/// One that is being written.
pub struct Small {
    pub target: PathBuf,
    partial: Partial,
    /// Whether what has the name already is of an earlier run of the same work, or what this goes on with.
    ours: bool,
}

/// What a file has nothing of before it is written.
const NOTHING: Planned<'_> = Planned { head: &[], total: 0 };

impl Small {
    /// Takes the name for this run alone. `growing` is where it lies until it gets its name.
    pub fn claim(beside: &Beside, growing: PathBuf, journal: &Journal) -> Result<Small> {
        let dir = folder(&growing);
        std::fs::create_dir_all(dir).map_err(|e| Error::io(&e, dir))?;
        if let Some(id) = abandoned(&growing) {
            remove_if(&growing, &id)?;
        }
        let partial = Partial::claim(growing, journal, &NOTHING)?;
        lock(&partial.file).map_err(|e| e.file(&beside.path))?;
        let known = is_known(&beside.path, journal.earlier.smalls.get(&key(&beside.path)));
        let ours = known || beside.replaces;
        Ok(Small { target: beside.path.clone(), partial, ours })
    }

    /// Gives it its content, for good.
    pub fn write(&self, content: &[u8], journal: &Journal) -> Result<()> {
        let io = |e: std::io::Error| Error::io(&e, &self.partial.path);
        journal.small(&key(&self.target), &hash(content))?;
        write_all_at(&self.partial.file, content, 0).map_err(io)?;
        self.partial.file.sync_all().map_err(io)
    }

    /// Gives it its name.
    pub fn publish(&self, force: bool) -> Result<()> {
        // A directory that was published took it along.
        let moved = self.target.with_file_name(self.partial.path.file_name().unwrap_or_default());
        let from = if self.partial.path.symlink_metadata().is_ok() { &self.partial.path } else { &moved };
        publish_file(from, &self.target, force || self.ours)
    }

    /// Leaves nothing of it; the next run makes it again.
    pub fn discard(&self) {
        self.partial.discard();
    }
}

/// The name by which the journal knows a file.
fn key(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).to_string_lossy().into_owned()
}

fn hash(content: &[u8]) -> String {
    format!("{:032x}", xxh3_128(content))
}

/// Whether the file at `path` has this content, by its hash.
pub fn is_known(path: &Path, known: Option<&String>) -> bool {
    known.is_some_and(|known| std::fs::read(path).is_ok_and(|content| hash(&content) == *known))
}

/// Whether all of a run that writes these outputs, and these files beside them, is done, as a journal tells.
pub fn is_done(told: &Told, layouts: &[Layout<'_>], smalls: &[Beside]) -> bool {
    let paths: Vec<PathBuf> = layouts.iter().flat_map(Layout::paths).collect();
    told.is_done(&paths) && smalls.iter().all(|small| is_told(&small.path, told))
}

/// The same for what a journal tells.
pub fn is_told(path: &Path, told: &Told) -> bool {
    is_known(path, told.smalls.get(&key(path)))
}

/// What tells the file that grows at `path` from others, if a run of another output in this folder has left it that nobody
/// goes on with now. It is worth nothing: that run makes it again if it is repeated.
pub fn abandoned(path: &Path) -> Option<String> {
    let id = id_of(path)?;
    let dir = folder(path);
    let is_told = |entry: std::io::Result<std::fs::DirEntry>| {
        let journal = entry.ok()?.path();
        let is_journal = journal.to_string_lossy().ends_with(".partial.journal");
        let told = Told::read(&journal).ok().filter(|_| is_journal)??;
        (told.files.get(&name_in(dir, path)) == Some(&id)).then_some(())
    };
    std::fs::read_dir(dir).ok()?.find_map(is_told)?;
    // Whoever writes it has it locked.
    let file = existing(path).ok()?;
    lock(&file).is_ok_and(|locked| locked).then_some(id)
}

/// Writes a whole small file: beside its name, synced, and then under it, which something else may have only with
/// `force`.
pub fn write_whole(path: &Path, content: &[u8], force: bool) -> Result<()> {
    let growing = beside(path);
    let io = |e: std::io::Error| Error::io(&e, &growing);
    if !force && path.symlink_metadata().is_ok() {
        return Err(Error::new(Kind::Failure, "the file exists")
            .file(path)
            .hint("give --force to replace it"));
    }
    let file = match std::fs::OpenOptions::new().write(true).create_new(true).open(&growing) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Err(in_the_way(&growing)),
        file => file.map_err(io)?,
    };
    let partial = Partial { path: growing.clone(), file };
    let written = write_all_at(&partial.file, content, 0).and_then(|()| partial.file.sync_all()).map_err(io);
    written.and_then(|()| publish_file(&growing, path, force)).inspect_err(|_| partial.discard())
}
