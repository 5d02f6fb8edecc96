//! What a server answered: its status in words that help, and its body, of which no more is taken than was asked for.

use super::body::{is_quick, poured, text};
use super::retry::Failure;
use super::stores;
use crate::error::{Error, Kind, Result};
use crate::source::Stored;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};
use ureq::Body;
use ureq::http::{HeaderMap, Response};

/// What may pass.
const BUSY: [u16; 6] = [408, 429, 500, 502, 503, 504];
/// The longest text of a server that is told.
const MOST_TOLD: usize = 200;

/// What the redirects tell of the file behind them.
#[derive(Clone, Debug, Default)]
pub struct Linked {
    pub tag: Option<String>,
    pub size: Option<u64>,
    pub commit: Option<String>,
}

impl Linked {
    pub fn add(&mut self, headers: &HeaderMap) {
        let tag = text(headers, "x-linked-etag").map(String::from);
        let size = text(headers, "x-linked-size").and_then(|size| size.parse().ok());
        let commit = text(headers, "x-repo-commit").map(String::from);
        (self.tag, self.size) = (self.tag.take().or(tag), self.size.or(size));
        self.commit = self.commit.take().or(commit);
    }

    pub fn is_whole(&self) -> bool {
        self.tag.is_some() && self.size.is_some()
    }
}

/// An answer at the end of all redirects.
pub struct Answer {
    pub response: Response<Body>,
    /// Where it came from.
    pub url: String,
    pub linked: Linked,
    /// How long its body may come slowly.
    pub grace: Duration,
    /// What a store says of its refusal.
    pub code: String,
}

/// What the hub calls the content of a file, without the marks around it, and its bytes.
pub fn tag(answer: &Answer) -> (Option<String>, Option<u64>) {
    let tag = answer.linked.tag.as_deref().or_else(|| answer.header("etag"));
    let bare = tag.map(|tag| tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').to_string());
    (bare, answer.linked.size.or_else(|| answer.length()))
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        text(self.response.headers(), name)
    }

    pub fn length(&self) -> Option<u64> {
        self.header("content-length").and_then(|n| n.parse().ok())
    }

    /// What the server calls this state of the file.
    pub fn tag(&self) -> Option<&str> {
        self.header("etag").or_else(|| self.header("last-modified"))
    }

    /// Refuses an encoding: then the bytes are not those of the file.
    pub fn is_plain(&self, what: &Path) -> Result<()> {
        match self.header("content-encoding") {
            None | Some("identity" | "") => Ok(()),
            Some(other) => Err(Error::unsupported(
                "the server sends the file encoded, though plain bytes were asked for",
            )
            .file(what)
            .found(other)),
        }
    }

    /// Fills `out` with the body, which must be exactly as long; the bytes that came, if it is cut.
    pub fn fill(mut self, out: &mut [u8], what: &Path) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut reader = self.response.body_mut().as_reader();
        let mut done = 0;
        while done < out.len() {
            let cut = |error, done: usize| Failure::Again { error, after: None, bytes: done as u64 };
            match reader.read(&mut out[done..]) {
                Ok(0) => return Err(cut(short(what, out.len(), done), done)),
                Ok(n) => done += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => {
                    let told = Error::new(Kind::Io, format!("the connection broke off: {e}")).file(what);
                    return Err(cut(told, done));
                }
            }
            is_quick(begun, self.grace, done, what)?;
        }
        // Only so is the connection known to be free for the next request.
        match reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Failure::Over(
                Error::new(Kind::Io, "the server sends more than was asked for").file(what),
            )),
            Err(_) => Ok(()),
        }
    }

    /// Fills `out` as `fill` does; nothing is kept of a body that is cut.
    pub fn fill_at_once(self, out: &mut [u8], what: &Path) -> Result<(), Failure> {
        self.fill(out, what).map_err(Failure::in_vain)
    }

    /// The whole body, which may not be longer than `most`; nothing is kept of one that is cut.
    pub fn whole(mut self, most: u64, what: &Path) -> Result<Vec<u8>, Failure> {
        let promised = self.length();
        let long = || {
            Failure::Over(
                Error::invalid("the file is too long").file(what).expected(format!("at most {most} bytes")),
            )
        };
        if promised.is_some_and(|n| n > most) {
            return Err(long());
        }
        if let Some(n) = promised.and_then(|n| usize::try_from(n).ok()) {
            let mut out = vec![0; n];
            return self.fill_at_once(&mut out, what).map(|()| out);
        }
        let grace = self.grace;
        let out = poured(self.response.body_mut().as_reader().take(most.saturating_add(1)), grace, what)?;
        if out.len() as u64 > most { Err(long()) } else { Ok(out) }
    }

    /// What a status that is no success means, for one who wants the file `what`; `known` is whether a token was given.
    pub fn failure(&self, what: &Path, known: bool) -> Failure {
        if let Some(place) = Stored::of_shown(what).filter(|_| !BUSY.contains(&self.status())) {
            return Failure::Over(stores::of_code(&place, self.status(), &self.code));
        }
        let status = self.status();
        let code = self.header("x-error-code").unwrap_or_default();
        let io = |what_is_wrong: &str| Error::new(Kind::Io, what_is_wrong).file(what).found(self.found());
        let page = crate::source::hub_id(what).map(|id| format!("https://huggingface.co/{id}"));
        let page = page.unwrap_or_else(|| String::from("the model's page"));
        let log_in = "set HF_TOKEN to a token that may read it (https://huggingface.co/settings/tokens)";
        match (status, code) {
            (401, "GatedRepo") => Failure::Over(
                io("access to this model is granted to persons")
                    .hint(format!("accept its terms at {page}, and {log_in}")),
            ),
            (403, "GatedRepo") => {
                Failure::Over(io("access to this model is not granted to the owner of the token").hint(
                    format!("ask for access at {page}, or set HF_TOKEN to the token of one who has it"),
                ))
            }
            (_, "RevisionNotFound") => Failure::Over(
                io("the model has no such revision").hint(format!("see the branches and tags at {page}")),
            ),
            (_, "EntryNotFound") => Failure::Over(
                io("the model has no such file").hint(format!("see its files at {page}/tree/main")),
            ),
            (401 | 403, _) if known => Failure::Over(
                io("there is no such model, or the token may not read it")
                    .hint("check the name; HF_TOKEN must be of one who may read it"),
            ),
            (401, _) => Failure::Over(
                io("there is no such model, or it is private")
                    .hint(format!("check the name; if it is private, {log_in}")),
            ),
            (403, _) => {
                Failure::Over(io("the server refuses to give it").hint("check the address and its signature"))
            }
            (404 | 410, _) => Failure::Over(
                io("there is no such file or model")
                    .hint("it is neither a path here nor a name there: check how it is written"),
            ),
            _ if BUSY.contains(&status) => self.busy(io(match status {
                429 => "the server limits how often it is asked",
                _ => "the server is not able to answer now",
            })),
            (416, _) => Failure::Over(io("the file is shorter than it was said to be")),
            _ => Failure::Over(io("the server does not give it")),
        }
    }

    /// The status, and what the server says of it.
    pub fn found(&self) -> String {
        let told: String =
            self.header("x-error-message").unwrap_or_default().chars().take(MOST_TOLD).collect();
        let status = self.status();
        if told.is_empty() { format!("status {status}") } else { format!("status {status}, '{told}'") }
    }

    /// A failure that passes, when the server says, if it does: `Retry-After`, or `t` of `RateLimit`.
    pub fn busy(&self, error: Error) -> Failure {
        let after = self.header("retry-after").and_then(|s| s.trim().parse().ok());
        let reset = |limits: &str| limits.split(';').find_map(|p| p.trim().strip_prefix("t=")?.parse().ok());
        let after = after.or_else(|| self.header("ratelimit").and_then(reset));
        let hint = "wait some minutes; with HF_TOKEN set the hub allows more";
        let error = if self.status() == 429 { error.hint(hint) } else { error };
        Failure::Again { error, after: after.map(Duration::from_secs), bytes: 0 }
    }
}

fn short(what: &Path, expected: usize, found: usize) -> Error {
    Error::new(Kind::Io, "the connection broke off")
        .file(what)
        .expected(format!("{expected} bytes"))
        .found(format!("{found} bytes"))
}
