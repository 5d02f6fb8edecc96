//! What the hub is asked with a body: to make a model, a branch, to say how it keeps files. Its refusals in words that help.

use crate::error::{Error, Kind, Result};
use crate::source::Stop;
use crate::source::http::{Answer, Client, Failure, PATIENT, Send, encoded, patiently};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The longest answer that is read: of a large file it holds an address for each part.
const MOST: u64 = 64 << 20;
/// Files that the hub is asked about at a time.
const AT_A_TIME: usize = 256;
/// The longest that the hub may think.
const PATIENCE: Duration = Duration::from_secs(300);
/// Where tokens are made.
const TOKENS: &str = "https://huggingface.co/settings/tokens";

/// A hub, and the revision of a model that is written.
pub struct Api {
    pub client: Arc<Client>,
    pub endpoint: String,
    pub revision: String,
    /// As it is told to people.
    pub shown: PathBuf,
}

impl Api {
    /// Sends `body`; the answer with its status, where that is a success or among `also`.
    pub fn post(
        &self,
        url: &str,
        kind: &str,
        body: &[u8],
        also: &[u16],
        stop: Stop<'_>,
    ) -> Result<(u16, Vec<u8>)> {
        patiently(PATIENT, &self.client.access.traffic, stop, || self.once(url, kind, body, also, stop))
    }

    /// The same, tried once.
    pub fn once(
        &self,
        url: &str,
        kind: &str,
        body: &[u8],
        also: &[u16],
        stop: Stop<'_>,
    ) -> Result<(u16, Vec<u8>), Failure> {
        let accept = if kind.contains("git-lfs") { kind } else { "*/*" };
        let headers = [("Content-Type", kind), ("Accept", accept)];
        let again = || -> Result<Box<dyn Read + '_>> { Ok(Box::new(body)) };
        let what = &self.shown;
        let (put, length, patience) = (false, body.len() as u64, PATIENCE);
        let send = Send { url, put, headers: &headers, length, body: &again, patience, what, stop };
        let answer = self.client.send(&send)?;
        let status = answer.status();
        match status {
            200..=299 => answer.whole(MOST, what).map(|text| (status, text)),
            _ if also.contains(&status) => Ok((status, Vec::new())),
            _ => Err(refusal(&answer, what)),
        }
    }

    fn json(&self, url: &str, body: &Value, also: &[u16]) -> Result<(u16, Value)> {
        let watch = Arc::clone(&self.client.access.watch);
        let stop = move || watch.cancelled();
        let (status, text) = self.post(url, "application/json", body.to_string().as_bytes(), also, &stop)?;
        let value = if text.is_empty() { Value::Null } else { self.parsed(&text)? };
        Ok((status, value))
    }

    /// An answer in JSON.
    pub fn parsed(&self, text: &[u8]) -> Result<Value> {
        serde_json::from_slice(text).map_err(|e| self.lie(&format!("not valid JSON: {e}")))
    }

    /// The error for an answer that cannot be meant.
    pub fn lie(&self, what: &str) -> Error {
        Error::invalid(format!("the hub's answer about an upload is none: {what}")).file(&self.shown)
    }

    /// Makes a model; whether it is new.
    pub fn create(&self, id: &str, is_private: bool) -> Result<bool> {
        let (org, name) = id.split_once('/').unwrap_or(("", id));
        let mut body = json!({ "name": name, "organization": org, "type": "model" });
        if is_private {
            body["visibility"] = json!("private");
        }
        let (status, _) = self.json(&format!("{}/api/repos/create", self.endpoint), &body, &[409])?;
        Ok(status != 409)
    }

    /// Makes the branch of the revision.
    pub fn branch(&self, id: &str) -> Result<()> {
        let branch = encoded(&self.revision, false);
        let url = format!("{}/api/models/{id}/branch/{branch}", self.endpoint);
        self.json(&url, &json!({}), &[409]).map(|_| ())
    }

    /// Which of these files, told by name, bytes and first bytes, the hub keeps in its store; the others stand in the commit.
    pub fn kept(&self, id: &str, files: &[(&str, u64, &[u8])]) -> Result<BTreeSet<String>> {
        let revision = encoded(&self.revision, false);
        let url = format!("{}/api/models/{id}/preupload/{revision}", self.endpoint);
        let mut large = BTreeSet::new();
        for some in files.chunks(AT_A_TIME) {
            let file = |(path, size, sample): &(&str, u64, &[u8])| json!({ "path": path, "sample": STANDARD.encode(sample), "size": size });
            let body = json!({ "files": some.iter().map(file).collect::<Vec<_>>() });
            let (_, told) = self.json(&url, &body, &[])?;
            let told =
                told.get("files").and_then(Value::as_array).ok_or_else(|| self.lie("it lists no files"))?;
            let told: BTreeMap<&str, &Value> =
                told.iter().filter_map(|one| Some((one.get("path")?.as_str()?, one))).collect();
            for (name, size, _) in some {
                let one = told.get(name).ok_or_else(|| self.lie("a file is missing in it"))?;
                if one.get("shouldIgnore").and_then(Value::as_bool).unwrap_or(false) {
                    return Err(Error::new(
                        Kind::Failure,
                        "the .gitignore of the model leaves this file out",
                    )
                    .file(&self.shown.join(name))
                    .hint("change it there, or choose another name"));
                }
                match one.get("uploadMode").and_then(Value::as_str) {
                    // An empty file cannot lie in the store.
                    Some("lfs") if *size > 0 => _ = large.insert((*name).to_string()),
                    Some("lfs" | "regular") => {}
                    _ => return Err(self.lie("it does not say how a file is kept")),
                }
            }
        }
        Ok(large)
    }
}

/// Why the hub takes something not, for one who sends it to `what`.
pub fn refusal(answer: &Answer, what: &Path) -> Failure {
    let io = |told: &str| Error::new(Kind::Io, told).file(what).found(answer.found());
    match answer.status() {
        401 => Failure::Over(io("the hub does not know the token").hint(format!(
            "set HF_TOKEN to a token that may write ({TOKENS}), or log in with `hf auth login`"
        ))),
        403 => Failure::Over(io("the token may not write there").hint(format!(
            "take a token with the right to write ({TOKENS}), of one who may write to this organization"
        ))),
        404 | 410 => Failure::Over(io("there is no such model, or the token may not see it")),
        413 => Failure::Over(io("this is too large for the hub").hint("give --split-max-size")),
        408 | 409 | 412 | 429 | 500 | 502 | 503 | 504 => answer.busy(io(match answer.status() {
            409 | 412 => "somebody else writes there at the same time",
            429 => "the hub limits how often it is asked",
            _ => "the hub is not able to take it now",
        })),
        _ => Failure::Over(io("the hub does not take it")),
    }
}
