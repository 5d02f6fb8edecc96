//! Results, on stdout, written in one place. A reader that has gone away has what it wanted (`| head`), so the program
//! ends quietly with exit code 0, like other tools do; work that writes files goes on, and then ends so. A device that
//! takes no more is an error.

use ggraft_formats::{Error, Kind, Result};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Prints `bytes`, the result of a verb that only reads.
///
/// # Errors
/// Nobody reads any more (`Kind::Closed`), or the system refuses the bytes.
pub(super) fn print(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    // Else the last line would be written at the end of the program, where nobody hears of a failure.
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| refused(&e))
}

/// Prints a line, the result of a verb that only reads.
pub(super) fn line(text: &str) -> Result<()> {
    print(format!("{text}\n").as_bytes())
}

/// Prints a line of a verb that has other work, which a missing reader does not stop.
pub(super) fn told(text: &str) -> Result<()> {
    match line(text) {
        Err(e) if e.kind() == Kind::Closed => Ok(()),
        result => result,
    }
}

/// The error for what was not taken.
pub(super) fn refused(e: &std::io::Error) -> Error {
    match e.kind() {
        ErrorKind::BrokenPipe => Error::new(Kind::Closed, "nobody reads what is printed"),
        _ => Error::io(e, Path::new("stdout")),
    }
}
