//! The only file mapping of the house, and so one of the two rooms that may hold `unsafe`.

use crate::error::{Error, Result};
use crate::stamp::Stamp;
use memmap2::{Advice, Mmap, UncheckedAdvice};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What stands in place of a large file that Git LFS has not fetched: few lines, of which this is the first.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
const LONGEST_POINTER: usize = 1024;

/// A whole regular file, mapped read-only; or one that lies elsewhere, read whole. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Mapping {
    map: Arc<Held>,
    path: Arc<PathBuf>,
    stamp: Arc<Stamp>,
}

/// Where the bytes are.
#[derive(Debug)]
enum Held {
    Mapped(Mmap),
    Memory(Vec<u8>),
}

impl Held {
    fn bytes(&self) -> &[u8] {
        match self {
            Held::Mapped(map) => map,
            Held::Memory(bytes) => bytes,
        }
    }
}

impl Mapping {
    /// A file that lies elsewhere, which was read whole in the state `tag`.
    pub fn of_bytes(bytes: Vec<u8>, path: &Path, tag: &str) -> Mapping {
        let stamp = Stamp::elsewhere(path, bytes.len() as u64, tag, Arc::default());
        let map = Arc::new(Held::Memory(bytes));
        Mapping { map, path: Arc::new(path.to_path_buf()), stamp: Arc::new(stamp) }
    }

    /// Maps `path`, which must be a regular file (a link to one is followed).
    pub fn open(path: &Path) -> Result<Mapping> {
        let irregular = || Error::invalid("this is not a regular file").file(path);
        // To open a pipe may take for ever.
        if !std::fs::metadata(path).map_err(|e| Error::io(&e, path))?.is_file() {
            return Err(irregular());
        }
        let file = File::open(path).map_err(|e| Error::io(&e, path))?;
        let stamp = Stamp::of_file(&file, path)?;
        if !stamp.is_file() {
            return Err(irregular());
        }
        // SAFETY: the mapping is read-only and private to this process. If another process truncates the
        // file while it is mapped, access faults; inputs are opened for reading only and never by our writers.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(&e, path))?;
        if map.len() < LONGEST_POINTER && map.starts_with(POINTER) {
            return Err(Error::invalid("this is a pointer of Git LFS, not the file that it stands for")
                .file(path)
                .hint("get the file itself: run `git lfs pull` in its folder, or download it again"));
        }
        Ok(Mapping {
            map: Arc::new(Held::Mapped(map)),
            path: Arc::new(path.to_path_buf()),
            stamp: Arc::new(stamp),
        })
    }

    /// All bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        self.map.bytes()
    }

    /// The bytes of `range`, or an error that names the file if it is shorter.
    pub fn slice(&self, range: Range<u64>) -> Result<&[u8]> {
        let part = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        part.and_then(|(start, end)| self.bytes().get(start..end)).ok_or_else(|| {
            Error::invalid("the data runs past the end of the file")
                .file(&self.path)
                .expected(format!("at least {} bytes", range.end))
                .found(format!("{} bytes", self.bytes().len()))
                .hint("the file is truncated: copy or download it again")
        })
    }

    /// Asks the system to fetch `range`, which is read soon, and nothing around it.
    pub fn prefetch(&self, range: Range<usize>) {
        let Held::Mapped(map) = &*self.map else { return };
        if crate::source::is_planning() {
            return;
        }
        let length = range.end.min(map.len()).saturating_sub(range.start);
        // An advice that is refused costs time and nothing else.
        _ = map.advise_range(Advice::WillNeed, range.start, length);
    }

    /// Gives the pages of `range` back to the system: they stay in its cache, but no longer count as this
    /// process's memory, and are fetched again if they are read again.
    pub fn release(&self, range: Range<usize>) {
        let Held::Mapped(map) = &*self.map else { return };
        let length = range.end.min(map.len()).saturating_sub(range.start);
        // SAFETY: the mapping is of a file and read-only, so no page of it holds anything that the file does not;
        // a page that is dropped while another thread reads it is read from the file anew.
        let dropped = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, length) };
        // An advice that is refused costs memory and nothing else.
        _ = dropped;
    }

    /// The state of the file when it was opened.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Ends the process with a message, and with the exit code of I/O errors, when a mapped file is cut short while it is
/// read; without this the system ends it in its own words. For programs: it is one signal (SIGBUS) of the process.
pub fn end_if_truncated() {
    #[cfg(unix)]
    {
        extern "C" fn end(_signal: libc::c_int) {
            let text = b"error: an input became shorter while it was read\n  hint: wait until nothing writes to it, \
                and start again\n";
            // SAFETY: both functions may be called in signal handlers; the text lives as long as the program.
            unsafe {
                libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
                libc::_exit(5);
            }
        }
        // SAFETY: the handler has the type that is expected, and calls nothing that a handler may not.
        unsafe { libc::signal(libc::SIGBUS, end as extern "C" fn(libc::c_int) as libc::sighandler_t) };
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}
