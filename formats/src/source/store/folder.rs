//! The files of a folder in a store: as it lists them, or, of a GGUF that was named, asked for one by one, so that who may
//! read and not list can read.

use super::bucket::Bucket;
use crate::error::{Error, Kind, Result};
use crate::mmap::Mapping;
use crate::source::http::{Address, Ask, PATIENT, Tries, opened_at, patiently};
use crate::source::site::MOST;
use crate::source::{Container, Remote, Stored};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A store that does not answer at all is soon told.
const FIRST: Tries = Tries(4);

/// Files of one folder.
pub struct Files {
    bucket: Arc<Bucket>,
    /// By their keys, with the bytes of each, where they were listed.
    listed: Option<BTreeMap<String, u64>>,
    /// The names in the folder.
    names: BTreeSet<String>,
    known: Mutex<HashMap<String, Option<Mapping>>>,
}

/// A key of a bucket, signed anew each time.
struct Key(Arc<Bucket>, String);

impl Address for Key {
    fn url(&self) -> Result<String> {
        self.0.address(&self.1)
    }

    fn expires(&self) -> bool {
        self.0.expires()
    }
}

impl Files {
    /// Files that are asked for when they are needed.
    pub fn asked(bucket: Arc<Bucket>) -> Files {
        Files { bucket, listed: None, names: BTreeSet::new(), known: Mutex::default() }
    }

    /// The files of `dir`.
    ///
    /// # Errors
    /// It cannot be listed, or is empty.
    pub fn listed(bucket: Arc<Bucket>, dir: &Stored) -> Result<Files> {
        let listed = bucket.list(dir)?;
        if listed.is_empty() {
            return Err(Error::new(Kind::Io, "there is nothing of this name in the store")
                .file(&dir.shown())
                .hint("check how it is written: the folder of a model, or a .gguf or .safetensors file"));
        }
        let start = if dir.key.is_empty() { 0 } else { dir.key.len() + 1 };
        let names = listed.keys().filter_map(|key| key.get(start..)).map(String::from).collect();
        Ok(Files { bucket, listed: Some(listed), names, known: Mutex::default() })
    }

    pub fn names(&self) -> BTreeSet<String> {
        self.names.clone()
    }

    /// The key of a file by the path that people see.
    fn key(&self, path: &Path) -> Option<String> {
        let key = self.bucket.key(path)?;
        self.listed.as_ref().is_none_or(|listed| listed.contains_key(&key)).then_some(key)
    }

    fn fetched(&self, key: &str, path: &Path) -> Result<Option<Mapping>> {
        let (client, stop) = (self.bucket.client(), || false);
        let bytes = patiently(PATIENT, &client.access.traffic, &stop, || {
            let url = self.bucket.address(key)?;
            let ask = Ask { url: &url, head: false, range: None, tag: None, what: path, stop: &stop };
            let answer = client.ask(&ask)?;
            match answer.status() {
                200 => {
                    answer.is_plain(path)?;
                    let tag = answer.tag().map(String::from);
                    answer.whole(MOST, path).map(|bytes| Some((bytes, tag)))
                }
                404 => Ok(None),
                // Who may not list is told so of what is not there.
                403 if self.listed.is_none() => Ok(None),
                _ => Err(answer.failure(path, false)),
            }
        })?;
        Ok(bytes.map(|(bytes, tag)| {
            client.access.traffic.came(bytes.len() as u64);
            Mapping::of_bytes(bytes, path, &tag.unwrap_or_default())
        }))
    }
}

impl Remote for Files {
    fn has(&self, path: &Path) -> bool {
        match self.listed {
            Some(_) => self.key(path).is_some(),
            None => self.whole(path).is_ok_and(|found| found.is_some()),
        }
    }

    fn whole(&self, path: &Path) -> Result<Option<Mapping>> {
        let Some(key) = self.key(path) else { return Ok(None) };
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(&key) {
            return Ok(found.clone());
        }
        let found = self.fetched(&key, path)?;
        known().insert(key, found.clone());
        Ok(found)
    }

    fn container(&self, path: &Path) -> Result<Container> {
        let key = self.key(path).ok_or_else(|| {
            Error::invalid("this shard is missing").file(path).hint("the model is not whole: copy it again")
        })?;
        let size = self.listed.as_ref().and_then(|listed| listed.get(&key).copied());
        let start = Box::new(Key(Arc::clone(&self.bucket), key));
        opened_at(self.bucket.client(), start, path, size, FIRST).map(Container::Elsewhere)
    }

    fn hands(&self) -> usize {
        self.bucket.client().access.hands()
    }
}
