//! Object stores: of Amazon and all that have its interface, of Google, of Azure. object_store finds the credentials, lists
//! and signs; the bytes come and go by the rules of everything else that lies elsewhere.

mod bucket;
mod connector;
mod errors;
mod folder;
mod upload;

pub use upload::Upload;

use super::{Access, Stored};
use crate::error::{Error, Result};
use crate::model::Input;
use crate::source::Folder;
use crate::source::hub::choice::chosen;
use crate::{gguf, safetensors};
use bucket::Bucket;
use folder::Files;
use std::sync::Arc;

/// Opens a model in a store: a file, or what a folder holds.
pub fn open(place: &Stored, access: &Access) -> Result<Input> {
    let shown = place.shown();
    if access.download {
        return Err(Error::usage("--download is for models of the Hugging Face hub")
            .file(&shown)
            .hint("leave it out to read the model from where it is, or copy it yourself"));
    }
    let bucket = Arc::new(Bucket::open(place, access)?);
    let lower = place.key.to_ascii_lowercase();
    let is_file = [".gguf", ".safetensors", ".safetensors.index.json"].iter().any(|end| lower.ends_with(end));
    if lower.ends_with(".gguf") {
        let files = Files::asked(bucket);
        return gguf::open_in(&Folder::elsewhere(Arc::new(files)), &shown).map(Input::Model);
    }
    let (dir, asked) = match place.key.rsplit_once('/').filter(|_| is_file) {
        Some((dir, file)) => (dir, Some(file)),
        None if is_file => ("", Some(place.key.as_str())),
        None => (place.key.as_str(), None),
    };
    let dir = place.with(dir);
    let files = Files::listed(bucket, &dir)?;
    let file = chosen(&files.names(), asked, &dir.shown())?;
    let path = dir.shown().join(&file);
    if file.ends_with(".bin") || file.contains("pytorch_model") {
        return Err(Error::unsupported(
            "files of PyTorch cannot be read by parts, and this model has no others",
        )
        .file(&path)
        .hint("copy the model first"));
    }
    let folder = Folder::elsewhere(Arc::new(files));
    if file.ends_with(".gguf") {
        return gguf::open_in(&folder, &path).map(Input::Model);
    }
    safetensors::open_in(&folder, &path).map(Input::Checkpoint)
}
