//! What is noted of a file that goes in parts: the addresses, and what the store calls the parts that it has. The addresses
//! let anybody send, so that nobody else may read the note.

use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Addresses of the parts, and of the hub for what ends them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The hub that gave them.
    pub home: String,
    pub end: String,
    /// Where their arrival is told.
    pub verify: Option<String>,
    pub part: u64,
    pub addresses: Vec<String>,
}

/// The note of one file.
pub struct Noted {
    path: PathBuf,
    /// Held by one who writes.
    one: Mutex<()>,
}

/// What the store calls the parts that it has, by their numbers from zero on.
pub type Tags = BTreeMap<usize, String>;

impl Noted {
    /// That of the file of this hash.
    pub fn of(folder: &Path, sha256: &str) -> Noted {
        let short = sha256.get(..16).unwrap_or(sha256);
        Noted { path: folder.join(format!("parts-{short}")), one: Mutex::default() }
    }

    /// What is noted of a file of so many bytes.
    pub fn read(&self, bytes: u64) -> Option<(Parts, Tags)> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        let mut lines = text.split_inclusive('\n');
        let head: Value = serde_json::from_str(lines.next()?).ok()?;
        let text = |value: &Value| value.as_str().map(String::from);
        let addresses = head.get("addresses")?.as_array()?.iter().map(text).collect::<Option<Vec<_>>>()?;
        let part = head.get("part")?.as_u64().filter(|part| *part > 0)?;
        let (home, end) = (text(head.get("home")?)?, text(head.get("end")?)?);
        let verify = head.get("verify").and_then(text);
        let parts = Parts { home, end, verify, part, addresses };
        if parts.addresses.len() as u64 != bytes.div_ceil(part) {
            return None;
        }
        // A line that was cut has no end.
        let tag = |line: &str| {
            let (no, tag) = line.strip_suffix('\n')?.split_once(' ')?;
            Some((no.parse().ok().filter(|no| *no < parts.addresses.len())?, tag.to_string()))
        };
        let tags = lines.filter_map(tag).collect();
        Some((parts, tags))
    }

    /// Begins anew: no part is there.
    pub fn begin(&self, parts: &Parts) -> Result<Tags> {
        self.discard();
        let Parts { home, end, verify, part, addresses } = parts;
        let head =
            json!({ "home": home, "end": end, "verify": verify, "part": part, "addresses": addresses });
        self.write(&format!("{head}\n"))?;
        Ok(Tags::new())
    }

    /// The store has a part.
    pub fn add(&self, no: usize, tag: &str) -> Result<()> {
        let tag: String = tag.chars().filter(|c| !c.is_control()).collect();
        self.write(&format!("{no} {tag}\n"))
    }

    fn write(&self, line: &str) -> Result<()> {
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&self.path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(|e| Error::io(&e, &self.path))
    }

    /// Forgets all.
    pub fn discard(&self) {
        _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_was_cut_tells_what_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let noted = Noted::of(dir.path(), &"a".repeat(64));
        let (home, end, verify) =
            ("https://h".into(), "https://h/end".into(), Some("https://h/verify".into()));
        let parts = Parts { home, end, verify, part: 10, addresses: vec!["https://s/1".into(); 3] };
        assert!(noted.read(25).is_none());
        noted.begin(&parts).unwrap();
        noted.add(2, "\"x\"").unwrap();
        noted.write("0 \"cu").unwrap();
        assert_eq!(noted.read(25), Some((parts, Tags::from([(2, String::from("\"x\""))]))));
        assert!(noted.read(40).is_none(), "of another length");
        noted.discard();
        assert!(noted.read(25).is_none());
    }
}
