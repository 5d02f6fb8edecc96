//! A file read by ranges. Its address is asked for where the redirects lead, once, and again when that one expires; one that
//! is signed expires too. Every answer must be of the range that was asked for, of the same length and of the same state, as
//! its tag tells.

use super::answer::Answer;
use super::body::text;
use super::retry::{Failure, PATIENT, Tries, patiently};
use super::{Ask, Client};
use crate::error::{Error, Kind, Result};
use crate::source::object::Known;
use crate::source::{Fetch, Object, Stop};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bytes that come with the first answer: most headers of weights are shorter.
pub const HEAD: u64 = 128 << 10;

/// An address of a file, which is made when it is needed.
pub trait Address: Send + Sync {
    fn url(&self) -> Result<String>;

    /// Whether it is good for a while only.
    fn expires(&self) -> bool;
}

/// One that stays good.
impl Address for String {
    fn url(&self) -> Result<String> {
        Ok(self.clone())
    }

    fn expires(&self) -> bool {
        false
    }
}

/// Where the file is, for now.
#[derive(Clone)]
struct Place {
    url: String,
    /// Whether it is good for a while only.
    expires: bool,
    tag: Option<String>,
}

struct Ranged {
    client: Arc<Client>,
    /// The address where one begins.
    start: Box<dyn Address>,
    path: PathBuf,
    length: u64,
    /// What the hub calls its content, if it is one of the hub's.
    linked: Option<String>,
    /// What the server that holds it calls this state.
    tag: Option<String>,
    place: Mutex<Option<Place>>,
    resolving: Mutex<()>,
}

/// Opens the file at `url`, which should be of `expected` bytes.
///
/// # Errors
/// It cannot be read, or not by ranges.
pub fn opened(
    client: &Arc<Client>,
    url: &str,
    path: &Path,
    expected: Option<u64>,
    tries: Tries,
) -> Result<Arc<Object>> {
    opened_at(client, Box::new(url.to_string()), path, expected, tries)
}

/// Opens a file at an address that may expire.
///
/// # Errors
/// Those of [`opened`]; there is no address.
pub fn opened_at(
    client: &Arc<Client>,
    start: Box<dyn Address>,
    path: &Path,
    expected: Option<u64>,
    tries: Tries,
) -> Result<Arc<Object>> {
    let traffic = Arc::clone(&client.access.traffic);
    let found = patiently(tries, &traffic, &|| false, || first(client, &*start, path, expected))?;
    let (place, length, linked, head) = found;
    let tag = linked.clone().or_else(|| place.tag.clone()).unwrap_or_default();
    let known = Known { path: path.to_path_buf(), length, tag, head };
    let origin = Ranged {
        client: Arc::clone(client),
        start,
        path: path.to_path_buf(),
        length,
        linked,
        tag: place.tag.clone(),
        place: Mutex::new(Some(place)),
        resolving: Mutex::default(),
    };
    Ok(Object::new(known, Box::new(origin), &client.access))
}

type First = (Place, u64, Option<String>, Vec<u8>);

/// The first bytes, and what is told with them.
fn first(client: &Client, start: &dyn Address, path: &Path, expected: Option<u64>) -> Result<First, Failure> {
    let url = start.url()?;
    let ask =
        Ask { url: &url, head: false, range: Some((0, HEAD - 1)), tag: None, what: path, stop: &|| false };
    let answer = client.ask(&ask)?;
    let (first, last, length) = range(&answer, path, client.knows(&url))?;
    let wrong = expected.or(answer.linked.size).filter(|expected| *expected != length);
    if let Some(expected) = wrong {
        let e = Error::new(Kind::Io, "the file is not as long as it was said to be").file(path);
        return Err(Failure::Over(e.expected(format!("{expected} bytes")).found(format!("{length} bytes"))));
    }
    if (first, last) != (0, HEAD.min(length).saturating_sub(1)) {
        return Err(Failure::Over(another(path, (0, HEAD - 1), (first, last))));
    }
    let place = Place::of(&answer, &url, start);
    let linked = answer.linked.tag.clone();
    let mut head = vec![0; usize::try_from(last + 1).unwrap_or(0)];
    answer.fill_at_once(&mut head, path)?;
    client.access.traffic.came(head.len() as u64);
    Ok((place, length, linked, head))
}

/// The first and the last byte of an answer, and the length of the file.
fn range(answer: &Answer, path: &Path, known: bool) -> Result<(u64, u64, u64), Failure> {
    match answer.status() {
        206 => answer.is_plain(path)?,
        200 => {
            let e = Error::unsupported("the server does not give parts of files").file(path);
            return Err(Failure::Over(e.hint("download the file first")));
        }
        _ => return Err(answer.failure(path, known)),
    }
    let told = text(answer.response.headers(), "content-range").unwrap_or_default();
    let parts = told.strip_prefix("bytes ").and_then(|told| told.split_once('/'));
    let parts = parts.and_then(|(bytes, length)| Some((bytes.split_once('-')?, length)));
    let parsed = parts.and_then(|((first, last), length)| {
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?, length.trim().parse().ok()?))
    });
    match parsed {
        Some((first, last, length)) if first <= last && last < length => {
            let bytes: u64 = last - first + 1;
            match answer.length().is_none_or(|n| n == bytes) {
                true => Ok((first, last, length)),
                false => Err(Failure::Over(another(path, (first, last), answer.length().unwrap_or(0)))),
            }
        }
        _ => Err(Failure::Over(
            Error::new(Kind::Io, "the server does not say which part of the file it sends")
                .file(path)
                .found(format!("'{told}'")),
        )),
    }
}

fn another(path: &Path, asked: (u64, u64), found: impl std::fmt::Debug) -> Error {
    Error::new(Kind::Io, "the server sends another part of the file than was asked for")
        .file(path)
        .expected(format!("bytes {} to {}", asked.0, asked.1))
        .found(format!("{found:?}"))
}

impl Place {
    /// Where an answer came from, which was asked for at `url`.
    fn of(answer: &Answer, url: &str, start: &dyn Address) -> Place {
        let expires = answer.url != url || start.expires();
        Place { url: answer.url.clone(), expires, tag: answer.tag().map(String::from) }
    }
}

impl Ranged {
    fn changed(&self, expected: &str, found: &str) -> Error {
        Error::new(Kind::Changed, "the file changed while it was read")
            .file(&self.path)
            .expected(expected)
            .found(found)
            .hint("wait until nothing writes to it, and start again")
    }

    /// An address that expired before it was asked: the next one may not.
    fn late(&self) -> Failure {
        let error = Error::new(Kind::Io, "the address of the file has expired").file(&self.path);
        Failure::Again { error, after: Some(Duration::ZERO), bytes: 0 }
    }

    /// Where the file is: as it is known, or found anew by one thread while others wait.
    fn place(&self, stop: Stop<'_>) -> Result<Place, Failure> {
        let known = || self.place.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(place) = known() {
            return Ok(place);
        }
        let _turn = self.resolving.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = known() {
            return Ok(place);
        }
        let place = self.resolve(stop)?;
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place.clone());
        Ok(place)
    }

    fn resolve(&self, stop: Stop<'_>) -> Result<Place, Failure> {
        let start = self.start.url()?;
        let ask = Ask { url: &start, head: false, range: Some((0, 0)), tag: None, what: &self.path, stop };
        let answer = self.client.ask(&ask)?;
        if matches!(answer.status(), 404 | 410) {
            return Err(Failure::Over(self.changed("the file", "that it is gone")));
        }
        if matches!(answer.status(), 401 | 403) && answer.url != start {
            return Err(self.late());
        }
        let (_, _, length) = range(&answer, &self.path, self.client.knows(&start))?;
        if length != self.length {
            let bytes = |n: u64| format!("{n} bytes");
            return Err(Failure::Over(self.changed(&bytes(self.length), &bytes(length))));
        }
        let place = Place::of(&answer, &start, &*self.start);
        let none = |tag: Option<&String>| tag.cloned().unwrap_or_else(|| String::from("none"));
        // The tag of the hub, and that of the server which holds the file.
        for (expected, found) in [(&self.linked, &answer.linked.tag), (&self.tag, &place.tag)] {
            if expected != found {
                return Err(Failure::Over(self.changed(&none(expected.as_ref()), &none(found.as_ref()))));
            }
        }
        answer.fill(&mut [0], &self.path)?;
        Ok(place)
    }

    /// Forgets a place that expired, unless another thread has found a new one.
    fn expired(&self, place: &Place) {
        let mut now = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if now.as_ref().is_some_and(|now| now.url == place.url) {
            *now = None;
        }
    }

    /// Fetches once; the bytes that came count also where the rest did not.
    fn once(&self, start: u64, out: &mut [u8], stop: Stop<'_>) -> Result<(), Failure> {
        let place = self.place(stop)?;
        let asked = (start, start + out.len() as u64 - 1);
        let ask = Ask {
            url: &place.url,
            head: false,
            range: Some(asked),
            tag: place.tag.as_deref(),
            what: &self.path,
            stop,
        };
        let answer = self.client.ask(&ask)?;
        match answer.status() {
            // Amazon says 400 of a token that has expired.
            400 if self.start.expires() => {
                self.expired(&place);
                return Err(self.late());
            }
            401 | 403 | 404 | 410 if place.expires => {
                self.expired(&place);
                return Err(self.late());
            }
            412 => {
                return Err(Failure::Over(
                    self.changed(place.tag.as_deref().unwrap_or("none"), "another one"),
                ));
            }
            _ => {}
        }
        let (first, last, length) = range(&answer, &self.path, self.client.knows(&place.url))?;
        if length != self.length {
            return Err(Failure::Over(
                self.changed(&format!("{} bytes", self.length), &format!("{length} bytes")),
            ));
        }
        if answer.tag() != place.tag.as_deref() {
            let tag = |tag: Option<&str>| tag.unwrap_or("none").to_string();
            return Err(Failure::Over(self.changed(&tag(place.tag.as_deref()), &tag(answer.tag()))));
        }
        if (first, last) != asked {
            return Err(Failure::Over(another(&self.path, asked, (first, last))));
        }
        answer.fill(out, &self.path)
    }
}

impl Fetch for Ranged {
    fn fetch(&self, start: u64, out: &mut [u8], stop: Stop<'_>) -> Result<()> {
        let mut done = 0;
        if out.is_empty() {
            return Ok(());
        }
        let traffic = &self.client.access.traffic;
        patiently(PATIENT, traffic, stop, || {
            let tried = self.once(start + done as u64, &mut out[done..], stop);
            if let Err(Failure::Again { bytes, .. }) = &tried {
                traffic.came(*bytes);
                done += usize::try_from(*bytes).unwrap_or(0);
            }
            tried
        })?;
        traffic.came((out.len() - done) as u64);
        Ok(())
    }
}
