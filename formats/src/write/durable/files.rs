//! Single files: what tells one from every other, and opening, removing, reading and writing them with care; the entries of a
//! folder.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::path::Path;
use std::time::UNIX_EPOCH;

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

/// The names in a directory, in their order.
pub fn names(dir: &Path) -> Result<Vec<OsString>> {
    let io = |e: std::io::Error| Error::io(&e, dir);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        names.push(entry.map_err(io)?.file_name());
    }
    names.sort();
    Ok(names)
}

/// Makes the entries of a directory durable.
pub fn sync_directory(dir: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(&e, dir))?;
    }
    Ok(())
}
