//! One commit of a model at the hub: its files as the hub lists them, read from where they are. What the cache has of
//! it is not fetched again.

use super::cache::Cached;
use super::choice::{self, chosen};
use super::environment::Environment;
use super::listing::{Listing, listing};
use crate::error::{Error, Result};
use crate::mmap::Mapping;
use crate::model::{Input, parse_json};
use crate::source::http::{Ask, Client, Failure, Tries, encoded, opened, patiently};
use crate::source::locator::Name;
use crate::source::site::MOST;
use crate::source::{Access, Container, Folder, Remote};
use crate::{gguf, safetensors};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The longest list of files that is read.
pub(super) const MOST_LIST: u64 = 64 << 20;
/// A hub that does not answer at all is soon told.
pub(super) const FIRST: Tries = Tries(4);

/// One commit of a model.
pub struct Repo {
    pub(super) client: Arc<Client>,
    pub(super) endpoint: String,
    /// As the hub spells it.
    pub(super) id: String,
    pub(super) revision: String,
    pub(super) commit: String,
    /// With the bytes of each, where the hub tells them.
    pub(super) files: BTreeMap<String, Option<u64>>,
    pub(super) cached: Cached,
    /// The file by which it is opened, and whether the user named it.
    pub(super) file: String,
    pub(super) is_named: bool,
    /// `hf://org/name@commit`.
    dir: PathBuf,
    known: Mutex<HashMap<String, Mapping>>,
}

impl Repo {
    /// Asks the hub which commit a revision is, and which files it has.
    pub fn open(environment: Environment, name: &Name, revision: &str, access: &Access) -> Result<Repo> {
        let Environment { endpoint, cache, token, .. } = environment;
        let client = Client::new(access, token, &endpoint)?;
        let shown = PathBuf::from(Name { file: None, ..name.clone() }.shown());
        let url =
            format!("{endpoint}/api/models/{}/revision/{}?blobs=true", name.repo, encoded(revision, false));
        let bytes = fetched(&client, &url, &shown, MOST_LIST, FIRST)?;
        let Listing { id, commit, files, .. } = listing(&bytes, &name.repo).map_err(|e| e.file(&shown))?;
        let names: BTreeSet<String> = files.keys().cloned().collect();
        let file = chosen(&names, name.file.as_deref(), &shown)?;
        let dir = PathBuf::from(format!("hf://{id}@{commit}"));
        let cached = Cached::of(&cache, &id);
        let (revision, is_named) = (revision.to_string(), name.file.is_some());
        let known = Mutex::default();
        Ok(Repo { client, endpoint, id, revision, commit, files, cached, file, is_named, dir, known })
    }

    /// Opens it where it is.
    pub fn stream(self) -> Result<Input> {
        let (path, mut notes) = (self.dir.join(&self.file), Vec::new());
        if self.file.contains("pytorch_model") || self.file.ends_with(".bin") {
            return Err(Error::unsupported(
                "files of PyTorch cannot be read by parts, and this model has no others",
            )
            .file(&path)
            .hint("give --download"));
        }
        if self.file.ends_with(".safetensors") && self.files.contains_key("pytorch_model.bin") {
            notes.push(format!(
                "{} holds the weights twice: those of safetensors are read, those of PyTorch are not",
                self.id
            ));
        }
        if self.file.ends_with(".gguf") {
            return gguf::open_in(&Folder::elsewhere(Arc::new(self)), &path).map(Input::Model);
        }
        let dir = self.dir.clone();
        let mut checkpoint = safetensors::open_in(&Folder::elsewhere(Arc::new(self)), &path)?;
        checkpoint.dir = dir;
        checkpoint.notes.append(&mut notes);
        Ok(Input::Checkpoint(checkpoint))
    }

    pub(super) fn shown(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The address of a file, which does not expire.
    pub(super) fn address(&self, name: &str) -> String {
        format!("{}/{}/resolve/{}/{}", self.endpoint, self.id, self.commit, encoded(name, true))
    }

    /// The name of a file by the path that people see.
    fn name<'a>(&self, path: &'a Path) -> Option<&'a str> {
        path.strip_prefix(&self.dir).ok()?.to_str().filter(|name| self.files.contains_key(*name))
    }

    /// A whole file.
    pub(super) fn small(&self, name: &str) -> Result<Mapping> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = known().get(name) {
            return Ok(file.clone());
        }
        let size = self.files.get(name).copied().flatten();
        let here = self.cached.file(&self.commit, name).map(|path| Mapping::open(&path)).transpose()?;
        let file = match here.filter(|file| size.is_none_or(|size| size == file.bytes().len() as u64)) {
            Some(file) => file,
            None => {
                let shown = self.shown(name);
                let bytes =
                    fetched(&self.client, &self.address(name), &shown, MOST, crate::source::http::PATIENT)?;
                if let Some(size) = size.filter(|size| *size != bytes.len() as u64) {
                    let e =
                        Error::new(crate::Kind::Io, "the file is not as long as the hub says").file(&shown);
                    return Err(e.expected(format!("{size} bytes")).found(format!("{} bytes", bytes.len())));
                }
                Mapping::of_bytes(bytes, &shown, &self.commit)
            }
        };
        known().insert(name.to_string(), file.clone());
        Ok(file)
    }

    /// The files of weights.
    pub(super) fn weights(&self) -> Result<Vec<String>> {
        if !self.file.ends_with(".index.json") {
            return Ok(choice::weights(&self.file));
        }
        let index = parse_json(self.small(&self.file)?.bytes(), &self.shown(&self.file))?;
        Ok(choice::shards(&self.file, &index))
    }
}

impl Remote for Repo {
    fn has(&self, path: &Path) -> bool {
        self.name(path).is_some()
    }

    fn whole(&self, path: &Path) -> Result<Option<Mapping>> {
        self.name(path).map(|name| self.small(name)).transpose()
    }

    fn container(&self, path: &Path) -> Result<Container> {
        let name = self.name(path).ok_or_else(|| {
            Error::invalid("this shard is missing")
                .file(path)
                .hint("the repository is not whole: take another revision")
        })?;
        let size = self.files.get(name).copied().flatten();
        if let Some(here) = self.cached.file(&self.commit, name) {
            let here = Container::open(&here)?;
            if size.is_none_or(|size| size == here.length()) {
                return Ok(here);
            }
        }
        opened(&self.client, &self.address(name), path, size, FIRST).map(Container::Elsewhere)
    }

    fn hands(&self) -> usize {
        self.client.access.hands()
    }
}

/// A whole file.
pub(super) fn fetched(client: &Client, url: &str, shown: &Path, most: u64, tries: Tries) -> Result<Vec<u8>> {
    let stop = || client.access.watch.cancelled();
    let ask = Ask { url, head: false, range: None, tag: None, what: shown, stop: &stop };
    let bytes = patiently(tries, &client.access.traffic, &stop, || {
        let answer = client.ask(&ask)?;
        match answer.status() {
            200 => {
                answer.is_plain(shown)?;
                answer.whole(most, shown)
            }
            _ => Err::<Vec<u8>, Failure>(answer.failure(shown, client.knows(url))),
        }
    })?;
    client.access.traffic.came(bytes.len() as u64);
    Ok(bytes)
}
