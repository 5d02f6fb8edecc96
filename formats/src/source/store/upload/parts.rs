//! One file on its way: a small one at once, another in parts of equal length, several at a time. The name of the upload
//! is noted, so that a later run asks the store which parts it has; one counts if its MD5 is that of the bytes here.

use super::ask::{Asker, Body, MOST_PARTS, Part, Taken};
use super::sums::{base64, sum_of};
use crate::error::{Error, Kind, Result};
use crate::source::crew::share;
use crate::source::http::piece;
use crate::source::{Parcel, Sending, Stop};
use crate::write::write_whole;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a part, unless there would be more than the store takes.
const PART: u64 = 8 << 20;
/// Parts under way at a time.
const MOST_AT_ONCE: usize = 8;
/// How often an upload is begun anew that the store has forgotten.
const FRESH: usize = 3;

/// Why parts are not there yet.
enum Cut {
    /// The store knows no such upload any more.
    Forgotten,
    Over(Error),
}

impl From<Error> for Cut {
    fn from(e: Error) -> Cut {
        Cut::Over(e)
    }
}

/// Sends a file, and sees that the store has it.
pub fn send(asker: &Asker, parcel: &Parcel, index: usize, sending: &Sending<'_>) -> Result<Taken> {
    let stop = || sending.watch.cancelled();
    let holds = || Ok::<_, Error>(asker.there(&parcel.name, &stop)?.map(|there| there.is(parcel)));
    let mut taken = Taken::Forgotten;
    if parcel.bytes <= PART {
        taken = small(asker, parcel, &stop)?;
        sending.watch.advance(0, index, parcel.bytes, false);
    }
    for _ in 0..FRESH {
        if taken != Taken::Forgotten {
            break;
        }
        taken = in_parts(asker, parcel, index, sending)?;
        if taken == Taken::Forgotten {
            discard(&parcel.name, sending.state);
            // That it is whole may have been said, and the answer lost.
            match holds()? {
                Some(true) => return Ok(Taken::Yes),
                Some(false) if !parcel.replaces => return Ok(Taken::Exists),
                _ => {}
            }
        }
    }
    match taken {
        Taken::Yes if holds()? == Some(true) => Ok(Taken::Yes),
        Taken::Yes => Err(asker.lost(&parcel.name)),
        Taken::Exists => Ok(Taken::Exists),
        Taken::Forgotten => {
            Err(Error::new(Kind::Io, "the store forgets the parts of an object").file(&parcel.path))
        }
    }
}

/// Sends all of a file at once.
fn small(asker: &Asker, parcel: &Parcel, stop: Stop<'_>) -> Result<Taken> {
    // Some stores do not heed If-None-Match.
    if !parcel.replaces && asker.there(&parcel.name, stop)?.is_some() {
        return Ok(Taken::Exists);
    }
    let bytes = 0..parcel.bytes;
    let sum = base64(&sum(&parcel.path, bytes.clone())?);
    let open = || piece(&parcel.path, bytes.clone(), &|_| {}, stop);
    asker.put(parcel, &Body { length: parcel.bytes, sum: &sum, open: &open }, stop)
}

/// Forgets the upload of an object.
pub fn discard(key: &str, state: &Path) {
    // What stays is found to be of no use by the next run.
    _ = std::fs::remove_file(note(key, state));
}

/// Where the upload of an object is noted.
fn note(key: &str, state: &Path) -> PathBuf {
    state.join(format!("{:016x}.parts.json", xxh3_64(key.as_bytes())))
}

/// The upload of an earlier run of the same file, and the length of its parts.
fn noted(parcel: &Parcel, state: &Path) -> Option<(String, u64)> {
    let text = std::fs::read_to_string(note(&parcel.name, state)).ok()?;
    let told: Value = serde_json::from_str(&text).ok()?;
    let says = |name: &str| told.get(name).and_then(Value::as_str);
    let is_same = says("key") == Some(&parcel.name) && says("sha256") == Some(&parcel.sha256);
    let part = told.get("part")?.as_u64().filter(|part| is_same && *part >= PART)?;
    Some((says("upload")?.to_string(), part))
}

fn in_parts(asker: &Asker, parcel: &Parcel, index: usize, sending: &Sending<'_>) -> Result<Taken> {
    let (key, stop) = (parcel.name.as_str(), || sending.watch.cancelled());
    let known = noted(parcel, sending.state);
    let had = known.as_ref().map(|(upload, _)| asker.parts(key, upload, &stop)).transpose()?.flatten();
    let (upload, part, had): (_, _, BTreeMap<u64, Part>) = match (known, had) {
        (Some((upload, part)), Some(had)) => (upload, part, had.into_iter().collect()),
        _ => {
            let part = PART.max(parcel.bytes.div_ceil(MOST_PARTS).next_multiple_of(1 << 20));
            let upload = asker.begin(key, &parcel.sha256, &stop)?;
            let told = json!({ "key": key, "sha256": parcel.sha256, "upload": upload, "part": part });
            write_whole(&note(key, sending.state), format!("{told}\n").as_bytes(), true)?;
            (upload, part, BTreeMap::new())
        }
    };
    if !had.is_empty() {
        sending.watch.resumes(had.len());
    }
    let work = Work { asker, parcel, index, sending, upload: &upload, part, had };
    let tags = match work.sent() {
        Ok(tags) => tags,
        Err(Cut::Forgotten) => return Ok(Taken::Forgotten),
        Err(Cut::Over(e)) => return Err(e),
    };
    // That took long, and some stores do not heed If-None-Match.
    let is_taken = !parcel.replaces && asker.there(key, &stop)?.is_some();
    let taken = if is_taken { Taken::Exists } else { asker.end(parcel, &upload, &tags, &stop)? };
    if taken != Taken::Yes {
        // Who may not give it up leaves it to a rule of the bucket.
        _ = asker.abort(key, &upload, &stop);
    }
    Ok(taken)
}

/// An upload in parts.
struct Work<'a> {
    asker: &'a Asker,
    parcel: &'a Parcel,
    index: usize,
    sending: &'a Sending<'a>,
    upload: &'a str,
    part: u64,
    /// What the store has.
    had: BTreeMap<u64, Part>,
}

impl Work<'_> {
    /// Sends the parts that are not there; what the store calls all of them.
    fn sent(&self) -> Result<Vec<String>, Cut> {
        let numbers: Vec<u64> = (0..self.parcel.bytes.div_ceil(self.part)).collect();
        let tags = Mutex::new(BTreeMap::new());
        let hands = self.asker.bucket.client().access.connections.clamp(1, MOST_AT_ONCE);
        share(&numbers, hands, &|| self.sending.watch.cancelled(), |at, stop| {
            let tag = self.one(*at, stop)?.ok_or(Cut::Forgotten)?;
            tags.lock().unwrap_or_else(PoisonError::into_inner).insert(*at, tag);
            Ok::<_, Cut>(())
        })?;
        Ok(tags.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect())
    }

    /// What the store calls one part, which is sent unless it is there.
    fn one(&self, at: u64, stop: Stop<'_>) -> Result<Option<String>> {
        let start = at * self.part;
        let bytes = start..(start + self.part).min(self.parcel.bytes);
        let (sum, length) = (sum(&self.parcel.path, bytes.clone())?, bytes.end - bytes.start);
        let hex: String = sum.iter().map(|b| format!("{b:02x}")).collect();
        if self.had.get(&(at + 1)).is_some_and(|part| part.bytes == length && part.tag == hex) {
            self.sending.watch.advance(0, self.index, length, false);
            return Ok(Some(hex));
        }
        let open = || piece(&self.parcel.path, bytes.clone(), &|_| {}, stop);
        let body = Body { length, sum: &base64(&sum), open: &open };
        let sent = self.asker.part(&self.parcel.name, self.upload, at + 1, &body, stop);
        let tag = sent.map_err(|e| e.or_hint("give the same command again to go on"))?;
        self.sending.watch.advance(0, self.index, length, false);
        Ok(tag)
    }
}

/// The MD5 of bytes of a file.
fn sum(path: &Path, bytes: Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = piece(path, bytes, &|_| {}, &|| false)?;
    sum_of(&mut bytes).map_err(|e| Error::io(&e, path))
}
