//! Locks on journals: two runs of one output do not mix where the file system locks files; where it does not, that is told.

use super::{files, in_the_way};
use crate::error::{Error, Kind, Result};
use serde_json::Value as Json;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek};
use std::path::Path;

/// The longest journal that is read.
const LONGEST: u64 = 1 << 32;

/// All that is in a file, within reason.
pub fn content(mut file: &File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens `path` for this run alone; and whether it is locked.
pub fn locked(path: &Path) -> Result<(File, bool)> {
    let io = |e: std::io::Error| Error::io(&e, path);
    loop {
        let mut options = OpenOptions::new();
        options.read(true).append(true);
        let file = match options.clone().create_new(true).open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let file = files::careful(&mut options).open(path);
                match file.and_then(|f| Ok((f.metadata()?.is_file(), f))) {
                    Ok((true, file)) => file,
                    // A finished run has removed it just now.
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                    // Not ours, whatever it is: to read a pipe may take for ever.
                    _ => return Err(in_the_way(path).found("no regular file that can be written")),
                }
            }
            file => file.map_err(io)?,
        };
        let is_locked = lock(&file).map_err(|e| e.file(path).found(holder(&file)))?;
        // A run that finished just now has removed the file that was opened here.
        if is_at(&file, path) {
            return Ok((file, is_locked));
        }
    }
}

/// Locks a file for this run, or says that another has it. The result is false where the file system locks nothing, as
/// some of networks do.
pub fn lock(file: &File) -> Result<bool> {
    is_locked(file.try_lock())
}

fn is_locked(tried: std::result::Result<(), TryLockError>) -> Result<bool> {
    match tried {
        Err(TryLockError::WouldBlock) => Err(Error::new(Kind::Io, "another run is writing this output")
            .hint("wait for it, or choose another output with -o")),
        Ok(()) => Ok(true),
        Err(TryLockError::Error(_)) => Ok(false),
    }
}

/// Who writes the journal at `path` now, if anybody does.
pub fn busy(path: &Path) -> Result<()> {
    match files::existing(path) {
        Ok(file) => match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {
                lock(&file).map(|_| ()).map_err(|e| e.file(path).found(holder(&file)))
            }
            _ => Ok(()),
        },
        Err(_) => Ok(()),
    }
}

/// Who writes the journal.
fn holder(file: &File) -> String {
    let process = |line: &str| serde_json::from_str::<Json>(line).ok()?["process"].as_u64();
    let text = content(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    match text.lines().rev().find_map(process) {
        Some(id) => format!("process {id}"),
        None => String::from("a process that has just begun"),
    }
}

/// Whether the open file is what lies at `path`.
#[cfg(unix)]
pub fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Where an open file cannot be removed, it is where it was.
#[cfg(not(unix))]
pub fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_locks_nothing_is_no_other_run() {
        let unsupported = std::io::Error::from(std::io::ErrorKind::Unsupported);
        assert!(!is_locked(Err(TryLockError::Error(unsupported))).unwrap());
        assert!(is_locked(Ok(())).unwrap());
        assert!(is_locked(Err(TryLockError::WouldBlock)).is_err());
    }
}
