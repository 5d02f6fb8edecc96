//! What was typed as an output, as a place elsewhere that takes files.

use super::Access;
use super::depot::Depot;
#[cfg(feature = "remote")]
use super::locator::Name;
#[cfg(feature = "remote")]
use super::stored::{Cloud, Stored};
use crate::error::{Error, Result};
use std::path::Path;

/// Where an output goes that does not stay here.
pub struct Destination {
    pub depot: Box<dyn Depot>,
    /// What the place is called, as the name of a file.
    pub name: String,
    /// The path there, as it was typed: empty, or ending in a slash, where it is a folder.
    pub path: String,
}

/// Whether what was typed as an output lies elsewhere.
pub fn is_away(typed: &Path) -> bool {
    typed.to_str().is_some_and(|text| text.contains("://"))
}

/// Opens the place that was typed as an output; a new one is private if that is wished.
///
/// # Errors
/// It is no name of a place, or of one that takes nothing; the place refuses.
#[cfg(feature = "remote")]
pub fn destination(typed: &Path, is_private: bool, access: &Access) -> Result<Destination> {
    let text = typed.to_str().unwrap_or_default();
    let expected = "hf://org/name[@revision][/file], s3://bucket/key, or a path";
    let wrong = || Error::usage("nothing can be written there").file(&super::shown(typed)).expected(expected);
    if Cloud::of(text).is_some() {
        return in_store(&Stored::parse(text).ok_or_else(wrong)?, text.ends_with('/'), access);
    }
    let Some(rest) = text.strip_prefix("hf://") else { return Err(wrong()) };
    let name = Name::parse(rest).ok_or_else(wrong)?;
    let is_folder = name.file.is_none() || text.ends_with('/');
    let file = name.file.clone().unwrap_or_default();
    let path = if is_folder && !file.is_empty() { file + "/" } else { file };
    let called = name.repo.replace('/', "--");
    let depot = Box::new(super::hub::Upload::open(&name, is_private, access)?);
    Ok(Destination { depot, name: called, path })
}

/// Opens a place in a store.
#[cfg(feature = "stores")]
fn in_store(place: &Stored, ends: bool, access: &Access) -> Result<Destination> {
    if place.cloud != Cloud::S3 {
        return Err(Error::unsupported(format!("outputs are not written to {}", place.cloud.scheme()))
            .file(&place.shown())
            .expected("s3://bucket/key, or a path")
            .hint("write it here and copy it there"));
    }
    if !place.key.is_empty() && !crate::inside::stays_inside(&place.key) {
        return Err(Error::usage(
            "no file of this machine can be called so, and outputs are written here first",
        )
        .file(&place.shown())
        .expected("a key without \\ and :"));
    }
    let is_folder = ends || place.key.is_empty();
    let path = if is_folder && !place.key.is_empty() { format!("{}/", place.key) } else { place.key.clone() };
    let depot = Box::new(super::store::Upload::open(place, access)?);
    Ok(Destination { depot, name: place.bucket.clone(), path })
}

/// This build knows no stores.
#[cfg(all(feature = "remote", not(feature = "stores")))]
fn in_store(place: &Stored, _ends: bool, _access: &Access) -> Result<Destination> {
    Err(super::without_stores(&place.shown()))
}

/// Nothing can be written elsewhere.
#[cfg(not(feature = "remote"))]
pub fn destination(typed: &Path, _is_private: bool, _access: &Access) -> Result<Destination> {
    Err(Error::unsupported("this build writes files only")
        .file(typed)
        .hint("build with the feature remote, or give a path"))
}
