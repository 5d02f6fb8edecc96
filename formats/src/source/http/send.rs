//! Requests that change something: POST and PUT with a body, DELETE without, by the same agent under the same rules for
//! redirects and for the token. A body is made anew for every try.

use super::answer::Answer;
use super::body::LEAST_RATE;
use super::retry::{self, Failure};
use super::{Client, MOST_REDIRECTS, joined};
use crate::error::{Error, Kind, Result};
use crate::source::Stop;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use ureq::SendBody;

/// Bodies from this size on are announced, so that one who refuses them can say so first.
const ANNOUNCED: u64 = 1 << 20;

/// What is sent.
pub struct Send<'a> {
    pub url: &'a str,
    /// PUT, else POST.
    pub put: bool,
    pub headers: &'a [(&'a str, &'a str)],
    pub length: u64,
    /// The body from its beginning.
    pub body: &'a dyn Fn() -> Result<Box<dyn Read + 'a>>,
    /// How long the answer may take once all is sent.
    pub patience: Duration,
    /// What is told to people.
    pub what: &'a Path,
    pub stop: Stop<'a>,
}

/// Bytes of a file as a body; `tell` is told how many have gone.
pub fn piece<'a>(
    path: &Path,
    range: Range<u64>,
    tell: &'a dyn Fn(u64),
    stop: Stop<'a>,
) -> Result<Box<dyn Read + 'a>> {
    let mut file = File::open(path).map_err(|e| Error::io(&e, path))?;
    file.seek(SeekFrom::Start(range.start)).map_err(|e| Error::io(&e, path))?;
    Ok(Box::new(Piece { file: file.take(range.end - range.start), at: 0, tell, stop }))
}

struct Piece<'a> {
    file: std::io::Take<File>,
    at: u64,
    tell: &'a dyn Fn(u64),
    stop: Stop<'a>,
}

impl Read for Piece<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if (self.stop)() {
            return Err(std::io::Error::other("the sending was stopped"));
        }
        let n = self.file.read(out)?;
        self.at += n as u64;
        (self.tell)(self.at);
        Ok(n)
    }
}

impl Client {
    /// Sends once, and follows where it is sent to with the same body.
    pub fn send(&self, send: &Send<'_>) -> Result<Answer, Failure> {
        let mut url = send.url.to_string();
        for _ in 0..=MOST_REDIRECTS {
            let stopped = || {
                let e = Error::new(Kind::Interrupted, "the sending was stopped").file(send.what);
                e.hint("give the same command again to go on")
            };
            if (send.stop)() {
                return Err(Failure::Over(stopped()));
            }
            let response = match self.sent(&url, send) {
                Err(_) if (send.stop)() => return Err(Failure::Over(stopped())),
                sent => sent?,
            };
            if !matches!(response.status().as_u16(), 307 | 308) {
                return Ok(self.answered(response, url, send.what));
            }
            let to = response.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or_default();
            url = joined(&url, to).ok_or_else(|| {
                let e = Error::invalid("the server sends us to a place that nothing is sent to");
                Failure::Over(
                    e.file(send.what).expected("an address of https:// or http://, as safe as the first one"),
                )
            })?;
        }
        Err(Failure::Over(Error::invalid("the server sends us in circles").file(send.what)))
    }

    /// Deletes what is at an address of a store.
    #[cfg(feature = "stores")]
    pub fn delete(&self, url: &str, what: &Path) -> Result<Answer, Failure> {
        self.access.traffic.asked();
        let response = self.agent.delete(url).call().map_err(|e| retry::refused(&e, what))?;
        Ok(self.answered(response, url.to_string(), what))
    }

    fn sent(&self, url: &str, send: &Send<'_>) -> Result<ureq::http::Response<ureq::Body>, Failure> {
        self.access.traffic.asked();
        let request = if send.put { self.agent.put(url) } else { self.agent.post(url) };
        let mut request = request.header("Content-Length", send.length.to_string());
        if send.length >= ANNOUNCED {
            request = request.header("Expect", "100-continue");
        }
        for (name, value) in self.shown_to(url)? {
            request = request.header(name, value);
        }
        for (name, value) in send.headers {
            request = request.header(*name, *value);
        }
        let whole = 2 * self.silence + Duration::from_secs(send.length / LEAST_RATE);
        let request = request
            .config()
            .timeout_recv_response(Some(send.patience.max(self.silence)))
            .timeout_send_body(Some(whole))
            .timeout_per_write(Some(self.silence))
            .build();
        let mut body = (send.body)()?;
        request.send(SendBody::from_reader(&mut *body)).map_err(|e| retry::refused(&e, send.what))
    }
}
