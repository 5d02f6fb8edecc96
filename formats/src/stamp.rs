//! What the system tells of a file without reading it, by which a change is noticed. Serves the writer, which must
//! not mix what was read before a change with what was read after it.

use crate::error::{Error, Kind, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The state of a file: where it is, which it is, how long, and when it was changed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    path: PathBuf,
    /// The device and the number of the file on it, where the system numbers files.
    id: Option<(u64, u64)>,
    is_file: bool,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    /// The state of the file at `path` now.
    pub fn of(path: &Path) -> Result<Stamp> {
        let meta = std::fs::metadata(path).map_err(|e| Error::io(&e, path))?;
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let (is_file, bytes) = (meta.is_file(), meta.len());
        Ok(Stamp { path, id: id(&meta), is_file, bytes, modified: meta.modified().ok() })
    }

    /// Refuses the file if it is no longer what it was.
    pub fn check(&self) -> Result<()> {
        let now = Stamp::of(&self.path)?;
        if now == *self {
            return Ok(());
        }
        Err(Error::new(Kind::Io, "the input changed while it was read")
            .file(&self.path)
            .expected(self)
            .found(now)
            .mend("wait until nothing writes to it, and start again"))
    }

    /// Whether this is a file, and not a directory.
    pub fn is_file(&self) -> bool {
        self.is_file
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes)?;
        if let Some(since) = self.modified.and_then(|t| t.duration_since(UNIX_EPOCH).ok()) {
            write!(f, ", changed at {}.{:09}", since.as_secs(), since.subsec_nanos())?;
        }
        match self.id {
            Some((device, number)) => write!(f, ", file {number} of device {device}"),
            None => Ok(()),
        }
    }
}

#[cfg(unix)]
fn id(meta: &std::fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((meta.dev(), meta.ino()))
}

#[cfg(not(unix))]
fn id(_meta: &std::fs::Metadata) -> Option<(u64, u64)> {
    None
}
