//! Fills the cache in its own layout, so that every program of Hugging Face finds the model there: blobs by their hash,
//! links by commit and name, the commit by revision. Large files come in parts over several connections, and what came is
//! kept for the next try; one whose name is its SHA-256 gets it only when that is so.

use super::choice;
use super::repo::Repo;
use crate::error::{Error, Kind, Result};
use crate::source::http::{Ask, PATIENT, Tries, answer_tag, opened, patiently};
use crate::source::{Object, Watch};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a part.
const PART: u64 = 4 << 20;
/// What marks a folder as one that backups may leave out.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n";

/// What is to become of a file.
struct Wanted {
    name: String,
    /// The name of its blob.
    hash: String,
    bytes: u64,
}

impl Repo {
    /// Puts the model into the cache, and gives what is to be opened there.
    pub fn download(&self) -> Result<PathBuf> {
        let names: BTreeSet<String> = self.files.keys().cloned().collect();
        let mut files: BTreeSet<String> = choice::small(&names, &self.file).into_iter().cloned().collect();
        files.extend(self.weights()?);
        let wanted = files.iter().filter(|name| self.cached.file(&self.commit, name).is_none());
        let wanted = wanted.map(|name| self.wanted(name)).collect::<Result<Vec<_>>>()?;
        self.has_room(&wanted)?;
        let watch = &*self.client.access.watch;
        let parts = |w: &Wanted| usize::try_from(w.bytes.div_ceil(PART)).unwrap_or(usize::MAX);
        watch.begin(&format!("downloading {}", self.id), wanted.iter().map(parts).sum());
        for one in &wanted {
            self.blob(one, watch)?;
            self.link(one)?;
        }
        if self.revision != self.commit {
            let path = self.cached.dir.join("refs").join(&self.revision);
            made(path.parent().unwrap_or(&self.cached.dir))?;
            crate::write::write_whole(&path, self.commit.as_bytes(), true)?;
        }
        Ok(super::opened_by(self.cached.snapshot(&self.commit), self.is_named, &self.file))
    }

    /// Asks for the hash and the length of a file.
    fn wanted(&self, name: &str) -> Result<Wanted> {
        let (url, shown, stop) = (self.address(name), self.shown(name), || false);
        let ask = Ask { url: &url, head: true, range: None, tag: None, what: &shown, stop: &stop };
        let traffic = &self.client.access.traffic;
        let found = patiently(PATIENT, traffic, &stop, || {
            let answer = self.client.ask(&ask)?;
            match answer.status() {
                200..=399 => Ok(answer_tag(&answer)),
                _ => Err(answer.failure(&shown, self.client.knows(&url))),
            }
        })?;
        let plain = |hash: &String| {
            !hash.is_empty()
                && hash.len() <= 128
                && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let hash = found.0.filter(plain);
        let hash =
            hash.ok_or_else(|| Error::invalid("the hub does not tell the hash of this file").file(&shown))?;
        let bytes = found.1.or(self.files.get(name).copied().flatten());
        let bytes = bytes
            .ok_or_else(|| Error::invalid("the hub does not tell the length of this file").file(&shown))?;
        Ok(Wanted { name: name.to_string(), hash, bytes })
    }

    fn has_room(&self, wanted: &[Wanted]) -> Result<()> {
        if !self.cached.root.exists() {
            made(&self.cached.root)?;
            crate::write::write_whole(&self.cached.root.join("CACHEDIR.TAG"), TAG.as_bytes(), true)?;
        }
        made(&self.cached.dir.join("blobs"))?;
        let needed: u64 = wanted.iter().map(|w| w.bytes).fold(0, u64::saturating_add);
        match fs4::available_space(&self.cached.root) {
            Ok(free) if free < needed => {
                Err(Error::new(Kind::NoSpace, "the model does not fit into the cache")
                    .file(&self.cached.root)
                    .expected(format!("{needed} free bytes"))
                    .found(format!("{free} bytes"))
                    .hint(
                        "leave out --download to read it from the hub, or set HF_HUB_CACHE to a larger disk",
                    ))
            }
            _ => Ok(()),
        }
    }

    /// Makes the blob of a file, if it is not there.
    fn blob(&self, wanted: &Wanted, watch: &dyn Watch) -> Result<()> {
        let path = self.cached.dir.join("blobs").join(&wanted.hash);
        let is_there = || std::fs::metadata(&path).is_ok_and(|meta| meta.len() == wanted.bytes);
        let _lock = self.lock(&wanted.hash, watch)?;
        if is_there() {
            return Ok(());
        }
        let growing = path.with_file_name(format!("{}.ggraft.incomplete", wanted.hash));
        if wanted.bytes < PART {
            let bytes = self.small(&wanted.name)?;
            std::fs::write(&growing, bytes.bytes()).map_err(|e| Error::io(&e, &growing))?;
            watch.step();
        } else {
            let shown = self.shown(&wanted.name);
            let object =
                opened(&self.client, &self.address(&wanted.name), &shown, Some(wanted.bytes), Tries(4))?;
            Growing::open(&growing, wanted)?.fill(&object, self.client.access.connections, watch)?;
        }
        checked(&growing, wanted)?;
        std::fs::rename(&growing, &path).map_err(|e| Error::io(&e, &path))?;
        // What is left of it tells of parts of a file that is whole now.
        _ = std::fs::remove_file(parts_of(&growing));
        Ok(())
    }

    /// Keeps other programs of Hugging Face off the blob, where the file system locks at all.
    fn lock(&self, hash: &str, watch: &dyn Watch) -> Result<File> {
        let dir = self.cached.root.join(".locks").join(super::cache::folder(&self.id));
        made(&dir)?;
        let path = dir.join(format!("{hash}.lock"));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|e| Error::io(&e, &path))?;
        // What cannot be locked at all is made twice at worst.
        while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            if watch.cancelled() {
                return Err(Error::new(
                    Kind::Interrupted,
                    "stopped while another program downloads this file",
                )
                .file(&path));
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        Ok(file)
    }

    /// Gives the blob its name in the snapshot.
    fn link(&self, wanted: &Wanted) -> Result<()> {
        let path = self.cached.snapshot(&self.commit).join(&wanted.name);
        let dir = path.parent().unwrap_or(&self.cached.dir);
        made(dir)?;
        let up = "../".repeat(2 + wanted.name.matches('/').count());
        let target = PathBuf::from(format!("{up}blobs/{}", wanted.hash));
        let linked = linked(&target, &path).or_else(|_| {
            let blob = self.cached.dir.join("blobs").join(&wanted.hash);
            std::fs::copy(blob, &path).map(|_| ())
        });
        linked.map_err(|e| Error::io(&e, &path))
    }
}

#[cfg(unix)]
fn linked(target: &Path, path: &Path) -> std::io::Result<()> {
    if path.symlink_metadata().is_ok() {
        std::fs::remove_file(path)?;
    }
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn linked(_target: &Path, _path: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn made(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(&e, dir))
}

/// Where it is noted which parts of a growing file are there.
fn parts_of(growing: &Path) -> PathBuf {
    growing.with_extension("parts")
}

/// Holds a file against its length and, where its name is one, its SHA-256; one that is not the file goes.
fn checked(growing: &Path, wanted: &Wanted) -> Result<()> {
    let mut file = File::open(growing).map_err(|e| Error::io(&e, growing))?;
    let (mut hash, mut length, mut buffer) = (Sha256::new(), 0u64, vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(|e| Error::io(&e, growing))? {
            0 => break,
            n => {
                hash.update(&buffer[..n]);
                length += n as u64;
            }
        }
    }
    let digest: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    let is_sha256 = wanted.hash.len() == 64;
    if length == wanted.bytes && (!is_sha256 || digest == wanted.hash) {
        return file.sync_all().map_err(|e| Error::io(&e, growing));
    }
    _ = std::fs::remove_file(growing);
    _ = std::fs::remove_file(parts_of(growing));
    Err(Error::new(Kind::Verification, "what was downloaded is not the file that the hub tells")
        .file(Path::new(&wanted.name))
        .expected(format!("{} bytes, {}", wanted.bytes, wanted.hash))
        .found(format!("{length} bytes, {digest}"))
        .hint("it was removed: give the same command again"))
}

/// A file of which some parts are there.
struct Growing {
    file: Mutex<File>,
    noted: Mutex<File>,
    path: PathBuf,
    bytes: u64,
    missing: Vec<u64>,
}

impl Growing {
    /// Takes over what an earlier run has left of the same file.
    fn open(path: &Path, wanted: &Wanted) -> Result<Growing> {
        let io = |e: std::io::Error| Error::io(&e, path);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let file = options.open(path).map_err(io)?;
        let mut noted =
            OpenOptions::new().create(true).read(true).append(true).open(parts_of(path)).map_err(io)?;
        let mut text = String::new();
        let is_same = file.metadata().map_err(io)?.len() == wanted.bytes;
        if !is_same || noted.read_to_string(&mut text).is_err() {
            text.clear();
            noted.set_len(0).map_err(io)?;
            file.set_len(wanted.bytes).map_err(io)?;
        }
        // A line that was cut holds another number, or none; the hash tells in the end.
        let done: BTreeSet<u64> =
            text.lines().filter_map(|line| line.strip_suffix('.')?.parse().ok()).collect();
        let missing = (0..wanted.bytes.div_ceil(PART)).filter(|part| !done.contains(part)).collect();
        Ok(Growing {
            file: Mutex::new(file),
            noted: Mutex::new(noted),
            path: path.to_path_buf(),
            bytes: wanted.bytes,
            missing,
        })
    }

    /// Fetches the parts that are missing.
    fn fill(&self, object: &Arc<Object>, connections: usize, watch: &dyn Watch) -> Result<()> {
        let here = self.bytes.div_ceil(PART) - self.missing.len() as u64;
        (0..here).for_each(|_| watch.step());
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let first: Mutex<Option<Error>> = Mutex::default();
        let stop = || failed.load(Ordering::Relaxed) || watch.cancelled();
        let work = || {
            while let Some(part) = self.missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                match self.part(*part, object, &stop) {
                    Ok(()) => watch.step(),
                    Err(e) => {
                        failed.store(true, Ordering::Relaxed);
                        first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
                        return;
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            (1..connections.clamp(1, self.missing.len().max(1))).for_each(|_| _ = scope.spawn(work));
            work();
        });
        match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }

    fn part(&self, part: u64, object: &Arc<Object>, stop: crate::source::Stop<'_>) -> Result<()> {
        let start = part * PART;
        let length = usize::try_from(PART.min(self.bytes - start)).unwrap_or(0);
        let mut bytes = vec![0; length];
        object.fetch(start, &mut bytes, stop)?;
        let io = |e: std::io::Error| Error::io(&e, &self.path);
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(start)).and_then(|_| file.write_all(&bytes)).map_err(io)?;
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.write_all(format!("{part}.\n").as_bytes()).map_err(io)
    }
}
