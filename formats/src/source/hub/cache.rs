//! The cache that all programs of Hugging Face share: `models--org--name/refs/REVISION` holds a commit,
//! `snapshots/COMMIT/FILE` leads to `blobs/HASH`. Links, copies and links to links are read alike.

use crate::inside::stays_inside;
use crate::mmap::Mapping;
use crate::model::parse_json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What the cache holds of one model.
pub struct Cached {
    /// The folder of all models.
    pub root: PathBuf,
    /// That of this one.
    pub dir: PathBuf,
}

/// Folders in folders of a snapshot that are looked into, and the most files that are listed.
const DEPTH: usize = 4;
const MOST_FILES: usize = 100_000;

impl Cached {
    pub fn of(root: &Path, repo: &str) -> Cached {
        Cached { root: root.to_path_buf(), dir: root.join(folder(repo)) }
    }

    /// The commit of a revision, as it was when it was last asked for.
    pub fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) && self.snapshot(revision).is_dir() {
            return Some(revision.to_string());
        }
        let text = std::fs::read_to_string(self.dir.join("refs").join(revision)).ok()?;
        Some(text.trim().to_string()).filter(|commit| is_commit(commit))
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.dir.join("snapshots").join(commit)
    }

    /// A file of a snapshot, if it is there.
    pub fn file(&self, commit: &str, name: &str) -> Option<PathBuf> {
        Some(self.snapshot(commit).join(name)).filter(|path| path.is_file())
    }

    /// The names of the files of a snapshot.
    pub fn files(&self, commit: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        list(&self.snapshot(commit), "", DEPTH, &mut all);
        all
    }

    /// Whether all files of weights that `name` stands for are there.
    pub fn is_whole(&self, commit: &str, name: &str) -> bool {
        let there = |name: &str| self.file(commit, name).is_some();
        let Some(path) = self.file(commit, name) else { return false };
        if let Some(parts) = parts(name) {
            return parts.iter().all(|part| there(part));
        }
        if !name.ends_with(".index.json") {
            return true;
        }
        let shards = Mapping::open(&path).and_then(|file| parse_json(file.bytes(), &path));
        shards.is_ok_and(|index| {
            let shards = shards_of(&index);
            !shards.is_empty() && shards.iter().all(|shard| there(&beside(name, shard)))
        })
    }
}

fn list(dir: &Path, before: &str, depth: usize, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if into.len() >= MOST_FILES {
            return;
        }
        if path.is_file() {
            into.insert(format!("{before}{name}"));
        } else if path.is_dir() && depth > 0 {
            list(&path, &format!("{before}{name}/"), depth - 1, into);
        }
    }
}

/// The folder of a model.
pub fn folder(repo: &str) -> String {
    format!("models--{}", repo.replace('/', "--"))
}

/// Whether this is the name of a commit.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
}

/// A file that lies beside another one.
pub fn beside(name: &str, other: &str) -> String {
    name.rsplit_once('/').map_or_else(|| other.to_string(), |(folder, _)| format!("{folder}/{other}"))
}

/// The shards of an index, those alone that stay in its folder.
pub fn shards_of(index: &serde_json::Value) -> BTreeSet<String> {
    let map = index.get("weight_map").and_then(|map| map.as_object());
    let names = map.into_iter().flat_map(|map| map.values()).filter_map(|name| name.as_str());
    names.filter(|name| stays_inside(name)).map(String::from).collect()
}

/// The names of all parts of a split GGUF, of which this is the first.
pub fn parts(name: &str) -> Option<Vec<String>> {
    let stem = name.strip_suffix(".gguf")?;
    let (stem, count) = stem.rsplit_once("-of-")?;
    let stem = stem.strip_suffix("-00001")?;
    let count: u32 = count.parse().ok().filter(|_| count.len() == 5)?;
    Some((1..=count).map(|no| format!("{stem}-{no:05}-of-{count:05}.gguf")).collect())
}
