//! The journal of a growing output: which rows are written, with their hashes, and for what work. It lies beside the
//! output as `TARGET.partial.journal`, locked, so that two runs do not mix; a run that finds one of its own work goes
//! on with it. Nothing in it is believed: what is to be kept is read and hashed again.
//!
//! A line of JSON tells the work, `{"ggraft":"0.1.0","work":[["input","…"],…]}`; then every run says who it is,
//! `{"process":17}`, and what it has written, piece by piece: `TENSOR ROW HASH`. A line that was cut off counts for
//! nothing.

use crate::error::{Error, Kind, Result};
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use xxhash_rust::xxh3::xxh3_64;

/// What decides every byte of an output, as names and values: inputs, options, version.
pub type Work = [(String, String)];

/// What to do with what another run has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// Go on with it if it is the same work, refuse if it is not.
    #[default]
    IfSame,
    /// Begin anew.
    Never,
}

/// Pieces by their tensor and first row, with the hash of their bytes.
pub type Pieces = HashMap<(usize, usize), u64>;

/// The journal of one output.
pub struct Journal {
    path: PathBuf,
    /// Locked as long as it is open.
    file: File,
    /// What an earlier run of the same work has written.
    pub earlier: Pieces,
    /// Whether there is anything to go on with.
    begun: AtomicBool,
    /// Whether it is to stay.
    kept: bool,
}

impl Journal {
    /// Opens the journal at `path` for this run alone. `exists` says whether the output that it tells of is there,
    /// and whole in its length.
    pub fn open(path: PathBuf, work: &Work, resume: Resume, exists: impl Fn() -> bool) -> Result<Journal> {
        let (file, earlier, begun) = (locked(&path)?, Pieces::new(), AtomicBool::new(false));
        let mut journal = Journal { path, file, earlier, begun, kept: true };
        let mut text = String::new();
        // What cannot be read as text is no journal that was left by a run.
        let read = journal.file.read_to_string(&mut text).is_ok();
        let (head, lines) = text.split_once('\n').unwrap_or_default();
        let whole = lines.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let earlier: Pieces = whole.lines().filter_map(piece).collect();
        if read && resume == Resume::IfSame && !earlier.is_empty() && exists() {
            journal.refuse_other(&serde_json::from_str(head).unwrap_or_default(), work)?;
            journal.begun = AtomicBool::new(true);
            journal.earlier = earlier;
        }
        journal.begin(work, text.ends_with('\n')).map_err(|e| Error::io(&e, &journal.path))?;
        journal.kept = false;
        Ok(journal)
    }

    /// Refuses to go on with other work, and says what differs.
    fn refuse_other(&self, earlier: &Json, work: &Work) -> Result<()> {
        let told = |name: &str| -> Option<&str> {
            let all = earlier["work"].as_array()?;
            all.iter().find(|fact| fact[0] == name)?.get(1)?.as_str()
        };
        let Some((name, now)) = work.iter().find(|(name, value)| told(name) != Some(value)) else {
            return Ok(());
        };
        Err(Error::new(Kind::Failure, "an unfinished output of other work is there")
            .file(&self.path)
            .expected(format!("{name}: {now}"))
            .found(format!("{name}: {}", told(name).unwrap_or("nothing")))
            .mend("give --no-resume to begin anew, or repeat the earlier command to finish its work"))
    }

    /// Says who writes now; before that, for what work, if nothing is to be gone on with. What is gone on with stays as
    /// it is, so that it outlasts this run too.
    fn begin(&mut self, work: &Work, at_line: bool) -> std::io::Result<()> {
        let process = json!({ "process": std::process::id() });
        if !self.earlier.is_empty() {
            let end = if at_line { "" } else { "\n" };
            return self.file.write_all(format!("{end}{process}\n").as_bytes());
        }
        self.file.set_len(0)?;
        let head = json!({ "ggraft": env!("CARGO_PKG_VERSION"), "work": work });
        self.file.write_all(format!("{head}\n{process}\n").as_bytes())
    }

    /// Tells that `bytes` are written: a piece of this tensor from this row on.
    pub fn add(&self, tensor: usize, row: usize, bytes: &[u8]) -> Result<()> {
        // One write a line: lines of several threads do not mix.
        let written = (&self.file).write_all(line(tensor, row, xxh3_64(bytes)).as_bytes());
        self.begun.store(true, Ordering::Relaxed);
        written.map_err(|e| Error::io(&e, &self.path))
    }

    /// Whether any piece is written, by this run or an earlier one.
    pub fn is_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether an earlier run has written this piece.
    pub fn knows(&self, tensor: usize, row: usize) -> bool {
        self.earlier.contains_key(&(tensor, row))
    }

    /// Whether `bytes` are what an earlier run has written as this piece.
    pub fn holds(&self, tensor: usize, row: usize, bytes: &[u8]) -> bool {
        self.earlier.get(&(tensor, row)).is_some_and(|hash| *hash == xxh3_64(bytes))
    }

    /// Lets it stay for a later run.
    pub fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if !self.kept {
            // A journal without its output is found out by the next run.
            _ = std::fs::remove_file(&self.path);
        }
    }
}

fn line(tensor: usize, row: usize, hash: u64) -> String {
    format!("{tensor} {row} {hash:016x}\n")
}

fn piece(line: &str) -> Option<((usize, usize), u64)> {
    let mut words = line.split(' ');
    let (tensor, row) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let hash = words.next().filter(|hash| hash.len() == 16)?;
    Some(((tensor, row), u64::from_str_radix(hash, 16).ok()?))
}

/// Opens `path` for this run alone.
fn locked(path: &Path) -> Result<File> {
    let io = |e: std::io::Error| Error::io(&e, path);
    loop {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(path).map_err(io)?;
        if file.try_lock().is_err() {
            return Err(Error::new(Kind::Io, "another run is writing this output")
                .file(path)
                .found(holder(&mut file))
                .mend("wait for it, or choose another output with -o"));
        }
        // A run that finished just now has removed the file that was opened here.
        if is_at(&file, path) {
            return Ok(file);
        }
    }
}

/// Who writes the journal.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let process = |line: &str| serde_json::from_str::<Json>(line).ok()?["process"].as_u64();
    match file.read_to_string(&mut text).ok().and_then(|_| text.lines().rev().find_map(process)) {
        Some(id) => format!("process {id}"),
        None => String::from("a process that has just begun"),
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Where an open file cannot be removed, it is where it was.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}
