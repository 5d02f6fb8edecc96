//! Growing files: each lies beside its target as `TARGET.partial`. One that is there is taken over only if it is proven to
//! be ours: the journal knows this very file, or the same work is resumed and it has the length and the head of the plan.

use super::files::{careful, id, name_in, read_all_at, remove_if, write_all_at};
use super::in_the_way;
use super::journal::Journal;
use crate::error::{Error, Kind, Result};
use fs4::FileExt;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::PathBuf;

/// A file of an output: growing, or finished by an earlier run.
pub struct Partial {
    pub path: PathBuf,
    pub file: File,
}

/// What a growing file is to be.
pub struct Planned<'a> {
    /// What it starts with.
    pub head: &'a [u8],
    /// Bytes of the whole file.
    pub total: u64,
}

impl Partial {
    /// Makes the file at `path`, or takes over what an earlier run has left there.
    ///
    /// # Errors
    /// A file of this name is not ours; the disk has no room.
    pub fn claim(path: PathBuf, journal: &Journal, planned: &Planned<'_>) -> Result<Partial> {
        let io = |e: std::io::Error| Error::io(&e, &path);
        let name = name_in(journal.folder(), &path);
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let made = options.clone().create_new(true).open(&path);
        let (file, known) = match made {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                let file = careful(&mut options).open(&path).map_err(|_| in_the_way(&path))?;
                let known = journal.earlier.files.get(&name);
                let resumes = journal.earlier.resumes();
                if !is_ours(&file, known, planned, resumes).map_err(io)? {
                    return Err(in_the_way(&path));
                }
                let now = file.metadata().map(|m| id(&m)).map_err(io)?;
                (file, known == Some(&now))
            }
            file => (file.map_err(io)?, false),
        };
        if !known {
            journal.makes(&name, &id(&file.metadata().map_err(io)?))?;
        }
        let partial = Partial { path: path.clone(), file };
        partial.reserve(planned).inspect_err(|_| {
            if !known && !journal.earlier.resumes() {
                partial.discard();
            }
        })?;
        Ok(partial)
    }

    /// Reserving the room now lets a full disk show before any work is done.
    fn reserve(&self, planned: &Planned<'_>) -> Result<()> {
        let io = |e: std::io::Error| Error::io(&e, &self.path);
        let bytes = planned.total;
        let room = FileExt::allocate(&self.file, bytes).map_err(io);
        if let Err(e) = room
            && e.kind() == Kind::NoSpace
        {
            return Err(e
                .expected(format!("room for {bytes} bytes"))
                .hint("free some space, lift the limit, or choose another disk with -o"));
        }
        self.file.set_len(bytes).map_err(io)?;
        write_all_at(&self.file, planned.head, 0).map_err(io)
    }

    /// Removes it, if it still has its name. It is worth nothing to a later run.
    pub fn discard(&self) {
        if let Ok(meta) = self.file.metadata() {
            // If this fails the next run finds it, by the journal or because it is empty.
            _ = remove_if(&self.path, &id(&meta));
        }
    }
}

/// Whether the file that was opened may be written over.
pub fn is_ours(
    file: &File,
    known: Option<&String>,
    planned: &Planned<'_>,
    resumes: bool,
) -> std::io::Result<bool> {
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(false);
    }
    // An empty file is nobody's loss: a run was stopped before its journal could tell of it.
    if meta.len() == 0 || known == Some(&id(&meta)) {
        return Ok(true);
    }
    Ok(resumes && has(file, planned)?)
}

/// Whether the file has the length and the head of the plan.
pub fn has(file: &File, planned: &Planned<'_>) -> std::io::Result<bool> {
    if file.metadata()?.len() != planned.total {
        return Ok(false);
    }
    let mut head = vec![0; planned.head.len()];
    read_all_at(file, &mut head, 0)?;
    Ok(head == planned.head)
}
