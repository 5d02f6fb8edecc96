//! A file at an address of the web: a GGUF, of a split one the first part, a file of safetensors or their index. What
//! belongs to it is looked for beside it, unless the address is signed.

use super::http::{Ask, Client, PATIENT, Tries, joined, opened, patiently};
use super::locator::shown_address;
use super::{Access, Container, Folder, Remote};
use crate::error::{Error, Result};
use crate::mmap::Mapping;
use crate::model::Input;
use crate::{gguf, safetensors};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The longest file that is read whole.
pub(super) const MOST: u64 = 128 << 20;

struct Site {
    client: Arc<Client>,
    /// The address that was given, and how it is shown.
    given: (String, PathBuf),
    known: Mutex<HashMap<PathBuf, Option<Mapping>>>,
}

pub fn open(url: &str, access: &Access) -> Result<Input> {
    let shown = shown_address(url);
    if access.download {
        return Err(Error::usage("--download is for models of the Hugging Face hub")
            .file(&shown)
            .hint("leave it out to read the file from where it is, or download it yourself"));
    }
    let client = Client::new(access, None, url)?;
    let site = Site { client, given: (url.to_string(), shown.clone()), known: Mutex::default() };
    let folder = Folder::elsewhere(Arc::new(site));
    let name = shown.to_string_lossy().to_ascii_lowercase();
    if name.ends_with(".gguf") {
        return gguf::open_in(&folder, &shown).map(Input::Model);
    }
    if name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") {
        return safetensors::open_in(&folder, &shown).map(Input::Checkpoint);
    }
    Err(Error::unsupported("this address is not one of a model that can be read")
        .file(&shown)
        .expected("one that ends in .gguf, .safetensors or .safetensors.index.json"))
}

impl Site {
    /// The address of a file beside the one that was given.
    fn address(&self, path: &Path) -> Option<String> {
        if path == self.given.1 {
            return Some(self.given.0.clone());
        }
        let is_signed = self.given.0.contains('?');
        let name = path.strip_prefix(self.given.1.parent()?).ok()?.to_str()?;
        (!is_signed && path.parent() == self.given.1.parent())
            .then(|| joined(&self.given.0, &super::http::encoded(name, true)))?
    }

    fn fetched(&self, path: &Path) -> Result<Option<Mapping>> {
        let Some(url) = self.address(path) else { return Ok(None) };
        let stop = || false;
        let ask = Ask { url: &url, head: false, range: None, tag: None, what: path, stop: &stop };
        let bytes = patiently(PATIENT, &self.client.access.traffic, &stop, || {
            let answer = self.client.ask(&ask)?;
            match answer.status() {
                200 => {
                    answer.is_plain(path)?;
                    let tag = answer.tag().map(String::from);
                    answer.whole(MOST, path).map(|bytes| Some((bytes, tag)))
                }
                // Stores that may not be listed say so of what is not there.
                403 | 404 | 410 => Ok(None),
                _ => Err(answer.failure(path, false)),
            }
        })?;
        Ok(bytes.map(|(bytes, tag)| {
            self.client.access.traffic.came(bytes.len() as u64);
            Mapping::of_bytes(bytes, path, &tag.unwrap_or_default())
        }))
    }
}

impl Remote for Site {
    fn has(&self, path: &Path) -> bool {
        self.whole(path).is_ok_and(|found| found.is_some())
    }

    fn whole(&self, path: &Path) -> Result<Option<Mapping>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(path) {
            return Ok(found.clone());
        }
        let found = self.fetched(path)?;
        known().insert(path.to_path_buf(), found.clone());
        Ok(found)
    }

    fn container(&self, path: &Path) -> Result<Container> {
        let url = self.address(path).ok_or_else(|| {
            Error::unsupported("a signed address tells nothing of the files beside it")
                .file(path)
                .hint("give addresses that are not signed, or download the files first")
        })?;
        opened(&self.client, &url, path, None, Tries(4)).map(Container::Elsewhere)
    }

    fn hands(&self) -> usize {
        self.client.access.hands()
    }
}
