//! Trying again: what may pass (a cut line, a busy server, a limit of requests) is asked again, each time after twice
//! the pause; what will not is told at once.

use crate::error::{Error, Kind, Result};
use crate::source::{Stop, Traffic};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::{Duration, Instant};

/// Why a request failed.
pub enum Failure {
    /// It will not help to ask again.
    Over(Error),
    /// It may, after so long if the server said so. The bytes that came before it failed.
    Again { error: Error, after: Option<Duration>, bytes: u64 },
}

impl Failure {
    pub fn again(error: Error) -> Failure {
        Failure::Again { error, after: None, bytes: 0 }
    }

    /// The same where nothing is kept of the bytes that came: the next try begins where this one did.
    pub fn in_vain(self) -> Failure {
        match self {
            Failure::Again { error, after, .. } => Failure::Again { error, after, bytes: 0 },
            over => over,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Over(error)
    }
}

/// How often something is tried in vain.
#[derive(Clone, Copy)]
pub struct Tries(pub u32);

/// Pauses of 25 seconds in all: a server that starts anew is back.
pub const PATIENT: Tries = Tries(9);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest that a server may have us wait: the hub counts requests in windows of five minutes.
const LONGEST: Duration = Duration::from_secs(310);
/// A try that brought less than this has brought nothing.
const SOME: u64 = 64 << 10;
/// How often it is looked whether to stop, while waiting.
const LOOK: Duration = Duration::from_millis(50);

/// Tries `f` until it succeeds, fails for good, or has failed in vain as often as `tries` says.
pub fn patiently<T>(
    tries: Tries,
    traffic: &Traffic,
    stop: Stop<'_>,
    mut f: impl FnMut() -> Result<T, Failure>,
) -> Result<T> {
    let mut vain = 0;
    loop {
        match f() {
            Ok(done) => return Ok(done),
            Err(Failure::Over(e)) => return Err(e),
            Err(Failure::Again { error, after, bytes }) => {
                vain = if bytes >= SOME { 1 } else { vain + 1 };
                if vain >= tries.0 {
                    let told = format!("it was tried {vain} times; give the same command again to go on");
                    return Err(error.or_hint(told));
                }
                traffic.asked_again();
                wait(after.map_or_else(|| pause(vain), |after| after.min(LONGEST)), stop)?;
            }
        }
    }
}

/// Twice as long each time, and a little more or less, so that many who failed together do not come together.
fn pause(vain: u32) -> Duration {
    let base = FIRST_PAUSE.saturating_mul(1 << vain.saturating_sub(1).min(7));
    let random = RandomState::new().hash_one(vain) % 256;
    base.mul_f64(0.75 + random as f64 / 512.0)
}

fn wait(time: Duration, stop: Stop<'_>) -> Result<()> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        if stop() {
            return Err(Error::new(Kind::Interrupted, "the fetching was stopped"));
        }
        std::thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// What a request that had no answer means.
pub fn refused(e: &ureq::Error, what: &Path) -> Failure {
    use ureq::Error as E;
    let error = Error::new(Kind::Io, format!("the server cannot be read: {e}")).file(what);
    match e {
        E::HostNotFound => Failure::again(error.hint(
            "check the network and the address (HF_ENDPOINT), or give --download beforehand and HF_HUB_OFFLINE=1 here",
        )),
        E::Io(_) | E::Timeout(_) | E::ConnectionFailed | E::BodyStalled | E::Protocol(_) => Failure::again(error),
        E::LargeResponseHeader(..) => {
            Failure::Over(Error::invalid("the headers of the answer are too long").file(what))
        }
        E::Rustls(_) | E::Tls(_) => Failure::Over(error.hint(
            "the server's certificate is not trusted: SSL_CERT_FILE names the roots of a network of your own",
        )),
        _ => Failure::Over(error),
    }
}
