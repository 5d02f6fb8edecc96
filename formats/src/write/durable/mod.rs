//! One owner of every path that a run touches. What a path is taken for is looked at before any work (`claim`); what
//! grows has the ending `.partial` and a journal that proves whose it is (`partial`, `journal`); finished outputs take
//! their names without losing what had them (`publish`). A file that is not proven to be ours is never cut, replaced or
//! removed. Nothing here is deleted by `Drop`: what a failure leaves is for the next run, or is discarded in so many words.

mod claim;
mod edit;
mod files;
mod growing;
mod inner;
mod journal;
mod lock;
mod parted;
mod partial;
mod publish;
mod sink;
mod small;

pub(super) use claim::{growing_small, look};
pub(super) use edit::{clear_edit, edited, look_beside};
pub(super) use files::{read_all_at, write_all_at};
pub use growing::fingerprint;
pub(super) use growing::{Growing, nothing_grows};
pub(super) use journal::{Journal, told};
pub(super) use parted::{Parted, is_left, is_of_plan, is_prepared, is_there};
pub(super) use partial::{Partial, Planned};
pub(super) use publish::publish_file;
pub(super) use sink::Sink;
pub use small::write_whole;
pub(super) use small::{Small, is_done};

use crate::error::{Error, Kind};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The name of `target` while it grows.
pub(super) fn beside(target: &Path) -> PathBuf {
    with_ending(target, ".partial")
}

/// The name of its journal.
pub(super) fn journal_of(target: &Path) -> PathBuf {
    with_ending(target, ".partial.journal")
}

/// The first name that nothing has, for what is replaced and not yet gone.
fn aside(target: &Path) -> PathBuf {
    let names = (0u32..).map(|n| match n {
        0 => with_ending(target, ".replaced"),
        n => with_ending(target, &format!(".replaced.{n}")),
    });
    names.into_iter().find(|name| name.symlink_metadata().is_err()).unwrap_or_default()
}

fn with_ending(target: &Path, ending: &str) -> PathBuf {
    let mut name = target.file_name().map_or_else(OsString::new, |n| n.to_os_string());
    name.push(ending);
    target.with_file_name(name)
}

/// The folder in which `path` lies.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The refusal of a name that something has which is not ours.
fn in_the_way(path: &Path) -> Error {
    Error::new(Kind::Failure, "this is in the way, and no journal says that a run of ggraft has left it")
        .file(path)
        .hint("move it, or choose another output with -o")
}
