//! One branch of a model that is written: what is there, as the hub listed it last.

use super::api::Api;
use crate::error::Result;
use crate::source::http::{Ask, PATIENT, encoded, patiently};
use crate::source::hub::listing::{Listing, MAIN, listing};
use crate::source::hub::repo::{FIRST, MOST_LIST, fetched};
use crate::source::locator::Name;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The longest card that is read.
const MOST_CARD: u64 = 4 << 20;

/// A branch, and what is there.
pub struct Branch {
    pub api: Api,
    /// As the hub spells it, once it has told.
    pub id: String,
    there: Mutex<There>,
}

/// What is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No such model, as far as is known.
    Nothing,
    /// The model, without this branch.
    NoBranch,
    Branch,
}

/// The same, with the files.
enum There {
    Nothing,
    NoBranch,
    Branch(Box<Listing>),
}

impl Branch {
    /// Asks the hub what is there.
    pub fn open(api: Api, id: &str) -> Result<Branch> {
        let mut branch = Branch { api, id: id.to_string(), there: Mutex::new(There::Nothing) };
        branch.look()?;
        if let Some(id) = branch.with(|l| l.map(|l| l.id.clone())) {
            branch.id = id;
        }
        Ok(branch)
    }

    /// Asks what is there now.
    pub fn look(&self) -> Result<()> {
        self.look_at(&self.api.revision)
    }

    /// The same of a commit.
    pub fn look_at(&self, revision: &str) -> Result<()> {
        let found = self.asked(revision)?;
        *self.there.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }

    fn asked(&self, revision: &str) -> Result<There> {
        let Api { client, endpoint, shown, .. } = &self.api;
        let url =
            format!("{endpoint}/api/models/{}/revision/{}?blobs=true", self.id, encoded(revision, false));
        let stop = || client.access.watch.cancelled();
        let ask = Ask { url: &url, head: false, range: None, tag: None, what: shown, stop: &stop };
        let found = patiently(FIRST, &client.access.traffic, &stop, || {
            let answer = client.ask(&ask)?;
            let code = answer.header("x-error-code").unwrap_or_default();
            match (answer.status(), code) {
                (200, _) => answer.whole(MOST_LIST, shown).map(Ok),
                (_, "RevisionNotFound") => Ok(Err(There::NoBranch)),
                // What a token may not see is not there; whether it may be made is seen when it is.
                (_, "RepoNotFound") | (401 | 404, "") => Ok(Err(There::Nothing)),
                _ => Err(answer.failure(shown, true)),
            }
        })?;
        match found {
            Ok(text) => Ok(There::Branch(Box::new(listing(&text, &self.id).map_err(|e| e.file(shown))?))),
            Err(there) => Ok(there),
        }
    }

    /// What the listing of the branch tells, if there is one.
    pub fn with<T>(&self, f: impl FnOnce(Option<&Listing>) -> T) -> T {
        match &*self.there.lock().unwrap_or_else(PoisonError::into_inner) {
            There::Branch(listing) => f(Some(listing)),
            There::Nothing | There::NoBranch => f(None),
        }
    }

    pub fn state(&self) -> State {
        match &*self.there.lock().unwrap_or_else(PoisonError::into_inner) {
            There::Nothing => State::Nothing,
            There::NoBranch => State::NoBranch,
            There::Branch(_) => State::Branch,
        }
    }

    /// A short text that lies there.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let commit = |l: &Listing| l.files.contains_key(name).then(|| l.commit.clone());
        let Some(commit) = self.with(|l| l.and_then(commit)) else { return Ok(None) };
        let Api { client, endpoint, .. } = &self.api;
        let url = format!("{endpoint}/{}/resolve/{commit}/{}", self.id, encoded(name, true));
        let bytes = fetched(client, &url, &self.shown(name), MOST_CARD, PATIENT)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// How a file of it is told to people.
    pub fn shown(&self, name: &str) -> PathBuf {
        let revision = Some(&self.api.revision).filter(|rev| *rev != MAIN).cloned();
        let file = (!name.is_empty()).then(|| name.to_string());
        PathBuf::from(Name { repo: self.id.clone(), revision, file }.shown())
    }
}
