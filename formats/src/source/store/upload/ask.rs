//! The requests by which a store takes objects, each signed anew, and what it answers.

use super::sums::{base64, sum_of};
use crate::error::{Error, Kind, Result};
use crate::source::http::{Answer, Ask, Failure, PATIENT, Send, code_in, of_writing, patiently};
use crate::source::store::bucket::Bucket;
use crate::source::{Parcel, Stop, Stored};
use object_store::signer::Method;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where the SHA-256 of an object stands.
const HASH: &str = "x-amz-meta-sha256";
/// How long a store may think when it has all: it puts the parts together.
const PATIENCE: Duration = Duration::from_secs(300);
/// The longest answer of a list of parts, or of anything but an object.
const MOST_ANSWER: u64 = 8 << 20;
/// The most parts of an object.
pub const MOST_PARTS: u64 = 10_000;
/// What passes though the store has begun to say yes, or has found the line at fault.
const PASSING: [&str; 7] = [
    "InternalError",
    "SlowDown",
    "ServiceUnavailable",
    "RequestTimeout",
    "OperationAborted",
    "BadDigest",
    "IncompleteBody",
];

/// Asks a bucket.
pub struct Asker {
    pub bucket: Arc<Bucket>,
    /// Without a key.
    pub place: Stored,
}

/// What became of an object that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Yes,
    /// There is one of this name.
    Exists,
    /// The store knows no such upload any more.
    Forgotten,
}

/// An object that is there.
pub struct There {
    /// What stands beside it; empty if nothing does.
    sha256: String,
    bytes: Option<u64>,
}

impl There {
    /// Whether it is this file.
    pub fn is(&self, parcel: &Parcel) -> bool {
        self.sha256 == parcel.sha256 && self.bytes == Some(parcel.bytes)
    }
}

/// A part that the store has.
pub struct Part {
    pub tag: String,
    pub bytes: u64,
}

/// What is sent: read anew for every try.
pub struct Body<'a> {
    pub length: u64,
    /// Its MD5 in Base64.
    pub sum: &'a str,
    pub open: &'a dyn Fn() -> Result<Box<dyn Read + 'a>>,
}

/// A request that changes something.
struct Sent<'a, 'b> {
    method: Method,
    key: &'a str,
    query: &'a [(&'a str, &'a str)],
    /// Headers that are signed.
    signed: &'a [(&'static str, &'a str)],
    body: Option<&'a Body<'b>>,
    /// Whether nothing may be replaced.
    is_new: bool,
    stop: Stop<'a>,
}

/// What the store says to it.
struct Said {
    status: u16,
    /// What it calls what was sent.
    tag: Option<String>,
    text: String,
    /// Of a refusal, or of one that stands in a success.
    code: String,
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
        stop: Stop<'_>,
        f: impl Fn(Answer) -> Result<T, Failure>,
    ) -> Result<Option<T>> {
        let (shown, client) = (self.shown(key), self.bucket.client());
        patiently(PATIENT, &client.access.traffic, stop, || {
            let url = self.bucket.address_for(Method::GET, key, query, &[])?;
            let ask = Ask { url: &url, head: false, range, tag: None, what: &shown, stop };
            let answer = client.ask(&ask)?;
            match answer.status() {
                200 | 206 => f(answer).map(Some),
                404 if answer.code != "NoSuchBucket" => Ok(None),
                // An empty object has no first byte.
                416 if range.is_some() => f(answer).map(Some),
                _ => Err(answer.failure(&shown, false)),
            }
        })
    }

    /// What is there under this key.
    pub fn there(&self, key: &str, stop: Stop<'_>) -> Result<Option<There>> {
        self.asked(key, Some((0, 0)), &[], stop, |answer| {
            let whole =
                answer.header("content-range").and_then(|range| range.rsplit_once('/')?.1.parse().ok());
            let bytes = whole.or_else(|| answer.length().filter(|_| answer.status() == 200));
            Ok(There { sha256: answer.header(HASH).unwrap_or_default().to_string(), bytes })
        })
    }

    /// An object.
    pub fn whole(&self, key: &str, most: u64, stop: Stop<'_>) -> Result<Option<Vec<u8>>> {
        let shown = self.shown(key);
        self.asked(key, None, &[], stop, |answer| answer.whole(most, &shown))
    }

    /// The parts that the store has of an upload, by their numbers; nothing, if it knows of none.
    pub fn parts(&self, key: &str, upload: &str, stop: Stop<'_>) -> Result<Option<Vec<(u64, Part)>>> {
        let (mut all, mut after) = (Vec::new(), 0_u64);
        let shown = self.shown(key);
        loop {
            let marker = after.to_string();
            let query = [("part-number-marker", marker.as_str()), ("uploadId", upload)];
            let text = self.asked(key, None, &query, stop, |answer| answer.whole(MOST_ANSWER, &shown))?;
            let Some(text) = text else { return Ok(None) };
            let text = String::from_utf8_lossy(&text).into_owned();
            all.extend(text.split("<Part>").skip(1).filter_map(part));
            if between(&text, "IsTruncated") != Some("true") {
                return Ok(Some(all));
            }
            // What does not go on is no list; what it tells is of use all the same.
            let next: Option<u64> = between(&text, "NextPartNumberMarker").and_then(|next| next.parse().ok());
            match next.filter(|next| *next > after && *next < MOST_PARTS) {
                Some(next) => after = next,
                None => return Ok(Some(all)),
            }
        }
    }

    fn sent(&self, sent: &Sent<'_, '_>) -> Result<Said> {
        let traffic = &self.bucket.client().access.traffic;
        patiently(PATIENT, traffic, sent.stop, || self.once(sent))
    }

    /// Sends once. What may say something of the object, or of the upload, is no failure.
    fn once(&self, sent: &Sent<'_, '_>) -> Result<Said, Failure> {
        let (shown, client) = (self.shown(sent.key), self.bucket.client());
        let url = self.bucket.address_for(sent.method.clone(), sent.key, sent.query, sent.signed)?;
        let mut headers: Vec<(&str, &str)> = sent.signed.to_vec();
        headers.extend(sent.body.map(|body| ("Content-MD5", body.sum)));
        headers.extend(sent.is_new.then_some(("If-None-Match", "*")));
        let body = || -> Result<Box<dyn Read + '_>> {
            match sent.body {
                Some(body) => (body.open)(),
                None => Ok(Box::new(std::io::empty())),
            }
        };
        let send = Send {
            url: &url,
            put: sent.method == Method::PUT,
            headers: &headers,
            length: sent.body.map_or(0, |body| body.length),
            body: &body,
            patience: PATIENCE,
            what: &shown,
            stop: sent.stop,
        };
        let answer = match sent.method == Method::DELETE {
            true => client.delete(&url, &shown)?,
            false => client.send(&send)?,
        };
        let (status, code) = (answer.status(), answer.code.clone());
        match status {
            200..=299 => {
                let tag = answer.header("etag").map(String::from);
                let text = String::from_utf8_lossy(&answer.whole(MOST_ANSWER, &shown)?).into_owned();
                let code = code_in(&text).unwrap_or_default();
                Ok(Said { status, tag, text, code })
            }
            404 | 409 | 412 => Ok(Said { status, tag: None, text: String::new(), code }),
            400 if PASSING.contains(&code.as_str()) => {
                Err(answer.busy(self.refused(sent.key, status, &code)))
            }
            408 | 429 | 500 | 502 | 503 | 504 => Err(answer.failure(&shown, false)),
            _ => Err(Failure::Over(self.refused(sent.key, status, &code))),
        }
    }

    /// The error of an answer to what was sent.
    fn refused(&self, key: &str, status: u16, code: &str) -> Error {
        of_writing(&self.place.with(key), status, code)
    }

    fn odd(&self, key: &str, said: &Said) -> Error {
        self.refused(key, said.status, &said.code)
    }

    /// Begins an upload in parts; the name of it.
    pub fn begin(&self, key: &str, sha256: &str, stop: Stop<'_>) -> Result<String> {
        let all = [(HASH, sha256)];
        let signed = if sha256.is_empty() { &[][..] } else { &all[..] };
        let query = [("uploads", "")];
        let sent = Sent { method: Method::POST, key, query: &query, signed, body: None, is_new: false, stop };
        let said = self.sent(&sent)?;
        if said.status >= 300 {
            return Err(self.odd(key, &said));
        }
        let id = between(&said.text, "UploadId").filter(|id| !id.is_empty() && id.len() <= 1024);
        id.map(String::from).ok_or_else(|| self.odd(key, &said))
    }

    /// Gives an upload up.
    pub fn abort(&self, key: &str, upload: &str, stop: Stop<'_>) -> Result<()> {
        let query = [("uploadId", upload)];
        let method = Method::DELETE;
        let sent = Sent { method, key, query: &query, signed: &[], body: None, is_new: false, stop };
        self.sent(&sent).map(|_| ())
    }

    /// Sends one part; what the store calls it, or nothing, if it knows no such upload.
    pub fn part(
        &self,
        key: &str,
        upload: &str,
        no: u64,
        body: &Body<'_>,
        stop: Stop<'_>,
    ) -> Result<Option<String>> {
        let no = no.to_string();
        let query = [("partNumber", no.as_str()), ("uploadId", upload)];
        let (method, body) = (Method::PUT, Some(body));
        let said = self.sent(&Sent { method, key, query: &query, signed: &[], body, is_new: false, stop })?;
        match said.status {
            404 if said.code != "NoSuchBucket" => Ok(None),
            200..=299 if said.tag.is_some() => Ok(said.tag),
            _ => Err(self.odd(key, &said)),
        }
    }

    /// Sends all of a small object.
    pub fn put(&self, parcel: &Parcel, body: &Body<'_>, stop: Stop<'_>) -> Result<Taken> {
        let (key, is_new) = (parcel.name.as_str(), !parcel.replaces);
        let signed = [(HASH, parcel.sha256.as_str())];
        let (method, body) = (Method::PUT, Some(body));
        let sent = Sent { method, key, query: &[], signed: &signed, body, is_new, stop };
        patiently(PATIENT, &self.bucket.client().access.traffic, stop, || {
            let said = self.once(&sent)?;
            match said.status {
                200..=299 => Ok(Taken::Yes),
                412 if is_new => Ok(Taken::Exists),
                // Another one is just being made; whether it is, is seen by the next try.
                409 => Err(Failure::again(self.odd(key, &said))),
                _ => Err(Failure::Over(self.odd(key, &said))),
            }
        })
    }

    /// Has the store put the parts together.
    pub fn end(&self, parcel: &Parcel, upload: &str, tags: &[String], stop: Stop<'_>) -> Result<Taken> {
        let mut list = String::from("<CompleteMultipartUpload>");
        for (at, tag) in tags.iter().enumerate() {
            let tag = tag.trim_matches('"');
            list +=
                &format!("<Part><PartNumber>{}</PartNumber><ETag>&quot;{tag}&quot;</ETag></Part>", at + 1);
        }
        list += "</CompleteMultipartUpload>";
        let open = || -> Result<Box<dyn Read + '_>> { Ok(Box::new(list.as_bytes())) };
        let sum = sum_of(&mut list.as_bytes()).map(|sum| base64(&sum));
        let sum = sum.map_err(|e| Error::io(&e, &parcel.path))?;
        let body = Body { length: list.len() as u64, sum: &sum, open: &open };
        let (key, is_new) = (parcel.name.as_str(), !parcel.replaces);
        let (method, query, body) = (Method::POST, [("uploadId", upload)], Some(&body));
        let sent = Sent { method, key, query: &query, signed: &[], body, is_new, stop };
        patiently(PATIENT, &self.bucket.client().access.traffic, stop, || {
            let said = self.once(&sent)?;
            // The store says 200 before it has done it.
            let is_told = said.text.contains("<CompleteMultipartUploadResult") && said.code.is_empty();
            match (said.status, said.code.as_str()) {
                (200..=299, "") if is_told => Ok(Taken::Yes),
                (412, _) | (_, "PreconditionFailed") if is_new => Ok(Taken::Exists),
                // After a conflict the upload is of no use.
                (409, _) | (_, "ConditionalRequestConflict") if is_new => Ok(Taken::Forgotten),
                (404, "NoSuchBucket") => Err(Failure::Over(self.odd(key, &said))),
                (404, _) | (_, "NoSuchUpload") => Ok(Taken::Forgotten),
                (200..=299, "") | (409, _) => Err(Failure::again(self.odd(key, &said))),
                (_, code) if PASSING.contains(&code) => Err(Failure::again(self.odd(key, &said))),
                _ => Err(Failure::Over(self.odd(key, &said))),
            }
        })
    }

    /// The error of an object that is not there as it was sent.
    pub fn lost(&self, key: &str) -> Error {
        Error::new(Kind::Io, "the store said that it has the object, and has another or none")
            .file(&self.shown(key))
            .hint("give the same command again to go on")
    }
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
