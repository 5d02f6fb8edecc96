//! The journal of a growing output: which rows are written, with their hashes, for what work, and which files are ours.
//! It lies beside the output as `TARGET.partial.journal`, locked, so that two runs do not mix; a run that finds one of
//! its own work goes on with it. Nothing in it is believed: what is to be kept is read and hashed again.
//!
//! A line of JSON tells the work, `{"ggraft":"0.1.0","work":[["input","…"],…]}`; then every run says who it is,
//! `{"process":17}`, the files that it makes, `{"file":"NAME","id":"…"}`, and what it has written, piece by piece:
//! `TENSOR ROW HASH`. A line that was cut off counts for nothing.

use super::lock::{content, is_at, locked};
use super::{files, folder, in_the_way};
use crate::error::{Error, Kind, Result};
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use xxhash_rust::xxh3::xxh3_64;

/// What decides every byte of an output, as names and values: inputs, options, version.
pub type Work = [(String, String)];

/// Pieces by their tensor and first row, with the hash of their bytes.
pub type Pieces = HashMap<(usize, usize), u64>;

/// How every journal begins.
const MARK: &str = "{\"ggraft\":";

/// What a journal tells.
#[derive(Debug, Default)]
pub struct Told {
    pub work: Vec<(String, String)>,
    pub pieces: Pieces,
    /// The files of the output while they grow, by their names in the journal's folder; with what tells each from others.
    pub files: HashMap<String, String>,
    /// What was replaced and is to go, likewise.
    pub asides: Vec<(String, String)>,
    /// The files beside the outputs: their path, and the hash of their content.
    pub smalls: HashMap<String, String>,
    /// What has its name, once all of the run has: path and stamp.
    pub done: Vec<(String, String)>,
    /// Whether jobs write it, each with a journal of its own.
    pub parted: bool,
    /// Whether all of it is written, as jobs have told.
    pub whole: bool,
}

impl Told {
    /// What the journal at `path` tells; none if there is none, or one that was only begun.
    ///
    /// # Errors
    /// Something else has that name.
    pub fn read(path: &Path) -> Result<Option<Told>> {
        match path.symlink_metadata() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(&e, path)),
            Ok(meta) if !meta.is_file() => Err(in_the_way(path).found("no regular file")),
            Ok(_) => {
                let file = files::existing(path).map_err(|e| Error::io(&e, path))?;
                Told::parse(&content(&file).map_err(|e| Error::io(&e, path))?, path)
            }
        }
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Option<Told>> {
        let text = String::from_utf8_lossy(bytes);
        // Where the power failed there may be nothing, or zeros.
        if text.trim_matches('\0').is_empty() {
            return Ok(None);
        }
        if !text.starts_with(MARK) && !MARK.starts_with(&*text) {
            return Err(in_the_way(path).found("no journal"));
        }
        let Some((head, lines)) = text.split_once('\n') else { return Ok(None) };
        let Ok(head) = serde_json::from_str::<Json>(head) else { return Ok(None) };
        let whole = lines.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut told = Told { work: pairs(&head["work"]), ..Told::default() };
        whole.lines().for_each(|line| told.line(line));
        Ok(Some(told))
    }

    fn line(&mut self, line: &str) {
        if let Some((place, hash)) = piece(line) {
            self.pieces.insert(place, hash);
            return;
        }
        let Ok(json) = serde_json::from_str::<Json>(line) else { return };
        let text = |key: &str| json[key].as_str().map(String::from);
        match (text("file"), text("aside"), text("beside"), text("id").or_else(|| text("hash"))) {
            (Some(name), _, _, Some(id)) => _ = self.files.insert(name, id),
            (_, Some(name), _, Some(id)) => self.asides.push((name, id)),
            (_, _, Some(name), Some(hash)) => _ = self.smalls.insert(name, hash),
            _ if json["done"].is_array() => self.done = pairs(&json["done"]),
            _ if json["parted"] == true => self.parted = true,
            _ if json["whole"] == true => self.whole = true,
            _ => {}
        }
    }

    /// Whether what the journal tells of is there: pieces, and a file of them.
    pub fn has_work(&self, journal: &Path) -> bool {
        let is_there =
            |(name, id): (&String, &String)| files::id_of(&folder(journal).join(name)).as_ref() == Some(id);
        self.resumes() && self.files.iter().any(is_there)
    }

    /// Whether there is work to go on with, of whoever did it.
    pub fn resumes(&self) -> bool {
        self.parted || !self.pieces.is_empty()
    }

    /// Whether all of a run that writes `paths` has its name, as it was left. Another run may share its first output.
    pub fn is_done(&self, paths: &[PathBuf]) -> bool {
        let is_told = |path: &PathBuf| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            self.done.iter().any(|(done, _)| *done == path.to_string_lossy())
        };
        if !paths.iter().all(is_told) {
            return false;
        }
        let same = |(path, stamp): &(String, String)| {
            crate::stamp::Stamp::of(Path::new(path)).is_ok_and(|now| now.to_string() == *stamp)
        };
        !self.done.is_empty() && self.done.iter().all(same)
    }

    /// Refuses to go on with other work, and says what differs.
    pub fn refuse_other(&self, journal: &Path, work: &Work) -> Result<()> {
        let value = |work: &Work, name: &str| work.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let names = work.iter().chain(&self.work).map(|(name, _)| name);
        let differs = |name: &&String| value(work, name) != value(&self.work, name);
        let Some(name) = names.into_iter().find(differs) else { return Ok(()) };
        let (now, then) = difference(value(work, name), value(&self.work, name));
        Err(Error::new(Kind::Failure, "an unfinished output of other work is there")
            .file(journal)
            .expected(format!("{name}: {now}"))
            .found(format!("{name}: {then}"))
            .hint("give --no-resume to begin anew, or repeat the earlier command to finish its work"))
    }
}

/// The pieces of which the journal at `path` tells, if it is one.
pub fn told(path: &Path) -> Result<Option<Vec<(usize, usize)>>> {
    Ok(Told::read(path)?.map(|told| told.pieces.into_keys().collect()))
}

/// Of two values the lines in which they differ.
fn difference(now: Option<String>, then: Option<String>) -> (String, String) {
    let (now, then) = (now.unwrap_or_default(), then.unwrap_or_default());
    let only = |a: &str, b: &str| {
        let lines: Vec<&str> = a.lines().filter(|line| !b.lines().any(|other| other == *line)).collect();
        if lines.is_empty() { String::from("nothing") } else { lines.join(", ") }
    };
    (only(&now, &then), only(&then, &now))
}

fn pairs(json: &Json) -> Vec<(String, String)> {
    let pair = |fact: &Json| Some((fact.get(0)?.as_str()?.to_string(), fact.get(1)?.as_str()?.to_string()));
    json.as_array().into_iter().flatten().filter_map(pair).collect()
}

/// The journal of one output, for this run alone.
pub struct Journal {
    path: PathBuf,
    /// Locked as long as it is open, where the file system can.
    file: File,
    pub is_locked: bool,
    /// What an earlier run of the same work has left.
    pub earlier: Told,
    /// Whether there is anything to go on with.
    begun: AtomicBool,
}

impl Journal {
    /// Opens the journal at `path`. What a run of other work has left is refused if there is work in it, and else
    /// cleared away; with `anew` always.
    pub fn open(path: PathBuf, work: &Work, anew: bool) -> Result<Journal> {
        let (file, is_locked) = locked(&path)?;
        let bytes = content(&file).map_err(|e| Error::io(&e, &path))?;
        let told = Told::parse(&bytes, &path)?.unwrap_or_default();
        let same = !anew && told.work == work;
        if !same && !anew && told.has_work(&path) {
            told.refuse_other(&path, work)?;
        }
        let (earlier, left) = if same { (told, Told::default()) } else { (Told::default(), told) };
        let begun = AtomicBool::new(earlier.resumes());
        let journal = Journal { path, file, is_locked, earlier, begun };
        for (name, id) in &left.files {
            files::remove_if(&journal.folder().join(name), id)?;
        }
        journal.begin(work, same, &bytes).map_err(|e| Error::io(&e, &journal.path))?;
        Ok(journal)
    }

    /// A new journal in `folder` for this process alone, which no lock has to keep from others: `NAME.0`, or the first number
    /// that nobody has. What the others tell of the same work, also those that still run, is known to it.
    pub fn apart(folder: &Path, name: &str, work: &Work) -> Result<Journal> {
        let mut earlier = Told::default();
        for number in 0u32.. {
            let path = folder.join(format!("{name}.{number}"));
            let mut options = OpenOptions::new();
            options.read(true).append(true).create_new(true);
            match options.open(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                    let told = Told::read(&path)?.filter(|told| told.work == work);
                    earlier.pieces.extend(told.map(|told| told.pieces).unwrap_or_default());
                }
                file => {
                    let file = file.map_err(|e| Error::io(&e, &path))?;
                    let begun = AtomicBool::new(true);
                    let journal = Journal { path, file, is_locked: false, earlier, begun };
                    journal.begin(work, false, &[]).map_err(|e| Error::io(&e, &journal.path))?;
                    return Ok(journal);
                }
            }
        }
        Err(Error::new(Kind::Failure, "there are too many journals of this job").file(folder))
    }

    /// The folder that the names in the journal belong to.
    pub fn folder(&self) -> &Path {
        folder(&self.path)
    }

    /// Says who writes now; before that, for what work, if nothing is to be gone on with. What is gone on with stays as
    /// it is, so that it outlasts this run too.
    fn begin(&self, work: &Work, same: bool, old: &[u8]) -> std::io::Result<()> {
        let process = json!({ "process": std::process::id() });
        if same {
            let end = if old.ends_with(b"\n") { "" } else { "\n" };
            return (&self.file).write_all(format!("{end}{process}\n").as_bytes());
        }
        self.file.set_len(0)?;
        let head = json!({ "ggraft": env!("CARGO_PKG_VERSION"), "work": work });
        (&self.file).write_all(format!("{head}\n{process}\n").as_bytes())?;
        // Whatever grows has a journal that tells whose it is, also where the power fails.
        self.file.sync_data()
    }

    /// Tells that `bytes` are written: a piece of this tensor from this row on.
    pub fn add(&self, tensor: usize, row: usize, bytes: &[u8]) -> Result<()> {
        let written = self.put(&line(tensor, row, xxh3_64(bytes)));
        self.begun.store(true, Ordering::Relaxed);
        written
    }

    /// Tells that the file of this name in the folder is ours.
    pub fn makes(&self, name: &str, id: &str) -> Result<()> {
        self.put(&format!("{}\n", json!({ "file": name, "id": id })))
    }

    /// Tells, for good, that the file or directory of this name in the folder is what is replaced.
    pub fn replaces(&self, name: &str, id: &str) -> Result<()> {
        self.put(&format!("{}\n", json!({ "aside": name, "id": id })))?;
        self.sync()
    }

    /// Tells of a file beside the outputs, by its path and the hash of its content.
    pub fn small(&self, path: &str, hash: &str) -> Result<()> {
        self.put(&format!("{}\n", json!({ "beside": path, "hash": hash })))
    }

    /// Tells, for good, that jobs write the output: from here on there may be work in it.
    pub fn parted(&self) -> Result<()> {
        self.begun.store(true, Ordering::Relaxed);
        self.put("{\"parted\":true}\n").and_then(|()| self.sync())
    }

    /// Tells, for good, that all of it is written.
    pub fn whole(&self) -> Result<()> {
        self.put("{\"whole\":true}\n").and_then(|()| self.sync())
    }

    /// Tells, for good, that all of the run has its name.
    pub fn done(&self, files: &Work) -> Result<()> {
        self.put(&format!("{}\n", json!({ "done": files })))?;
        self.sync()
    }

    // One write a line: lines of several threads do not mix.
    fn put(&self, line: &str) -> Result<()> {
        (&self.file).write_all(line.as_bytes()).map_err(|e| Error::io(&e, &self.path))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io(&e, &self.path))
    }

    /// Whether any piece is written, by this run or an earlier one.
    pub fn is_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether an earlier run has written this piece.
    pub fn knows(&self, tensor: usize, row: usize) -> bool {
        self.earlier.pieces.contains_key(&(tensor, row))
    }

    /// Whether `bytes` are what an earlier run has written as this piece.
    pub fn holds(&self, tensor: usize, row: usize, bytes: &[u8]) -> bool {
        self.earlier.pieces.get(&(tensor, row)).is_some_and(|hash| *hash == xxh3_64(bytes))
    }

    /// Removes it: nothing is left to go on with.
    pub fn discard(self) {
        if is_at(&self.file, &self.path) {
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
