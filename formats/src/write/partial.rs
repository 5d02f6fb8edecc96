//! Unfinished outputs: files and directories that grow beside their target under the name `TARGET.partial`,
//! locked against a second run, and gone unless they are published. Publishing is a rename, made durable.

use crate::error::{Error, Kind, Result};
use fs4::FileExt;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// What a model directory may hold besides directories, told by the endings of its files.
const MODEL_FILES: [&str; 8] = ["safetensors", "json", "jinja", "model", "md", "txt", "partial", "lock"];

/// The file that locks a growing directory; it is removed before publishing.
const LOCK: &str = "ggraft.lock";

/// The name of `target` while it grows.
pub fn beside(target: &Path) -> PathBuf {
    with_ending(target, ".partial")
}

fn with_ending(target: &Path, ending: &str) -> PathBuf {
    let mut name = target.file_name().map_or_else(OsString::new, |n| n.to_os_string());
    name.push(ending);
    target.with_file_name(name)
}

/// A growing file.
pub struct Partial {
    pub path: PathBuf,
    pub file: File,
    /// Whether it is to be kept.
    published: bool,
}

impl Partial {
    /// Creates the file, locked and with room for `bytes`.
    pub fn create(path: PathBuf, bytes: u64) -> Result<Partial> {
        let file = locked(&path)?;
        let io = |e: std::io::Error| Error::io(&e, &path);
        let partial = Partial { path: path.clone(), file, published: false };
        partial.file.set_len(0).map_err(io)?;
        // Reserving the room now lets a full disk show before any work is done.
        match FileExt::allocate(&partial.file, bytes) {
            Err(e) if e.kind() == std::io::ErrorKind::StorageFull => Err(Error::io(&e, &path)
                .expected(format!("{bytes} bytes of free space"))
                .mend("free some space, or choose another disk with -o")),
            _ => {
                partial.file.set_len(bytes).map_err(io)?;
                Ok(partial)
            }
        }
    }

    /// Gives the file its name; it is still gone unless it is published.
    fn rename(&mut self, target: &Path) -> Result<()> {
        std::fs::rename(&self.path, target).map_err(|e| Error::io(&e, target))?;
        self.path = target.to_path_buf();
        Ok(())
    }

    /// Leaves the file to its directory.
    pub fn close(mut self) {
        self.published = true;
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published {
            // Nothing more can be done if removing fails; the name tells what the file is.
            _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Gives files that belong together, in one folder, their names. The first, by which readers open a split model, gets
/// its own last: so whoever finds it finds them all, and whatever stops this leaves no model that mixes old and new.
pub fn publish(mut files: Vec<(Partial, PathBuf)>) -> Result<()> {
    let Some(((first, name), others)) = files.split_first_mut() else { return Ok(()) };
    let folder = parent(name).to_path_buf();
    if !others.is_empty() {
        if name.exists() {
            std::fs::remove_file(&*name).map_err(|e| Error::io(&e, name))?;
            sync_directory(&folder)?;
        }
        others.iter_mut().try_for_each(|(file, name)| file.rename(name))?;
        sync_directory(&folder)?;
    }
    first.rename(name)?;
    files.iter_mut().for_each(|(file, _)| file.published = true);
    sync_directory(&folder)
}

/// A growing directory.
pub struct Directory {
    path: PathBuf,
    lock: Option<File>,
}

impl Directory {
    /// Creates `TARGET.partial`, or takes it over from a run that was killed. A `target` that is there already
    /// must look like a model, because it will be replaced as a whole.
    pub fn create(target: &Path) -> Result<Directory> {
        only_models(target)?;
        let path = beside(target);
        only_models(&path)?;
        std::fs::create_dir_all(&path).map_err(|e| Error::io(&e, &path))?;
        let lock = locked(&path.join(LOCK))?;
        let directory = Directory { path, lock: Some(lock) };
        for name in names(&directory.path)?.iter().filter(|name| *name != LOCK) {
            let stale = directory.path.join(name);
            std::fs::remove_file(&stale).map_err(|e| Error::io(&e, &stale))?;
        }
        Ok(directory)
    }

    /// Where it is now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the directory its name; an older one of this name is replaced.
    pub fn publish(mut self, target: &Path) -> Result<()> {
        let lock = self.path.join(LOCK);
        self.lock = None;
        std::fs::remove_file(&lock).map_err(|e| Error::io(&e, &lock))?;
        sync_directory(&self.path)?;
        let io = |e: std::io::Error| Error::io(&e, target);
        let older = with_ending(target, ".replaced");
        let replaces = target.is_dir();
        if replaces {
            std::fs::rename(target, &older).map_err(io)?;
        }
        std::fs::rename(&self.path, target).map_err(io)?;
        if replaces {
            std::fs::remove_dir_all(&older).map_err(|e| Error::io(&e, &older))?;
        }
        sync_directory(parent(target))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // After publishing there is none; else the files are gone already, and what remains is the lock.
        self.lock = None;
        _ = std::fs::remove_file(self.path.join(LOCK));
        _ = std::fs::remove_dir(&self.path);
    }
}

/// Refuses a directory that holds what no model directory holds: it must not be replaced or emptied.
fn only_models(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let is_model_file = |name: &OsString| {
        let path = Path::new(name);
        let known = path.extension().is_some_and(|e| MODEL_FILES.iter().any(|known| e == *known));
        (known || name == ".gitattributes") && dir.join(path).is_file()
    };
    match names(dir)?.iter().find(|name| !is_model_file(name)) {
        None => Ok(()),
        Some(other) => {
            Err(Error::new(Kind::Failure, "the directory holds more than a model and is not replaced")
                .file(dir)
                .found(format!("'{}'", other.to_string_lossy()))
                .mend("choose another directory with -o, or remove this one"))
        }
    }
}

fn names(dir: &Path) -> Result<Vec<OsString>> {
    let io = |e: std::io::Error| Error::io(&e, dir);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        names.push(entry.map_err(io)?.file_name());
    }
    names.sort();
    Ok(names)
}

/// Opens `path` for this run alone.
fn locked(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|e| Error::io(&e, path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(Error::new(Kind::Io, "another run is writing this file")
            .file(path)
            .mend("wait for it, or choose another output with -o")),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the entries of a directory durable.
fn sync_directory(dir: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(&e, dir))?;
    }
    Ok(())
}
