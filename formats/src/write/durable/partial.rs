//! Growing files: each lies beside its target as `TARGET.partial`. One that is there is taken over only if it is proven to
//! be ours: the journal knows this very file, or the same work is resumed and it has the length and the head of the plan.

use super::in_the_way;
use super::journal::Journal;
use crate::error::{Error, Kind, Result};
use fs4::FileExt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

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
                let resumes = !journal.earlier.pieces.is_empty();
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
            if !known && journal.earlier.pieces.is_empty() {
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

/// What tells a file from every other on its disk, also from a later one that gets its number.
pub fn id(meta: &Metadata) -> String {
    let since = meta.created().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    let born = since.map_or(String::new(), |t| format!("{}.{:09}", t.as_secs(), t.subsec_nanos()));
    format!("{}-{born}", number(meta))
}

/// The same of what lies at `path`, not followed if it is a link.
pub fn id_of(path: &Path) -> Option<String> {
    path.symlink_metadata().ok().map(|meta| id(&meta))
}

#[cfg(unix)]
fn number(meta: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn number(_meta: &Metadata) -> u64 {
    0
}

/// Removes what lies at `path` if it is this very file.
pub fn remove_if(path: &Path, this: &str) -> Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_file() && id(&meta) == this => {
            std::fs::remove_file(path).map_err(|e| Error::io(&e, path))
        }
        _ => Ok(()),
    }
}

/// Removes what lies at `path` if it is a file of nothing.
pub fn remove_empty(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_file() && meta.len() == 0 => {
            std::fs::remove_file(path).map_err(|e| Error::io(&e, path))
        }
        _ => Ok(()),
    }
}

/// The name of `path` in `folder`, as journals tell it; the whole path if it lies elsewhere.
pub fn name_in(folder: &Path, path: &Path) -> String {
    let name = match path.strip_prefix(folder) {
        Ok(name) => name.to_path_buf(),
        Err(_) if folder == Path::new(".") => path.to_path_buf(),
        Err(_) => std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()),
    };
    name.to_string_lossy().into_owned()
}

/// Opens a file that is there, for reading; a link is not followed, a pipe not waited for.
pub fn existing(path: &Path) -> std::io::Result<File> {
    careful(OpenOptions::new().read(true)).open(path)
}

#[cfg(unix)]
pub fn careful(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
}

#[cfg(not(unix))]
pub fn careful(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(unix)]
pub fn write_all_at(file: &File, data: &[u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, data, at)
}

#[cfg(windows)]
pub fn write_all_at(file: &File, mut data: &[u8], mut at: u64) -> std::io::Result<()> {
    while !data.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_write(file, data, at)?;
        data = &data[n..];
        at += n as u64;
    }
    Ok(())
}

#[cfg(unix)]
pub fn read_all_at(file: &File, data: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, data, at)
}

#[cfg(windows)]
pub fn read_all_at(file: &File, mut data: &mut [u8], mut at: u64) -> std::io::Result<()> {
    while !data.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_read(file, data, at)?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        data = &mut data[n..];
        at += n as u64;
    }
    Ok(())
}
