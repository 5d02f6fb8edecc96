//! Unfinished outputs: files and directories that grow beside their target under the name `TARGET.partial`, and are
//! gone unless they are kept or published. Publishing is a rename, made durable.

use crate::error::{Error, Kind, Result};
use fs4::FileExt;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// What a model directory may hold besides directories, told by the endings of its files.
const MODEL_FILES: [&str; 7] = ["safetensors", "json", "jinja", "model", "md", "txt", "partial"];

/// The name of `target` while it grows.
pub fn beside(target: &Path) -> PathBuf {
    with_ending(target, ".partial")
}

/// The name of its journal.
pub fn journal(target: &Path) -> PathBuf {
    with_ending(target, ".partial.journal")
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
    /// Whether it is to stay.
    kept: bool,
}

impl Partial {
    /// Creates the file with room for `bytes`, or takes it over with what it holds.
    pub fn create(path: PathBuf, bytes: u64, take_over: bool) -> Result<Partial> {
        let io = |e: std::io::Error| Error::io(&e, &path);
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(!take_over).open(&path).map_err(io)?;
        let mut partial = Partial { path: path.clone(), file, kept: take_over };
        // Reserving the room now lets a full disk show before any work is done.
        match FileExt::allocate(&partial.file, bytes) {
            Err(e) if Error::io(&e, &path).kind() == Kind::NoSpace => Err(Error::io(&e, &path)
                .expected(format!("room for {bytes} bytes"))
                .mend("free some space, lift the limit, or choose another disk with -o")),
            _ => {
                partial.file.set_len(bytes).map_err(io)?;
                partial.kept = false;
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

    /// Lets the file stay.
    pub fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
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
    files.iter_mut().for_each(|(file, _)| file.kept = true);
    sync_directory(&folder)
}

/// Writes a whole small file: beside its name, synced, and then under it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = Partial::create(beside(path), bytes.len() as u64, false)?;
    write_all_at(&partial.file, bytes, 0).map_err(|e| Error::io(&e, path))?;
    partial.file.sync_all().map_err(|e| Error::io(&e, path))?;
    publish(vec![(partial, path.to_path_buf())])
}

/// A growing directory.
pub struct Directory {
    path: PathBuf,
    kept: bool,
}

impl Directory {
    /// Creates the directory at `path`, or takes it over from a run that was stopped, with the files of these names
    /// and no others.
    pub fn create(path: &Path, known: Vec<&str>) -> Result<Directory> {
        only_models(path)?;
        std::fs::create_dir_all(path).map_err(|e| Error::io(&e, path))?;
        let mut directory = Directory { path: path.to_path_buf(), kept: !known.is_empty() };
        for name in names(path)?.iter().filter(|name| known.iter().all(|k| *name != k)) {
            let stale = path.join(name);
            std::fs::remove_file(&stale).map_err(|e| Error::io(&e, &stale))?;
        }
        directory.kept = false;
        Ok(directory)
    }

    /// Lets the directory stay.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Gives the directory its name; an older one of this name is replaced.
    pub fn publish(mut self, target: &Path) -> Result<()> {
        self.kept = true;
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
        if !self.kept {
            // It holds files still if one of them could not be removed; then it has to stay.
            _ = std::fs::remove_dir(&self.path);
        }
    }
}

/// Refuses a directory that holds what no model directory holds: it must not be replaced or emptied.
pub fn only_models(dir: &Path) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Files `b` and `c` with the first, `a`, that are about to get their names.
    fn grown(dir: &Path) -> Vec<(Partial, PathBuf)> {
        let grow = |name: &str| {
            let target = dir.join(name);
            (Partial::create(beside(&target), 3, false).unwrap(), target)
        };
        ["a", "b", "c"].map(grow).into()
    }

    #[test]
    fn files_that_belong_together_appear_together() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "older").unwrap();
        publish(grown(dir.path())).unwrap();
        assert_eq!(names(dir.path()).unwrap(), ["a", "b", "c"]);
        assert_eq!(std::fs::metadata(dir.path().join("a")).unwrap().len(), 3);
    }

    #[test]
    fn a_file_that_cannot_get_its_name_takes_all_away() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("c/full")).unwrap();
        std::fs::write(dir.path().join("a"), "older").unwrap();
        publish(grown(dir.path())).unwrap_err();
        // Of a mixture of old and new nothing is left that a reader would open.
        assert_eq!(names(dir.path()).unwrap(), ["c"]);
    }
}
