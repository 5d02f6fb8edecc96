//! Models of the Hugging Face hub: from its cache, if all of a model is there; else streamed from the hub, or put into
//! the cache first. Whatever a branch is called, one commit of it is read, that of the first answer.
//! Specification: the HTTP API of the hub and the cache of huggingface_hub 2.4.

mod cache;
pub(super) mod choice;
mod download;
mod environment;
mod listing;
mod repo;
mod upload;

pub use upload::Upload;

use super::Access;
use super::locator::Name;
use crate::error::{Error, Kind, Result};
use crate::model::Input;
use cache::Cached;
use environment::Environment;
use listing::MAIN;
use repo::Repo;
use std::path::PathBuf;

/// Opens a model of the hub.
pub fn open(name: &Name, access: &Access) -> Result<Input> {
    let environment = Environment::read();
    let shown = PathBuf::from(name.shown());
    let revision = name.revision.as_deref().unwrap_or(MAIN);
    let cached = Cached::of(&environment.cache, &name.repo);
    if (!access.download || environment.is_offline)
        && let Some(path) = in_cache(&cached, name, revision, environment.is_offline)?
    {
        return from_cache(&path, revision, access.download);
    }
    if environment.is_offline {
        return Err(Error::new(Kind::Io, "the model is not in the cache, and the hub may not be asked")
            .file(&shown)
            .expected(format!("the revision {revision} in {}", cached.dir.display()))
            .found("HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set")
            .hint("unset it, or download the model first, with --download or `hf download`"));
    }
    let repo = Repo::open(environment, name, revision, access)?;
    match access.download {
        true => from_cache(&repo.download()?, revision, true),
        false => repo.stream(),
    }
}

/// Where the cache holds the model, if it does; without the hub, also one that lacks some files.
fn in_cache(cached: &Cached, name: &Name, revision: &str, is_offline: bool) -> Result<Option<PathBuf>> {
    let Some(commit) = cached.commit(revision) else { return Ok(None) };
    let files = cached.files(&commit);
    let shown = PathBuf::from(name.shown());
    let file = match choice::chosen(&files, name.file.as_deref(), &shown) {
        Ok(file) => file,
        Err(e) if is_offline && !files.is_empty() => return Err(e),
        Err(_) => return Ok(None),
    };
    let is_whole = cached.is_whole(&commit, &file);
    Ok((is_whole || is_offline).then(|| opened_by(cached.snapshot(&commit), name.file.is_some(), &file)))
}

/// What is opened of a snapshot: the file that was named, or the folder.
fn opened_by(snapshot: PathBuf, is_named: bool, file: &str) -> PathBuf {
    if is_named || file.ends_with(".gguf") { snapshot.join(file) } else { snapshot }
}

fn from_cache(path: &std::path::Path, revision: &str, is_new: bool) -> Result<Input> {
    let mut input = crate::format::open_path(path)?;
    if let Input::Checkpoint(checkpoint) = &mut input
        && !is_new
        && !cache::is_commit(revision)
    {
        let id = super::hub_id(path).unwrap_or_default();
        checkpoint.notes.push(format!(
            "{id} is read from the cache, as it was when it was last downloaded; --download looks for a newer one"
        ));
    }
    Ok(input)
}
