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
    /// What the place is called, as the name of a file.
    pub name: String,
    /// The path there, as it was typed: empty, or ending in a slash, where it is a folder.
    pub path: String,
    place: Place,
}

/// The kinds of places that this build knows.
enum Place {
    #[cfg(feature = "remote")]
    Hub(Name),
    #[cfg(feature = "stores")]
    Store(Stored),
}

/// Whether what was typed as an output lies elsewhere.
pub fn is_away(typed: &Path) -> bool {
    typed.to_str().is_some_and(|text| text.contains("://"))
}

impl Destination {
    /// The place that was typed as the output. Nobody is asked about it.
    ///
    /// # Errors
    /// It is no name of a place, or of one that takes nothing.
    #[cfg(feature = "remote")]
    pub fn of(typed: &Path) -> Result<Destination> {
        let text = typed.to_str().unwrap_or_default();
        let expected = "hf://org/name[@revision][/file], s3://bucket/key, or a path";
        let wrong =
            || Error::usage("nothing can be written there").file(&super::shown(typed)).expected(expected);
        if Cloud::of(text).is_some() {
            return in_store(Stored::parse(text).ok_or_else(wrong)?, text.ends_with('/'));
        }
        let name = text.strip_prefix("hf://").and_then(Name::parse).ok_or_else(wrong)?;
        let is_folder = name.file.is_none() || text.ends_with('/');
        let file = name.file.clone().unwrap_or_default();
        let path = if is_folder && !file.is_empty() { file + "/" } else { file };
        Ok(Destination { name: name.repo.replace('/', "--"), path, place: Place::Hub(name) })
    }

    /// Nothing can be written elsewhere.
    #[cfg(not(feature = "remote"))]
    pub fn of(typed: &Path) -> Result<Destination> {
        Err(Error::unsupported("this build writes files only")
            .file(typed)
            .hint("build with the feature remote, or give a path"))
    }

    /// Opens the place; a new one is private if that is wished.
    ///
    /// # Errors
    /// The place refuses.
    #[cfg_attr(not(feature = "remote"), expect(unused_variables, reason = "there are no places"))]
    pub fn open(&self, is_private: bool, access: &Access) -> Result<Box<dyn Depot>> {
        match &self.place {
            #[cfg(feature = "remote")]
            Place::Hub(name) => Ok(Box::new(super::hub::Upload::open(name, is_private, access)?)),
            #[cfg(feature = "stores")]
            Place::Store(place) => Ok(Box::new(super::store::Upload::open(place, access)?)),
            #[cfg(not(feature = "remote"))]
            place => match *place {},
        }
    }
}

/// A place in a store.
#[cfg(feature = "stores")]
fn in_store(place: Stored, ends: bool) -> Result<Destination> {
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
    Ok(Destination { name: place.bucket.clone(), path, place: Place::Store(place) })
}

/// This build knows no stores.
#[cfg(all(feature = "remote", not(feature = "stores")))]
fn in_store(place: Stored, _ends: bool) -> Result<Destination> {
    Err(super::without_stores(&place.shown()))
}
