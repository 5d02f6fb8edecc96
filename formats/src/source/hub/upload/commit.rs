//! All files of a run in one commit: what is there already stays, large files go to the store first, and the commit names
//! them and brings the others. A run that was cut off goes on with what is missing.

use super::branch::Branch;
use super::object::{self, Large};
use crate::error::{Error, Kind, Result};
use crate::source::http::{Failure, Origin, PATIENT, encoded, patiently};
use crate::source::hub::cache::is_commit;
use crate::source::hub::repo::FIRST;
use crate::source::{Parcel, Sending, Sent, mark};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What the hub sees of a file before it says how it is kept.
const SAMPLE: u64 = 512;
/// The longest file that a commit brings itself.
const MOST_INLINE: u64 = 32 << 20;

/// What is to be done.
struct Rest {
    /// The files that the branch has not, by their numbers.
    missing: BTreeSet<usize>,
    /// Those that stay behind: what they go on with was changed there.
    behind: BTreeSet<usize>,
    /// The commit that this is true of.
    parent: Option<String>,
}

/// Sends the files.
pub fn send(branch: &Branch, parcels: &[Parcel], sending: &Sending<'_>) -> Result<Sent> {
    branch.look()?;
    let first = rest(branch, parcels)?;
    let watch = sending.watch;
    for (i, parcel) in parcels.iter().enumerate().filter(|(i, _)| !first.missing.contains(i)) {
        watch.advance(0, i, parcel.bytes, true);
    }
    let sent = |place, behind: &BTreeSet<usize>| Sent {
        place,
        behind: behind.iter().map(|i| parcels[*i].name.clone()).collect(),
    };
    let there = || format!("the hub has it already: {}", page(branch, None));
    if first.missing.is_empty() {
        return Ok(sent(there(), &first.behind));
    }
    let samples = first.missing.iter().map(|i| sample(&parcels[*i].path)).collect::<Result<Vec<_>>>()?;
    let told: Vec<(&str, u64, &[u8])> = first
        .missing
        .iter()
        .zip(&samples)
        .map(|(i, sample)| (parcels[*i].name.as_str(), parcels[*i].bytes, sample.as_slice()))
        .collect();
    let large = branch.api.kept(&branch.id, &told)?;
    for i in first.missing.iter().filter(|i| large.contains(&parcels[**i].name)) {
        object::send(&Large { api: &branch.api, id: &branch.id, parcel: &parcels[*i], index: *i, sending })?;
    }
    let (text, behind) = committed(branch, parcels, &first, &large, sending)?;
    for i in first.missing.iter().filter(|i| !large.contains(&parcels[**i].name)) {
        watch.advance(0, *i, parcels[*i].bytes, true);
    }
    let Some(text) = text else { return Ok(sent(page(branch, None), &behind)) };
    let told = branch.api.parsed(&text)?;
    let commit = told.get("commitOid").and_then(Value::as_str).filter(|commit| is_commit(commit));
    let is_done = told.get("success").and_then(Value::as_bool).unwrap_or(false);
    let commit = commit.filter(|_| is_done).ok_or_else(|| branch.api.lie("it tells of no commit"))?;
    arrived(branch, parcels, &behind, commit)?;
    Ok(sent(page(branch, told.get("commitUrl").and_then(Value::as_str)), &behind))
}

/// Makes the commit: of what is missing when it is made, on what was seen then. What the hub says, unless its answer was
/// lost and the commit not; and what stays behind.
fn committed(
    branch: &Branch,
    parcels: &[Parcel],
    first: &Rest,
    large: &BTreeSet<String>,
    sending: &Sending<'_>,
) -> Result<(Option<Vec<u8>>, BTreeSet<usize>)> {
    let revision = encoded(&branch.api.revision, false);
    let url = format!("{}/api/models/{}/commit/{revision}", branch.api.endpoint, branch.id);
    let stop = || sending.watch.cancelled();
    patiently(PATIENT, &branch.api.client.access.traffic, &stop, || {
        // The files took long to send, or somebody else came before us; what is there now is not replaced.
        branch.look()?;
        let now = rest(branch, parcels)?;
        if now.missing.is_empty() {
            return Ok((None, now.behind));
        }
        if !now.missing.is_subset(&first.missing) {
            let e = Error::new(Kind::Io, "files of the model went while others were sent");
            return Err(Failure::Over(
                e.file(&branch.api.shown).hint("give the same command again to go on"),
            ));
        }
        let body = body(parcels, &now, large)?;
        match branch.api.once(&url, "application/x-ndjson", &body, &[], &stop) {
            // The answer may have been lost, and the commit not.
            Err(Failure::Again { .. }) if is_there(branch, parcels, &now.behind) => Ok((None, now.behind)),
            sent => sent.map(|(_, text)| (Some(text), now.behind)),
        }
    })
}

/// Sees that a commit has all of it.
fn arrived(branch: &Branch, parcels: &[Parcel], behind: &BTreeSet<usize>, commit: &str) -> Result<()> {
    let access = &branch.api.client.access;
    patiently(FIRST, &access.traffic, &|| access.watch.cancelled(), || {
        branch.look_at(commit)?;
        match missing(branch, parcels)?.is_subset(behind) {
            true => Ok(()),
            false => Err(Failure::again(
                Error::new(Kind::Io, "the hub has made the commit, which does not hold what was sent")
                    .file(&branch.api.shown)
                    .found(commit),
            )),
        }
    })
}

/// Whether the branch has all of it now.
fn is_there(branch: &Branch, parcels: &[Parcel], behind: &BTreeSet<usize>) -> bool {
    branch.look().and_then(|()| missing(branch, parcels)).is_ok_and(|missing| missing.is_subset(behind))
}

/// Where the commit can be seen.
fn page(branch: &Branch, url: Option<&str>) -> String {
    let plain = |url: &&str| Origin::of(url).is_some();
    let own = || format!("{}/{}/tree/{}", branch.api.endpoint, branch.id, branch.api.revision);
    url.filter(plain).map_or_else(own, String::from)
}

/// What is to be done of the files, as the branch was seen last.
///
/// # Errors
/// Names are taken there that may not be replaced.
fn rest(branch: &Branch, parcels: &[Parcel]) -> Result<Rest> {
    let (mut missing, mut behind, mut taken) = (missing(branch, parcels)?, BTreeSet::new(), Vec::new());
    for i in &missing {
        let parcel = &parcels[*i];
        let is_taken = branch.with(|l| l.is_some_and(|l| l.files.contains_key(&parcel.name)));
        match &parcel.follows {
            _ if !is_taken => {}
            Some(earlier) => {
                let text = branch.text(&parcel.name)?;
                behind.extend((mark(&text.unwrap_or_default()) != *earlier).then_some(*i));
            }
            None if parcel.replaces => {}
            None => {
                taken.push(Error::new(Kind::Failure, "the output exists").file(&branch.shown(&parcel.name)))
            }
        }
    }
    missing.retain(|i| !behind.contains(i));
    let parent = branch.with(|l| l.map(|l| l.commit.clone()));
    match Error::all(taken) {
        Some(e) => Err(e.or_hint("somebody has put it there meanwhile; give --force to replace it")),
        None => Ok(Rest { missing, behind, parent }),
    }
}

/// The files that the branch has not, by their numbers, whatever else has their names.
fn missing(branch: &Branch, parcels: &[Parcel]) -> Result<BTreeSet<usize>> {
    let mut missing = BTreeSet::new();
    for (i, parcel) in parcels.iter().enumerate() {
        let hash = branch.with(|l| {
            l.filter(|l| l.files.contains_key(&parcel.name)).and_then(|l| l.hashes.get(&parcel.name).cloned())
        });
        let is_same = match hash {
            Some(hash) if hash.len() == 64 => hash == parcel.sha256,
            Some(hash) => parcel.bytes <= MOST_INLINE && hash == git(parcel)?,
            None => false,
        };
        if !is_same {
            missing.insert(i);
        }
    }
    Ok(missing)
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
fn body(parcels: &[Parcel], rest: &Rest, large: &BTreeSet<String>) -> Result<Vec<u8>> {
    let missing = &rest.missing;
    let names: Vec<&str> = missing.iter().map(|i| parcels[*i].name.as_str()).collect();
    let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
    let summary = format!("Upload {}{more} with ggraft", names.first().copied().unwrap_or_default());
    let mut header = json!({ "summary": summary, "description": "" });
    // If another commit came after it, the hub refuses ours.
    if let Some(parent) = rest.parent.as_deref().filter(|parent| is_commit(parent)) {
        header["parentCommit"] = json!(parent);
    }
    let header = json!({ "key": "header", "value": header });
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
