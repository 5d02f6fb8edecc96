//! Places elsewhere that take finished files: what they hold already is asked for before the work, so that hours of it are
//! not done in vain; afterwards all files of a run are sent, and are seen there together.

use crate::error::Result;
use crate::write::Watch;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_128;

/// A finished file that is to be taken elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Its name there, with slashes.
    pub name: String,
    /// Where it lies here.
    pub path: PathBuf,
    pub bytes: u64,
    /// In small hexadecimal digits.
    pub sha256: String,
    /// Whether what has its name there may be replaced.
    pub replaces: bool,
    /// Of a file that goes on with a text there: the mark of that text when it was read, empty if there was none. If it is
    /// another one by now, the file is not sent.
    pub follows: Option<String>,
}

/// By what it is seen that a text is another one.
pub fn mark(text: &str) -> String {
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

/// What came of sending.
pub struct Sent {
    /// Where the files can be seen, in words.
    pub place: String,
    /// The names of those that were not sent, as others have changed there what they go on with.
    pub behind: Vec<String>,
}

/// How files are sent.
pub struct Sending<'a> {
    /// A folder of this machine for what a later run needs to go on.
    pub state: &'a Path,
    /// Is told of the bytes, as those of the tensors of one output.
    pub watch: &'a dyn Watch,
}

/// A place elsewhere that takes files. Names are relative to it.
pub trait Depot: Send + Sync {
    /// How a file there is told to people, by the name that it can be read by.
    fn shown(&self, name: &str) -> PathBuf;

    /// What the hub calls it, if it is a model of the hub.
    fn hub_id(&self) -> Option<&str> {
        None
    }

    /// Which of these files are there.
    fn held(&self, names: &[String]) -> Result<BTreeSet<String>>;

    /// The names of all files of a folder, which is empty or ends in a slash, as far as they are known.
    fn names(&self, folder: &str) -> Result<Vec<String>>;

    /// A short text that lies there; `None` if there is none.
    fn text(&self, name: &str) -> Result<Option<String>>;

    /// Sees, before the work, that files of these names and sizes will be taken, and makes what must be there first. What
    /// was made, in words.
    fn prepare(&self, files: &[(String, u64)]) -> Result<Vec<String>>;

    /// Sends the files. Those that are there already, with the same content, are not sent again.
    fn send(&self, parcels: &[Parcel], sending: &Sending<'_>) -> Result<Sent>;
}
