//! A bucket that takes outputs: each file at once or in parts, sent under its name with `If-None-Match` unless it may be
//! replaced, with its SHA-256 beside it, by which a later run knows what is there. Specification: the API of Amazon S3.

mod ask;
mod parts;
mod sums;

use super::bucket::Bucket;
use crate::error::{Error, Kind, Result};
use crate::source::{Access, Depot, Parcel, Sending, Sent, Stored, mark};
use ask::{Asker, Taken};
use std::collections::BTreeSet;
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
        // A bucket that is not there, or not ours, is told now.
        bucket.knock(place.key.rsplit_once('/').map_or("", |(folder, _)| folder))?;
        Ok(Upload { place: place.with(""), asker: Asker { bucket, place: place.with("") } })
    }

    fn is_stopped(&self) -> bool {
        self.asker.bucket.client().access.watch.cancelled()
    }

    /// Whether the file is there as it is to be; an error if another one is, and may not be replaced.
    fn is_there(&self, parcel: &Parcel, replaces: bool, sending: &Sending<'_>) -> Result<bool> {
        match self.asker.there(&parcel.name, &|| sending.watch.cancelled())? {
            None => Ok(false),
            Some(there) if there.is(parcel) => Ok(true),
            Some(_) if replaces => Ok(false),
            Some(_) => Err(self.exists(&parcel.name)),
        }
    }

    fn exists(&self, name: &str) -> Error {
        Error::new(Kind::Failure, "the output exists")
            .file(&self.shown(name))
            .hint("somebody has put it there meanwhile; give --force to replace it")
    }

    /// Sends one file; whether it went.
    fn one(&self, parcel: &Parcel, index: usize, sending: &Sending<'_>) -> Result<bool> {
        let may = parcel.replaces || parcel.follows.is_some();
        if self.is_there(parcel, may, sending)? {
            sending.watch.advance(0, index, parcel.bytes, true);
            return Ok(true);
        }
        let mut parcel = parcel.clone();
        if let Some(earlier) = &parcel.follows {
            let now = self.text(&parcel.name)?;
            if now.as_deref().is_some_and(|text| mark(text) != *earlier) {
                return Ok(false);
            }
            parcel.replaces = now.is_some();
        }
        let taken = parts::send(&self.asker, &parcel, index, sending)?;
        if taken == Taken::Exists {
            // A run like this one may have sent the same.
            let is_left = parcel.follows.is_some();
            if !self.is_there(&parcel, is_left, sending)? {
                return if is_left { Ok(false) } else { Err(self.exists(&parcel.name)) };
            }
        }
        parts::discard(&parcel.name, sending.state);
        sending.watch.advance(0, index, 0, true);
        Ok(true)
    }
}

impl Depot for Upload {
    fn shown(&self, name: &str) -> PathBuf {
        self.place.with(name.trim_end_matches('/')).shown()
    }

    fn held(&self, names: &[String]) -> Result<BTreeSet<String>> {
        let mut there = BTreeSet::new();
        for name in names {
            if self.asker.there(name, &|| self.is_stopped())?.is_some() {
                there.insert(name.clone());
            }
        }
        Ok(there)
    }

    fn names(&self, folder: &str) -> Result<Vec<String>> {
        let keys = self.asker.bucket.list(&self.place.with(folder.trim_end_matches('/')))?;
        Ok(keys.into_keys().filter_map(|key| key.strip_prefix(folder).map(String::from)).collect())
    }

    fn text(&self, name: &str) -> Result<Option<String>> {
        let bytes = self.asker.whole(name, MOST_TEXT, &|| self.is_stopped())?;
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
        let Some((name, _)) = files.first() else { return Ok(Vec::new()) };
        // Who may not write is told so before the work.
        let stop = || self.is_stopped();
        let upload = self.asker.begin(name, "", &stop)?;
        let given_up = self.asker.abort(name, &upload, &stop);
        let note = |_| {
            String::from(
                "the store lets no upload be given up: a rule of the bucket (AbortIncompleteMultipartUpload) clears them away",
            )
        };
        Ok(given_up.err().map(note).into_iter().collect())
    }

    fn send(&self, parcels: &[Parcel], sending: &Sending<'_>) -> Result<Sent> {
        let mut behind = Vec::new();
        // By the first file the others are found: it comes last.
        for (index, parcel) in parcels.iter().enumerate().rev() {
            if !self.one(parcel, index, sending)? {
                behind.push(parcel.name.clone());
            }
        }
        let first = parcels.first().map_or("", |parcel| &parcel.name);
        Ok(Sent { place: self.shown(first).display().to_string(), behind })
    }
}
