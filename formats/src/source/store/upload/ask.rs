//! The requests by which a store takes objects, each signed anew, and what it answers.

use crate::error::{Error, Kind, Result};
use crate::source::http::{Answer, Ask, Failure, PATIENT, Send, code_in, of_code, patiently};
use crate::source::store::bucket::Bucket;
use crate::source::{Stop, Stored};
use object_store::signer::Method;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where the SHA-256 of an object stands.
const HASH: &str = "x-amz-meta-sha256";
/// How long a store may think when it has all: it puts the parts together.
const PATIENCE: Duration = Duration::from_secs(300);
/// The longest answer of a list of parts, or of anything but an object.
const MOST_ANSWER: u64 = 8 << 20;

/// Asks a bucket.
pub struct Asker {
    pub bucket: Arc<Bucket>,
    /// Without a key.
    pub place: Stored,
}

/// What became of an object that was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Yes,
    /// There is one of this name.
    Exists,
    /// The store knows no such upload any more.
    Forgotten,
}

/// A part that the store has.
pub struct Part {
    pub tag: String,
    pub bytes: u64,
}

/// A request with a body, which is held.
struct Sent<'a> {
    method: Method,
    key: &'a str,
    query: &'a [(&'a str, &'a str)],
    /// Headers that are signed.
    signed: &'a [(&'static str, &'a str)],
    plain: &'a [(&'a str, &'a str)],
    body: &'a [u8],
    stop: Stop<'a>,
}

impl Asker {
    fn shown(&self, key: &str) -> PathBuf {
        self.place.with(key).shown()
    }

    fn asked<T>(
        &self,
        key: &str,
        range: Option<(u64, u64)>,
        query: &[(&str, &str)],
        f: impl Fn(Answer) -> Result<T, Failure>,
    ) -> Result<Option<T>> {
        let (shown, client) = (self.shown(key), self.bucket.client());
        patiently(PATIENT, &client.access.traffic, &|| false, || {
            let url = self.bucket.address_for(Method::GET, key, query, &[])?;
            let ask = Ask { url: &url, head: false, range, tag: None, what: &shown, stop: &|| false };
            let answer = client.ask(&ask)?;
            match answer.status() {
                200 | 206 => f(answer).map(Some),
                404 => Ok(None),
                // An empty object has no first byte.
                416 if range.is_some() => f(answer).map(Some),
                _ => Err(answer.failure(&shown, false)),
            }
        })
    }

    /// The SHA-256 that stands beside an object, empty if none does; nothing, if there is no object.
    pub fn hash(&self, key: &str) -> Result<Option<String>> {
        self.asked(key, Some((0, 0)), &[], |answer| Ok(answer.header(HASH).unwrap_or_default().to_string()))
    }

    /// An object.
    pub fn whole(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let shown = self.shown(key);
        self.asked(key, None, &[], |answer| answer.whole(most, &shown))
    }

    /// The parts that the store has of an upload, by their numbers; nothing, if it knows of none.
    pub fn parts(&self, key: &str, upload: &str) -> Result<Option<Vec<(u64, Part)>>> {
        let (mut all, mut after) = (Vec::new(), String::from("0"));
        let shown = self.shown(key);
        loop {
            let query = [("part-number-marker", after.as_str()), ("uploadId", upload)];
            let text = self.asked(key, None, &query, |answer| answer.whole(MOST_ANSWER, &shown))?;
            let Some(text) = text else { return Ok(None) };
            let text = String::from_utf8_lossy(&text).into_owned();
            all.extend(text.split("<Part>").skip(1).filter_map(part));
            let is_cut = between(&text, "IsTruncated") == Some("true");
            match between(&text, "NextPartNumberMarker").filter(|next| is_cut && *next != after) {
                Some(next) => after = next.to_string(),
                None => return Ok(Some(all)),
            }
        }
    }

    fn sent(&self, sent: &Sent<'_>) -> Result<(u16, Option<String>, String)> {
        let (shown, client) = (self.shown(sent.key), self.bucket.client());
        let mut headers: Vec<(&str, &str)> = sent.signed.to_vec();
        headers.extend(sent.plain);
        patiently(PATIENT, &client.access.traffic, sent.stop, || {
            let url = self.bucket.address_for(sent.method.clone(), sent.key, sent.query, sent.signed)?;
            let body = || Ok(Box::new(sent.body) as Box<dyn std::io::Read>);
            let send = Send {
                url: &url,
                put: sent.method == Method::PUT,
                headers: &headers,
                length: sent.body.len() as u64,
                body: &body,
                patience: PATIENCE,
                what: &shown,
                stop: sent.stop,
            };
            let answer = match sent.method == Method::DELETE {
                true => client.delete(&url, &shown)?,
                false => client.send(&send)?,
            };
            let status = answer.status();
            match status {
                200..=299 => {
                    let tag = answer.header("etag").map(String::from);
                    let text = answer.whole(MOST_ANSWER, &shown)?;
                    Ok((status, tag, String::from_utf8_lossy(&text).into_owned()))
                }
                // There is one of this name, or another is just being made; or there is no such upload.
                404 | 409 | 412 => Ok((status, None, answer.code.clone())),
                _ => Err(answer.failure(&shown, false)),
            }
        })
    }

    /// Begins an upload in parts; the name of it.
    pub fn begin(&self, key: &str, sha256: &str, stop: Stop<'_>) -> Result<String> {
        let sent = Sent {
            method: Method::POST,
            key,
            query: &[("uploads", "")],
            signed: &[(HASH, sha256)],
            plain: &[],
            body: &[],
            stop,
        };
        let sent = if sha256.is_empty() { Sent { signed: &[], ..sent } } else { sent };
        let (status, _, text) = self.sent(&sent)?;
        let id = between(&text, "UploadId").filter(|id| !id.is_empty() && id.len() <= 1024);
        id.map(String::from).ok_or_else(|| self.odd(key, status, &text))
    }

    /// Gives an upload up.
    pub fn abort(&self, key: &str, upload: &str) -> Result<()> {
        let query = [("uploadId", upload)];
        let sent = Sent {
            method: Method::DELETE,
            key,
            query: &query,
            signed: &[],
            plain: &[],
            body: &[],
            stop: &|| false,
        };
        self.sent(&sent).map(|_| ())
    }

    /// Sends one part; what the store calls it, or nothing, if it knows no such upload.
    pub fn part(
        &self,
        key: &str,
        upload: &str,
        no: u64,
        body: &[u8],
        stop: Stop<'_>,
    ) -> Result<Option<String>> {
        let no = no.to_string();
        let query = [("partNumber", no.as_str()), ("uploadId", upload)];
        let sent = Sent { method: Method::PUT, key, query: &query, signed: &[], plain: &[], body, stop };
        match self.sent(&sent)? {
            (404, ..) => Ok(None),
            (status @ 409.., ..) => Err(self.odd(key, status, "")),
            (status, tag, text) => tag.map(Some).ok_or_else(|| self.odd(key, status, &text)),
        }
    }

    /// Sends all of a small object.
    pub fn put(&self, key: &str, sha256: &str, body: &[u8], is_new: bool, stop: Stop<'_>) -> Result<Taken> {
        let signed = [(HASH, sha256)];
        let sent =
            Sent { method: Method::PUT, key, query: &[], signed: &signed, plain: only(is_new), body, stop };
        match self.sent(&sent)? {
            (409 | 412, ..) => Ok(Taken::Exists),
            (404, ..) => Err(self.odd(key, 404, "")),
            _ => Ok(Taken::Yes),
        }
    }

    /// Has the store put the parts together.
    pub fn end(
        &self,
        key: &str,
        upload: &str,
        tags: &[String],
        is_new: bool,
        stop: Stop<'_>,
    ) -> Result<Taken> {
        let mut body = String::from("<CompleteMultipartUpload>");
        for (at, tag) in tags.iter().enumerate() {
            let tag = tag.trim_matches('"');
            body +=
                &format!("<Part><PartNumber>{}</PartNumber><ETag>&quot;{tag}&quot;</ETag></Part>", at + 1);
        }
        body += "</CompleteMultipartUpload>";
        let query = [("uploadId", upload)];
        let sent = Sent {
            method: Method::POST,
            key,
            query: &query,
            signed: &[],
            plain: only(is_new),
            body: body.as_bytes(),
            stop,
        };
        match self.sent(&sent)? {
            (404, ..) => Ok(Taken::Forgotten),
            (409 | 412, ..) => Ok(Taken::Exists),
            // The store says 200 before it has done it.
            (status, _, text) => match code_in(&text).as_deref() {
                None => Ok(Taken::Yes),
                Some("PreconditionFailed" | "ConditionalRequestConflict") => Ok(Taken::Exists),
                Some("NoSuchUpload") => Ok(Taken::Forgotten),
                Some(_) => Err(self.odd(key, status, &text)),
            },
        }
    }

    /// The error of an answer that is none of those that were expected.
    fn odd(&self, key: &str, status: u16, text: &str) -> Error {
        match code_in(text) {
            Some(code) => of_code(&self.place.with(key), status, &code),
            None => Error::new(Kind::Io, "the store does not take the object as it should")
                .file(&self.shown(key))
                .found(format!("status {status}"))
                .hint("give the same command again to go on"),
        }
    }
}

/// What is asked of a store that must not replace anything.
fn only(is_new: bool) -> &'static [(&'static str, &'static str)] {
    if is_new { &[("If-None-Match", "*")] } else { &[] }
}

fn between<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = text.split_once(&format!("<{name}>"))?.1;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim())
}

fn part(text: &str) -> Option<(u64, Part)> {
    let no = between(text, "PartNumber")?.parse().ok()?;
    let tag = between(text, "ETag")?.replace("&quot;", "").replace("&#34;", "").replace('"', "");
    Some((no, Part { tag, bytes: between(text, "Size")?.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_from_the_list_of_a_store() {
        let text = "<PartNumber>2</PartNumber><ETag>&#34;ab&#34;</ETag><Size>5</Size></Part>";
        let (no, found) = part(text).unwrap();
        assert_eq!((no, found.tag.as_str(), found.bytes), (2, "ab", 5));
        assert!(part("<PartNumber>x</PartNumber>").is_none());
        assert_eq!(between("<UploadId> a/b+c= </UploadId>", "UploadId"), Some("a/b+c="));
    }
}
