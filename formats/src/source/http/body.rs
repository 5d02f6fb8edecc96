//! Parts of an answer as they come: headers as text, bodies that must come fast enough.

use super::retry::Failure;
use crate::error::{Error, Kind, Result};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};
use ureq::http::HeaderMap;

/// What a body must have brought after its time of grace, bytes a second.
pub const LEAST_RATE: u64 = 1 << 10;
/// How much of a body without a length is read at a time.
const STEP: usize = 64 << 10;

/// A header as text.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// All that comes of a body, as long as it comes fast enough.
pub fn poured(mut reader: impl Read, grace: Duration, what: &Path) -> Result<Vec<u8>, Failure> {
    let (mut out, begun, mut step) = (Vec::new(), Instant::now(), vec![0; STEP]);
    loop {
        match reader.read(&mut step) {
            Ok(0) => return Ok(out),
            Ok(n) => out.extend_from_slice(&step[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => {
                let told = Error::new(Kind::Io, format!("the connection broke off: {e}"));
                return Err(Failure::again(told.file(what)));
            }
        }
        is_quick(begun, grace, out.len(), what)?;
    }
}

/// Refuses a body of which next to nothing has come in its time of grace.
pub fn is_quick(begun: Instant, grace: Duration, done: usize, what: &Path) -> Result<(), Failure> {
    let elapsed = begun.elapsed();
    if elapsed <= grace || done as u64 >= elapsed.as_secs().saturating_mul(LEAST_RATE) {
        return Ok(());
    }
    Err(Failure::again(Error::new(Kind::Io, "the server sends less than a kilobyte a second").file(what)))
}
