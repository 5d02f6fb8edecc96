//! The system's limit of open files: a split output may have more of them than a process may open by default (1024 on
//! most systems). Serves the writer.

use crate::error::Result;

/// Descriptors that the process needs beside those of the outputs.
#[cfg(unix)]
const OTHERS: u64 = 64;

/// Lets the process open `files` files at once.
///
/// # Errors
/// The system's administrator allows fewer.
#[cfg(unix)]
pub fn allow(files: usize) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = (files as u64).saturating_add(OTHERS);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|now| now >= needed) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), ..limit }).map_err(|_| {
        let most = limit.maximum.or(limit.current).unwrap_or(0);
        crate::error::Error::new(
            crate::error::Kind::Failure,
            "the output has more files than may be open at once",
        )
        .expected(format!("at most {}", most.saturating_sub(OTHERS)))
        .found(files)
        .hint("allow more bytes or tensors in a part, or raise the limit with `ulimit -Hn`")
    })
}

#[cfg(not(unix))]
pub fn allow(_files: usize) -> Result<()> {
    Ok(())
}
