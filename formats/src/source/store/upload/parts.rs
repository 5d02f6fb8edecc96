//! One file on its way: a small one at once, another in parts of equal length, several at a time. The name of the upload
//! is noted, so that a later run asks the store which parts it has; one counts if its MD5 is that of the bytes here.

use super::ask::{Asker, Part, Taken};
use crate::error::{Error, Kind, Result};
use crate::source::{Parcel, Sending, Stop};
use crate::write::write_whole;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a part, unless there would be more than the store takes.
const PART: u64 = 8 << 20;
const MOST_PARTS: u64 = 10_000;
/// Parts under way at a time: each is held.
const MOST_AT_ONCE: usize = 8;
/// How often an upload is begun anew that the store has forgotten.
const FRESH: usize = 3;

/// Sends a file.
pub fn send(asker: &Asker, parcel: &Parcel, index: usize, sending: &Sending<'_>) -> Result<Taken> {
    let stop = || sending.watch.cancelled();
    if parcel.bytes <= PART {
        let body = read(&parcel.path, 0..parcel.bytes)?;
        let taken = asker.put(&parcel.name, &parcel.sha256, &body, !sending.replaces, &stop)?;
        sending.watch.advance(0, index, parcel.bytes, false);
        return Ok(taken);
    }
    for _ in 0..FRESH {
        let taken = in_parts(asker, parcel, index, sending)?;
        if taken != Taken::Forgotten {
            return Ok(taken);
        }
        discard(&parcel.name, sending.state);
    }
    Err(Error::new(Kind::Io, "the store forgets the parts of an object").file(&parcel.path))
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
    let had = known.as_ref().map(|(upload, _)| asker.parts(key, upload)).transpose()?.flatten();
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
    let Some(tags) = work.sent()? else { return Ok(Taken::Forgotten) };
    let taken = asker.end(key, &upload, &tags, !sending.replaces, &stop)?;
    if taken == Taken::Exists {
        asker.abort(key, &upload)?;
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
    /// Sends the parts that are not there; what the store calls all of them, or nothing, if it has forgotten the upload.
    fn sent(&self) -> Result<Option<Vec<String>>> {
        let count = self.parcel.bytes.div_ceil(self.part);
        let (tags, next, failed) = (Mutex::new(BTreeMap::new()), AtomicU64::new(0), AtomicBool::new(false));
        let first: Mutex<Option<Error>> = Mutex::default();
        let stop = || failed.load(Ordering::Relaxed) || self.sending.watch.cancelled();
        let work = || loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count || failed.load(Ordering::Relaxed) {
                return;
            }
            match self.one(at, &stop) {
                Ok(Some(tag)) => _ = tags.lock().unwrap_or_else(PoisonError::into_inner).insert(at, tag),
                other => {
                    failed.store(true, Ordering::Relaxed);
                    let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                    *first = first.take().or(other.err());
                    return;
                }
            }
        };
        let most = self.asker.bucket.client().access.connections.clamp(1, MOST_AT_ONCE);
        std::thread::scope(|scope| {
            (1..most).for_each(|_| _ = scope.spawn(work));
            work();
        });
        if let Some(e) = first.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(e);
        }
        let tags = tags.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((tags.len() as u64 == count).then(|| tags.into_values().collect()))
    }

    /// What the store calls one part, which is sent unless it is there.
    fn one(&self, at: u64, stop: Stop<'_>) -> Result<Option<String>> {
        let start = at * self.part;
        let bytes = start..(start + self.part).min(self.parcel.bytes);
        let body = read(&self.parcel.path, bytes)?;
        let sum: String = Md5::digest(&body).iter().map(|b| format!("{b:02x}")).collect();
        let length = body.len() as u64;
        if self.had.get(&(at + 1)).is_some_and(|part| part.bytes == length && part.tag == sum) {
            self.sending.watch.advance(0, self.index, length, false);
            return Ok(Some(sum));
        }
        let sent = self.asker.part(&self.parcel.name, self.upload, at + 1, &body, stop);
        let tag = sent.map_err(|e| e.or_hint("give the same command again to go on"))?;
        self.sending.watch.advance(0, self.index, length, false);
        Ok(tag)
    }
}

/// Bytes of a file.
fn read(path: &Path, bytes: Range<u64>) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| Error::io(&e, path);
    let length =
        usize::try_from(bytes.end - bytes.start).map_err(|_| Error::invalid("too long").file(path))?;
    let mut file = File::open(path).map_err(io)?;
    let mut out = vec![0; length];
    file.seek(SeekFrom::Start(bytes.start)).map_err(io)?;
    file.read_exact(&mut out).map_err(io)?;
    Ok(out)
}
