//! All files of a run in one commit: what is there already stays, large files go to the store first, and the commit names
//! them and brings the others. A run that was cut off goes on with what is missing.

use super::branch::Branch;
use super::object::{self, Large};
use crate::error::{Error, Kind, Result};
use crate::source::http::{Failure, Origin, PATIENT, encoded, patiently};
use crate::source::{Parcel, Sending};
use crate::write::Watch;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha1::{Digest, Sha1};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What the hub sees of a file before it says how it is kept.
const SAMPLE: u64 = 512;
/// The longest file that a commit brings itself.
const MOST_INLINE: u64 = 32 << 20;

/// Sends the files.
pub fn send(branch: &Branch, parcels: &[Parcel], sending: &Sending<'_>) -> Result<String> {
    branch.look()?;
    let missing = missing(branch, parcels, false)?;
    let watch = sending.watch;
    for (i, parcel) in parcels.iter().enumerate().filter(|(i, _)| !missing.contains(i)) {
        watch.advance(0, i, parcel.bytes, true);
    }
    if missing.is_empty() {
        return Ok(format!("the hub has it already: {}", page(branch, None)));
    }
    let samples = missing.iter().map(|i| sample(&parcels[*i].path)).collect::<Result<Vec<_>>>()?;
    let told: Vec<(&str, u64, &[u8])> = missing
        .iter()
        .zip(&samples)
        .map(|(i, sample)| (parcels[*i].name.as_str(), parcels[*i].bytes, sample.as_slice()))
        .collect();
    let large = branch.api.kept(&branch.id, &told)?;
    for i in missing.iter().filter(|i| large.contains(&parcels[**i].name)) {
        object::send(&Large { api: &branch.api, id: &branch.id, parcel: &parcels[*i], index: *i, sending })?;
    }
    if !large.is_empty() {
        // That took long; what somebody has put there meanwhile is not replaced.
        branch.look()?;
        self::missing(branch, parcels, false)?;
    }
    let body = body(parcels, &missing, &large, watch)?;
    let revision = encoded(&branch.api.revision, false);
    let url = format!("{}/api/models/{}/commit/{revision}", branch.api.endpoint, branch.id);
    let stop = || watch.cancelled();
    let traffic = &branch.api.client.access.traffic;
    let text = patiently(PATIENT, traffic, &stop, || {
        match branch.api.once(&url, "application/x-ndjson", &body, &[], &stop) {
            // The answer may have been lost, and the commit not.
            Err(Failure::Again { .. }) if is_there(branch, parcels) => Ok(None),
            sent => sent.map(|(_, text)| Some(text)),
        }
    })?;
    let told = text.map(|text| branch.api.parsed(&text)).transpose()?;
    let url = told.as_ref().and_then(|told| told.get("commitUrl")?.as_str());
    Ok(page(branch, url))
}

/// Whether the branch has all of it now.
fn is_there(branch: &Branch, parcels: &[Parcel]) -> bool {
    branch.look().and_then(|()| missing(branch, parcels, true)).is_ok_and(|missing| missing.is_empty())
}

/// Where the commit can be seen.
fn page(branch: &Branch, url: Option<&str>) -> String {
    let plain = |url: &&str| Origin::of(url).is_some();
    let own = || format!("{}/{}/tree/{}", branch.api.endpoint, branch.id, branch.api.revision);
    url.filter(plain).map_or_else(own, String::from)
}

/// The files that the hub has not, by their numbers; with `all` also those whose names are taken there.
fn missing(branch: &Branch, parcels: &[Parcel], all: bool) -> Result<BTreeSet<usize>> {
    let (mut missing, mut taken) = (BTreeSet::new(), Vec::new());
    let there = |parcel: &Parcel| {
        branch
            .with(|l| l.and_then(|l| l.files.get(&parcel.name).map(|_| l.hashes.get(&parcel.name).cloned())))
    };
    for (i, parcel) in parcels.iter().enumerate() {
        let Some(hash) = there(parcel) else {
            missing.insert(i);
            continue;
        };
        let is_same = match hash {
            Some(hash) if hash.len() == 64 => hash == parcel.sha256,
            Some(hash) => parcel.bytes <= MOST_INLINE && hash == git(parcel)?,
            None => false,
        };
        if !is_same {
            missing.insert(i);
        }
        if !is_same && !parcel.replaces && !all {
            taken.push(Error::new(Kind::Failure, "the output exists").file(&branch.shown(&parcel.name)));
        }
    }
    match Error::all(taken) {
        Some(e) => Err(e.or_hint("somebody has put it there meanwhile; give --force to replace it")),
        None => Ok(missing),
    }
}

/// What git calls the content of a file.
fn git(parcel: &Parcel) -> Result<String> {
    let bytes = std::fs::read(&parcel.path).map_err(|e| Error::io(&e, &parcel.path))?;
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(&bytes);
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// The lines of the commit.
fn body(
    parcels: &[Parcel],
    missing: &BTreeSet<usize>,
    large: &BTreeSet<String>,
    watch: &dyn Watch,
) -> Result<Vec<u8>> {
    let names: Vec<&str> = missing.iter().map(|i| parcels[*i].name.as_str()).collect();
    let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
    let summary = format!("Upload {}{more} with ggraft", names.first().copied().unwrap_or_default());
    let header = json!({ "key": "header", "value": { "summary": summary, "description": "" } });
    let mut lines = vec![header.to_string()];
    for i in missing {
        let parcel = &parcels[*i];
        if large.contains(&parcel.name) {
            let value =
                json!({ "path": parcel.name, "algo": "sha256", "oid": parcel.sha256, "size": parcel.bytes });
            lines.push(json!({ "key": "lfsFile", "value": value }).to_string());
            continue;
        }
        if parcel.bytes > MOST_INLINE {
            return Err(Error::unsupported("the hub wants so large a file within the commit")
                .file(&parcel.path)
                .found(format!("{} bytes", parcel.bytes)));
        }
        let content = std::fs::read(&parcel.path).map_err(|e| Error::io(&e, &parcel.path))?;
        let value = json!({ "path": parcel.name, "content": STANDARD.encode(content), "encoding": "base64" });
        lines.push(json!({ "key": "file", "value": value }).to_string());
        watch.advance(0, *i, parcel.bytes, true);
    }
    Ok((lines.join("\n") + "\n").into_bytes())
}

/// The first bytes of a file, by which the hub tells texts from others.
fn sample(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| Error::io(&e, path))?;
    file.take(SAMPLE).read_to_end(&mut bytes).map_err(|e| Error::io(&e, path))?;
    Ok(bytes)
}
