//! The one reader of a chat template that a user names: `merge --chat-template` and `meta set --chat-template`. What is
//! read is kept as it is, line ends too; a pipe is read as a file is.

use ggraft_formats::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A longer file is no chat template.
const LONGEST: u64 = 1 << 20;

/// The text of `path`.
///
/// # Errors
/// What cannot be read, is longer than a template may be, or is not UTF-8.
pub fn read(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| Error::io(&e, path))?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|e| Error::io(&e, path))?;
    if bytes.len() as u64 > LONGEST {
        return Err(Error::invalid("this is too long for a chat template")
            .file(path)
            .expected(format!("at most {LONGEST} bytes"))
            .found("more"));
    }
    String::from_utf8(bytes).map_err(|e| {
        Error::invalid("this is not UTF-8").file(path).offset(e.utf8_error().valid_up_to() as u64)
    })
}
