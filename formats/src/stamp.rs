//! What the system tells of a file without reading it, by which a change is noticed. Serves the writer, which must
//! not mix what was read before a change with what was read after it.

use crate::error::{Error, Kind, Result};
use std::fmt;
use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// The state of a file: where it is, which it is, how long, and when it was changed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    path: PathBuf,
    /// The device and the number of the file on it, where the system numbers files.
    id: Option<(u64, u64)>,
    is_file: bool,
    bytes: u64,
    /// When the content was changed last, as the writer of the file says.
    modified: Option<SystemTime>,
    /// When anything of it was changed last, in seconds and nanoseconds: what no tool sets back.
    changed: Option<(i64, i64)>,
    /// Of a file that lies elsewhere what its server calls its state.
    elsewhere: Option<Elsewhere>,
}

/// The state of a file that lies elsewhere. Every part that is read of it is held against that.
#[derive(Clone, Debug)]
struct Elsewhere {
    tag: String,
    /// Whether a part was refused as one of another state.
    changed: Arc<AtomicBool>,
}

impl PartialEq for Elsewhere {
    fn eq(&self, other: &Elsewhere) -> bool {
        self.tag == other.tag
    }
}

impl Eq for Elsewhere {}

impl Stamp {
    /// The state of the file at `path` now.
    pub fn of(path: &Path) -> Result<Stamp> {
        let meta = std::fs::metadata(path).map_err(|e| Error::io(&e, path))?;
        Ok(Stamp::new(&meta, path))
    }

    /// The state of the file that was opened at `path`, whatever lies there now.
    pub fn of_file(file: &File, path: &Path) -> Result<Stamp> {
        let meta = file.metadata().map_err(|e| Error::io(&e, path))?;
        Ok(Stamp::new(&meta, path))
    }

    fn new(meta: &Metadata, path: &Path) -> Stamp {
        Stamp {
            path: path.canonicalize().unwrap_or_else(|_| path.to_path_buf()),
            id: id(meta),
            is_file: meta.is_file(),
            bytes: meta.len(),
            modified: meta.modified().ok(),
            changed: changed(meta),
            elsewhere: None,
        }
    }

    /// The state of a file that lies elsewhere, by what its server calls it; `changed` is set when it is found to be another.
    pub(crate) fn elsewhere(path: &Path, bytes: u64, tag: &str, changed: Arc<AtomicBool>) -> Stamp {
        Stamp {
            path: path.to_path_buf(),
            id: None,
            is_file: true,
            bytes,
            modified: None,
            changed: None,
            elsewhere: Some(Elsewhere { tag: tag.to_string(), changed }),
        }
    }

    /// Refuses the file if it is no longer what it was.
    pub fn check(&self) -> Result<()> {
        if let Some(elsewhere) = &self.elsewhere {
            return match elsewhere.changed.load(Ordering::Relaxed) {
                false => Ok(()),
                true => {
                    Err(Error::new(Kind::Changed, "the input changed while it was read").file(&self.path))
                }
            };
        }
        let now = Stamp::of(&self.path).map_err(|e| {
            e.hint("put the input back where it was and give the same command again; what is written stays")
        })?;
        if now == *self {
            return Ok(());
        }
        Err(Error::new(Kind::Changed, "the input changed while it was read")
            .file(&self.path)
            .expected(self)
            .found(now)
            .hint("wait until nothing writes to it, and start again"))
    }

    /// Whether another file is there now, or other content; not whether it is gone.
    pub fn is_changed(&self) -> bool {
        if let Some(elsewhere) = &self.elsewhere {
            return elsewhere.changed.load(Ordering::Relaxed);
        }
        Stamp::of(&self.path).is_ok_and(|now| now != *self)
    }

    /// Whether this is a file, and not a directory.
    pub fn is_file(&self) -> bool {
        self.is_file
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long the file is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When its content was changed last, as its writer says, in seconds: finer than that not every file system tells.
    pub fn modified(&self) -> Option<u64> {
        Some(self.modified?.duration_since(UNIX_EPOCH).ok()?.as_secs())
    }

    /// What the server of a file that lies elsewhere calls its state.
    pub fn tag(&self) -> Option<&str> {
        self.elsewhere.as_ref().map(|elsewhere| elsewhere.tag.as_str())
    }

    /// Whether `path` leads to this file, by whatever name.
    pub fn is_at(&self, path: &Path) -> bool {
        let Ok(meta) = std::fs::metadata(path) else { return false };
        (self.id.is_some() && self.id == id(&meta)) || path.canonicalize().is_ok_and(|at| at == self.path)
    }

    /// Whether the file lies in the directory `dir`, at any depth.
    pub fn is_inside(&self, dir: &Path) -> bool {
        dir.canonicalize().is_ok_and(|dir| dir != self.path && self.path.starts_with(dir))
    }
}

/// The files that were read for a model, each as it was when it was opened. Clones share one list, so what is read later
/// for the same model is in it too.
#[derive(Clone, Debug, Default)]
pub struct Reads(Arc<Mutex<Vec<Stamp>>>);

impl Reads {
    /// Takes note of a file that was opened.
    pub fn add(&self, stamp: Stamp) {
        let mut list = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !list.contains(&stamp) {
            list.push(stamp);
        }
    }

    /// The files so far, in the order in which they were opened.
    pub fn all(&self) -> Vec<Stamp> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes)?;
        if let Some(elsewhere) = &self.elsewhere {
            write!(f, ", state {}", elsewhere.tag)?;
        }
        if let Some(since) = self.modified.and_then(|t| t.duration_since(UNIX_EPOCH).ok()) {
            write!(f, ", changed at {}.{:09}", since.as_secs(), since.subsec_nanos())?;
        }
        if let Some((seconds, nanoseconds)) = self.changed {
            write!(f, ", by the system's clock at {seconds}.{nanoseconds:09}")?;
        }
        match self.id {
            Some((device, number)) => write!(f, ", file {number} of device {device}"),
            None => Ok(()),
        }
    }
}

#[cfg(unix)]
fn changed(meta: &Metadata) -> Option<(i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    Some((meta.ctime(), meta.ctime_nsec()))
}

#[cfg(not(unix))]
fn changed(_meta: &Metadata) -> Option<(i64, i64)> {
    None
}

#[cfg(unix)]
fn id(meta: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((meta.dev(), meta.ino()))
}

#[cfg(not(unix))]
fn id(_meta: &Metadata) -> Option<(u64, u64)> {
    None
}
