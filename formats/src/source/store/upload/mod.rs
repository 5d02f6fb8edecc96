//! A bucket that takes outputs: each file at once or in parts, sent under its name with `If-None-Match` unless it may be
//! replaced, with its SHA-256 beside it, by which a later run knows what is there. Specification: the API of Amazon S3.

mod ask;
mod parts;

use super::bucket::Bucket;
use crate::error::{Error, Kind, Result};
use crate::source::{Access, Depot, Parcel, Sending, Stored};
use ask::{Asker, Taken};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// The largest object that all stores of this kind take.
const MOST: u64 = 5 << 40;
/// The longest text that is read.
const MOST_TEXT: u64 = 16 << 20;

/// A bucket, to which files go by their keys.
pub struct Upload {
    place: Stored,
    asker: Asker,
}

impl Upload {
    /// Opens the bucket of `place`.
    pub fn open(place: &Stored, access: &Access) -> Result<Upload> {
        let bucket = Arc::new(Bucket::open(place, access)?);
        let upload = Upload { place: place.with(""), asker: Asker { bucket, place: place.with("") } };
        // A bucket that is not there, or not ours, is told now.
        upload.listed(place.key.rsplit_once('/').map_or("", |(folder, _)| folder))?;
        Ok(upload)
    }

    /// The keys in a folder that is named without a slash at its end.
    fn listed(&self, folder: &str) -> Result<BTreeMap<String, u64>> {
        self.asker.bucket.list(&self.place.with(folder.trim_end_matches('/')))
    }

    /// Whether the file is there as it is to be; an error if another one is, and may not be replaced.
    fn is_there(&self, parcel: &Parcel, replaces: bool) -> Result<bool> {
        match self.asker.hash(&parcel.name)? {
            None => Ok(false),
            Some(hash) if hash == parcel.sha256 => Ok(true),
            Some(_) if replaces => Ok(false),
            Some(_) => Err(self.exists(&parcel.name)),
        }
    }

    fn exists(&self, name: &str) -> Error {
        Error::new(Kind::Failure, "the output exists")
            .file(&self.shown(name))
            .hint("somebody has put it there meanwhile; give --force to replace it")
    }
}

impl Depot for Upload {
    fn shown(&self, name: &str) -> PathBuf {
        self.place.with(name.trim_end_matches('/')).shown()
    }

    fn held(&self, names: &[String]) -> Result<BTreeSet<String>> {
        let folders: BTreeSet<&str> =
            names.iter().map(|name| name.rsplit_once('/').map_or("", |(folder, _)| folder)).collect();
        let mut there = BTreeSet::new();
        for folder in folders {
            there.extend(self.listed(folder)?.into_keys());
        }
        Ok(names.iter().filter(|name| there.contains(*name)).cloned().collect())
    }

    fn names(&self, folder: &str) -> Vec<String> {
        // What cannot be listed was told when the bucket was opened.
        let keys = self.listed(folder).unwrap_or_default().into_keys();
        keys.filter_map(|key| key.strip_prefix(folder).map(String::from)).collect()
    }

    fn text(&self, name: &str) -> Result<Option<String>> {
        let bytes = self.asker.whole(name, MOST_TEXT)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn prepare(&self, files: &[(String, u64)]) -> Result<Vec<String>> {
        if let Some((name, bytes)) = files.iter().find(|(_, bytes)| *bytes > MOST) {
            return Err(Error::unsupported("the store takes no object of this size")
                .file(&self.shown(name))
                .expected(format!("at most {MOST} bytes"))
                .found(format!("{bytes} bytes"))
                .hint("give --split-max-size"));
        }
        // Who may not write is told so before the work.
        if let Some((name, _)) = files.first() {
            let upload = self.asker.begin(name, "", &|| false)?;
            self.asker.abort(name, &upload)?;
        }
        Ok(Vec::new())
    }

    fn send(&self, parcels: &[Parcel], sending: &Sending<'_>) -> Result<String> {
        // By the first file the others are found: it comes last.
        for (index, parcel) in parcels.iter().enumerate().rev() {
            if self.is_there(parcel, sending.replaces)? {
                sending.watch.advance(0, index, parcel.bytes, true);
                continue;
            }
            let taken = parts::send(&self.asker, parcel, index, sending)?;
            // A run like this one may have sent the same.
            if taken == Taken::Exists && !self.is_there(parcel, false)? {
                return Err(self.exists(&parcel.name));
            }
            parts::discard(&parcel.name, sending.state);
            sending.watch.advance(0, index, 0, true);
        }
        Ok(self.shown(parcels.first().map_or("", |parcel| &parcel.name)).display().to_string())
    }
}
