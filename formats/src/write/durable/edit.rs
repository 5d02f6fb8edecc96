//! What an edit of a file leaves when it is killed: a copy that grows, which another edit begins anew, or a journal beside
//! the finished file.

use super::files::{id_of, name_in, remove_empty};
use super::journal::{Journal, Told, Work};
use super::lock::busy;
use super::{beside, folder, in_the_way, journal_of};
use crate::error::Result;
use std::path::Path;

/// Refuses what lies where the copy would grow and is not proven to be ours.
pub fn look_beside(target: &Path) -> Result<()> {
    let (growing, journal) = (beside(target), journal_of(target));
    let told = Told::read(&journal)?.unwrap_or_default();
    let Ok(meta) = growing.symlink_metadata() else { return Ok(()) };
    let known = told.files.get(&name_in(folder(&journal), &growing));
    if meta.is_file() && (meta.len() == 0 || id_of(&growing).as_ref() == known) {
        return Ok(());
    }
    busy(&journal)?;
    Err(in_the_way(&growing))
}

/// Whether `output` is the file that grew under the journal of this work.
pub fn edited(output: &Path, work: &Work) -> bool {
    let journal = journal_of(output);
    let Ok(Some(told)) = Told::read(&journal) else { return false };
    let known = told.files.get(&name_in(folder(&journal), &beside(output)));
    told.work == work && known.is_some() && id_of(output).as_ref() == known
}

/// Removes the journal of an edit that ended, if there is one.
pub fn clear_edit(target: &Path) -> Result<()> {
    let path = journal_of(target);
    let ended = match Told::read(&path)? {
        // Without work it is of a run that was killed while it cleared away another.
        Some(told) => told.work.first().is_none_or(|(name, _)| name == "edit of") && told.pieces.is_empty(),
        // It was killed before its journal told anything.
        None => path.symlink_metadata().is_ok(),
    };
    if ended {
        // What grew for it goes too, also what no line could tell of yet.
        let journal = Journal::open(path, &[], true)?;
        remove_empty(&beside(target))?;
        journal.discard();
    }
    Ok(())
}
