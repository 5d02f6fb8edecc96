//! Files for parsers that take paths: a directory for each thread, in memory where the system has such a place.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Writes `files` and calls `f` with their directory. They stay until other files of their names come.
pub fn with<T>(files: &[(&str, &[u8])], f: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static DIR: OnceCell<TempDir> = const { OnceCell::new() };
    }
    DIR.with(|dir| {
        let dir = dir.get_or_init(|| TempDir::new_in(place()).expect("a scratch directory")).path();
        for (name, bytes) in files {
            // A file that is mapped is never shortened: it is replaced.
            let path = dir.join(name);
            _ = std::fs::remove_file(&path);
            std::fs::write(path, bytes).expect("a scratch file");
        }
        f(dir)
    })
}

fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() }
}
