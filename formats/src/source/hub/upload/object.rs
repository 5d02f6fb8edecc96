//! One large file to the store behind the hub, by Git LFS: the hub gives an address for all of it, or one for each part.
//! Parts go several at a time; which are there, and the addresses, are noted, so that a later run sends only the rest.

use super::api::{Api, refusal};
use super::noted::{Noted, Parts};
use crate::error::{Error, Kind, Result};
use crate::source::crew::share;
use crate::source::http::{Answer, Failure, PATIENT, Send, joined, patiently, piece};
use crate::source::{Parcel, Sending, Stop};
use serde_json::{Value, json};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const KIND: &str = "application/vnd.git-lfs+json";
/// How long a store may think when it has all of a part.
const PATIENCE: Duration = Duration::from_secs(120);
/// The most parts of a file, and the shortest part of one that has several.
const MOST_PARTS: u64 = 50_000;
const LEAST_PART: u64 = 1 << 20;
/// How often new addresses are asked for, where those that were given are no longer good.
const FRESH: usize = 3;

/// A file on its way.
pub struct Large<'a> {
    pub api: &'a Api,
    pub id: &'a str,
    pub parcel: &'a Parcel,
    /// Its number for the watcher.
    pub index: usize,
    pub sending: &'a Sending<'a>,
}

/// How the store wants it.
pub enum Way {
    /// It has it.
    There,
    /// At once, to this address.
    Whole(String),
    Parts(Parts),
}

/// Why it is not there yet.
enum Cut {
    /// The addresses are no longer good.
    Stale(Error),
    Over(Error),
}

impl From<Error> for Cut {
    fn from(e: Error) -> Cut {
        Cut::Over(e)
    }
}

/// Sends it, and has the hub see that it is all there.
pub fn send(large: &Large<'_>) -> Result<()> {
    let noted = Noted::of(large.sending.state, &large.parcel.sha256);
    let mut tries = 0;
    loop {
        let known = noted.read(large.parcel.bytes);
        let (way, verify) = match known.filter(|(parts, _)| parts.home == large.api.endpoint) {
            Some((parts, _)) => {
                let verify = parts.verify.clone();
                (Way::Parts(parts), verify)
            }
            None => large.asked()?,
        };
        let done = match &way {
            Way::There => Ok(()),
            Way::Whole(url) => large.put(url, 0..large.parcel.bytes, &|| large.is_stopped()).map(|_| ()),
            Way::Parts(parts) => large.parts(parts, &noted),
        };
        match done {
            Ok(()) => {
                // Whatever the hub says now, the parts are together.
                noted.discard();
                if let Some(url) = verify {
                    large.verified(&url)?;
                }
                large.advance(0, true);
                return Ok(());
            }
            Err(Cut::Over(e)) => return Err(e),
            Err(Cut::Stale(e)) => {
                noted.discard();
                tries += 1;
                if tries > FRESH {
                    return Err(e);
                }
            }
        }
    }
}

impl Large<'_> {
    fn advance(&self, bytes: u64, is_last: bool) {
        self.sending.watch.advance(0, self.index, bytes, is_last);
    }

    fn is_stopped(&self) -> bool {
        self.sending.watch.cancelled()
    }

    /// Asks the hub how the store wants it, and where its arrival is told.
    fn asked(&self) -> Result<(Way, Option<String>)> {
        let Parcel { sha256, bytes, .. } = self.parcel;
        let body = json!({
            "operation": "upload",
            "transfers": ["basic", "multipart"],
            "objects": [{ "oid": sha256, "size": bytes }],
            "hash_algo": "sha256",
            "ref": { "name": self.api.revision },
        });
        let url = format!("{}/{}.git/info/lfs/objects/batch", self.api.endpoint, self.id);
        let (_, text) = self.api.post(&url, KIND, body.to_string().as_bytes(), &[], &|| self.is_stopped())?;
        let told = self.api.parsed(&text)?;
        let object = told.get("objects").and_then(|all| all.get(0));
        let object = object.ok_or_else(|| self.api.lie("it tells of no file"))?;
        if let Some(message) = object.pointer("/error/message").and_then(Value::as_str) {
            let shown: String = message.chars().take(200).collect();
            return Err(Error::new(Kind::Io, "the hub does not take this file")
                .file(&self.parcel.path)
                .found(format!("'{shown}'")));
        }
        if object.get("oid").and_then(Value::as_str).is_some_and(|oid| oid != sha256) {
            return Err(self.api.lie("it tells of another file"));
        }
        let address = |action: &str| {
            let href = object.pointer(&format!("/actions/{action}/href")).and_then(Value::as_str);
            href.map(|href| self.address(href)).transpose()
        };
        let verify = address("verify")?;
        let way = match address("upload")? {
            None => Way::There,
            Some(end) => self.way(end, object.pointer("/actions/upload/header"), verify.clone())?,
        };
        Ok((way, verify))
    }

    /// An address that something may be sent to.
    fn address(&self, href: &str) -> Result<String> {
        joined(&self.api.endpoint, href).ok_or_else(|| self.api.lie("an address is none of https://"))
    }

    fn way(&self, end: String, header: Option<&Value>, verify: Option<String>) -> Result<Way> {
        let Some(size) = header.and_then(|h| h.get("chunk_size")) else { return Ok(Way::Whole(end)) };
        let size = size.as_u64().or_else(|| size.as_str()?.parse().ok()).filter(|n| *n > 0);
        let part = size.ok_or_else(|| self.api.lie("parts have no size"))?;
        let count = self.parcel.bytes.div_ceil(part);
        if count > MOST_PARTS || (part < LEAST_PART && count > 1000) {
            return Err(self
                .api
                .lie("it wants too many parts")
                .found(format!("{count} parts of {part} bytes")));
        }
        let mut numbered: Vec<(u64, &str)> = header
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(no, url)| Some((no.parse().ok()?, url.as_str()?)))
            .collect();
        numbered.sort_unstable();
        if numbered.iter().map(|(no, _)| *no).ne(1..=count) {
            let e = self.api.lie("the addresses are not those of the parts");
            return Err(e.expected(format!("{count} addresses")).found(numbered.len()));
        }
        let addresses = numbered.iter().map(|(_, url)| self.address(url)).collect::<Result<_>>()?;
        let home = self.api.endpoint.clone();
        Ok(Way::Parts(Parts { home, end, verify, part, addresses }))
    }

    /// Sends the parts that are not there, then says that all are.
    fn parts(&self, parts: &Parts, noted: &Noted) -> Result<(), Cut> {
        let tags = match noted.read(self.parcel.bytes) {
            Some((known, tags)) if known == *parts => tags,
            _ => noted.begin(parts)?,
        };
        let range = |no: usize| {
            let start = no as u64 * parts.part;
            start..(start + parts.part).min(self.parcel.bytes)
        };
        let bytes = |no: usize| range(no).end - range(no).start;
        tags.keys().for_each(|no| self.advance(bytes(*no), false));
        let missing: Vec<usize> = (0..parts.addresses.len()).filter(|no| !tags.contains_key(no)).collect();
        let tags = Mutex::new(tags);
        let connections = self.api.client.access.connections;
        share(&missing, connections, &|| self.is_stopped(), |no, stop| -> Result<(), Cut> {
            let tag = self.put(&parts.addresses[*no], range(*no), stop)?;
            let tag = tag.ok_or_else(|| self.api.lie("the store does not say what it calls a part"))?;
            noted.add(*no, &tag)?;
            tags.lock().unwrap_or_else(PoisonError::into_inner).insert(*no, tag);
            Ok(())
        })?;
        let tags = tags.into_inner().unwrap_or_else(PoisonError::into_inner);
        let told: Vec<Value> =
            tags.iter().map(|(no, tag)| json!({ "partNumber": no + 1, "etag": tag })).collect();
        let body = json!({ "oid": self.parcel.sha256, "parts": told }).to_string();
        // Parts of an earlier run may be gone by now, or their address; what is noted of them is then of no use.
        let stale: Vec<u16> = (400..500).filter(|status| ![408, 429].contains(status)).collect();
        let (status, _) = self.api.post(&parts.end, KIND, body.as_bytes(), &stale, &|| self.is_stopped())?;
        match stale.contains(&status) {
            false => Ok(()),
            true => Err(Cut::Stale(
                Error::new(Kind::Io, "the hub does not put the parts together")
                    .file(&self.parcel.path)
                    .found(format!("status {status}")),
            )),
        }
    }

    /// Puts bytes of the file where they belong; what the store calls them.
    fn put(&self, url: &str, range: Range<u64>, stop: Stop<'_>) -> Result<Option<String>, Cut> {
        let (path, length) = (&self.parcel.path, range.end - range.start);
        // What is sent again is not told again.
        let told = AtomicU64::new(0);
        let tell = |at: u64| {
            let before = told.fetch_max(at, Ordering::Relaxed);
            self.advance(at.saturating_sub(before), false);
        };
        let body = || piece(path, range.clone(), &tell, stop);
        let send =
            Send { url, put: true, headers: &[], length, body: &body, patience: PATIENCE, what: path, stop };
        let mut stale = None;
        let sent = patiently(PATIENT, &self.api.client.access.traffic, stop, || {
            let answer = self.api.client.send(&send)?;
            match answer.status() {
                200..=299 => Ok(answer.header("etag").map(String::from)),
                status => {
                    stale = Some(status).filter(|status| [400, 401, 403, 404, 410].contains(status));
                    Err(of_store(&answer, path))
                }
            }
        });
        sent.map_err(|e| if stale.is_some() { Cut::Stale(e) } else { Cut::Over(e) })
    }

    /// Has the hub see that the store has it.
    fn verified(&self, url: &str) -> Result<()> {
        let body = json!({ "oid": self.parcel.sha256, "size": self.parcel.bytes }).to_string();
        self.api.post(url, KIND, body.as_bytes(), &[], &|| self.is_stopped()).map(|_| ())
    }
}

/// Why a store takes something not: its address is no longer good, it is busy, or what the hub would say.
fn of_store(answer: &Answer, path: &std::path::Path) -> Failure {
    match answer.status() {
        400 | 401 | 403 | 404 | 410 => Failure::Over(
            Error::new(Kind::Io, "the store of the hub does not take this file")
                .file(path)
                .found(answer.found())
                .hint("give the same command again to go on"),
        ),
        _ => refusal(answer, path),
    }
}
