//! Files that go to a model of the hub, as `hf upload` sends them: the repository is made if there is none, the hub says of
//! each file how it is kept, large ones go to its store under their SHA-256, and one commit names them all.
//! Specification: the HTTP API of the hub as huggingface_hub 2.4 uses it, and the batch API of Git LFS.

mod api;
mod branch;
mod commit;
mod noted;
mod object;

use super::cache::is_commit;
use super::environment::Environment;
use super::listing::MAIN;
use crate::error::{Error, Kind, Result};
use crate::source::http::Client;
use crate::source::locator::Name;
use crate::source::{Access, Depot, Parcel, Sending, Sent};
use api::Api;
use branch::{Branch, State};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Names that stand for something else than models.
const OTHERS: [&str; 5] = ["datasets", "spaces", "models", "buckets", "kernels"];

/// A model of the hub that files go to.
pub struct Upload {
    branch: Branch,
    is_private: bool,
}

impl Upload {
    /// Asks the hub what is there.
    ///
    /// # Errors
    /// The hub may not be asked, or there is no token; it is a commit, which cannot change; those of the hub.
    pub fn open(name: &Name, is_private: bool, access: &Access) -> Result<Upload> {
        let environment = Environment::read();
        let shown = PathBuf::from(Name { file: None, ..name.clone() }.shown());
        let revision = name.revision.clone().unwrap_or_else(|| String::from(MAIN));
        if is_commit(&revision) {
            return Err(Error::usage("a commit cannot be written to").file(&shown).hint("name a branch"));
        }
        if name.repo.split_once('/').is_none_or(|(org, _)| OTHERS.contains(&org)) {
            return Err(Error::usage("only models are written, by their whole names")
                .file(&shown)
                .expected("hf://org/name"));
        }
        if environment.is_offline {
            return Err(Error::new(Kind::Io, "the hub may not be asked, and so nothing can go there")
                .file(&shown)
                .found("HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set")
                .hint("unset it, or write to a path"));
        }
        if environment.token.is_none() {
            return Err(Error::new(Kind::Io, "the hub takes files of those alone whom it knows")
                .file(&shown)
                .hint("set HF_TOKEN to a token that may write (https://huggingface.co/settings/tokens), or log in with `hf auth login`"));
        }
        let Environment { endpoint, token, .. } = environment;
        let client = Client::new(access, token, &endpoint)?;
        let branch = Branch::open(Api { client, endpoint, revision, shown }, &name.repo)?;
        // What is no branch is not made.
        if branch.state() != State::Branch && branch.api.revision.starts_with("refs/") {
            return Err(Error::new(Kind::Io, "the model has no such revision").file(&branch.api.shown));
        }
        Ok(Upload { branch, is_private })
    }

    /// Makes the model and the branch, if they are not there.
    fn made(&self) -> Result<Vec<String>> {
        let (mut made, state) = (Vec::new(), self.branch.state());
        let (api, id) = (&self.branch.api, &self.branch.id);
        let is_new = state == State::Nothing && api.create(id, self.is_private)?;
        if is_new {
            let kind = if self.is_private { "private " } else { "" };
            made.push(format!("made the {kind}model {id}"));
        } else if self.is_private {
            made.push(format!("{id} is there already: --private makes only new ones private"));
        }
        if state != State::Branch && api.revision != MAIN {
            api.branch(id)?;
            made.push(format!("made the branch {}", api.revision));
        }
        Ok(made)
    }
}

impl Depot for Upload {
    fn shown(&self, name: &str) -> PathBuf {
        self.branch.shown(name)
    }

    fn hub_id(&self) -> Option<&str> {
        Some(&self.branch.id)
    }

    fn held(&self, names: &[String]) -> Result<BTreeSet<String>> {
        let there = |name: &&String| self.branch.with(|l| l.is_some_and(|l| l.files.contains_key(*name)));
        Ok(names.iter().filter(there).cloned().collect())
    }

    fn names(&self, folder: &str) -> Result<Vec<String>> {
        let own =
            |name: &String| name.strip_prefix(folder).filter(|rest| !rest.contains('/')).map(String::from);
        Ok(self.branch.with(|l| l.map_or_else(Vec::new, |l| l.files.keys().filter_map(own).collect())))
    }

    fn text(&self, name: &str) -> Result<Option<String>> {
        self.branch.text(name)
    }

    fn prepare(&self, files: &[(String, u64)]) -> Result<Vec<String>> {
        let made = self.made()?;
        if !made.is_empty() {
            self.branch.look()?;
        }
        // A token that may not write is refused here, before the work.
        let samples: Vec<(&str, u64, &[u8])> =
            files.iter().map(|(name, bytes)| (name.as_str(), *bytes, &[][..])).collect();
        self.branch.api.kept(&self.branch.id, &samples)?;
        Ok(made)
    }

    fn send(&self, parcels: &[Parcel], sending: &Sending<'_>) -> Result<Sent> {
        commit::send(&self.branch, parcels, sending)
    }
}
