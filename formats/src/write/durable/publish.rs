//! Finished outputs get their names. What had a name before is moved aside, and goes only when all is in its place; if
//! anything fails on the way, it is put back. A name that was free when the run began is never taken from what has got it
//! since.

use super::files::{id, id_of, name_in, names, sync_directory};
use super::inner::{self, ending, is_model_file};
use super::journal::Journal;
use super::{aside, folder};
use crate::error::{Error, Kind, Result};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Gives one file its name; what has the name is replaced only if that was asked for.
pub fn publish_file(from: &Path, target: &Path, replace: bool) -> Result<()> {
    let moved = if replace { std::fs::rename(from, target) } else { move_new(from, target) };
    moved.map_err(|e| taken(&e, target))?;
    sync_directory(folder(target))
}

/// Gives files that belong together, in one folder, their names. The first, by which readers open a split model, loses
/// its old one first and gets its own last: so whoever finds it finds them all, and no model mixes old and new.
pub fn publish_set(files: &[(PathBuf, PathBuf)], replace: bool, journal: &Journal) -> Result<()> {
    let mut moves = Vec::new();
    let done = place_set(files, replace, journal, &mut moves);
    if done.is_err() {
        // What cannot be put back lies where the journal says.
        moves.iter().rev().for_each(|(from, to): &(PathBuf, PathBuf)| _ = move_new(to, from));
    }
    done
}

fn place_set(
    files: &[(PathBuf, PathBuf)],
    replace: bool,
    journal: &Journal,
    moves: &mut Vec<(PathBuf, PathBuf)>,
) -> Result<()> {
    let mut step = |from: &Path, to: &Path| {
        move_new(from, to).map_err(|e| taken(&e, to))?;
        moves.push((from.to_path_buf(), to.to_path_buf()));
        Ok(())
    };
    for (_, target) in files {
        let Some(old) = id_of(target) else { continue };
        if !replace {
            return Err(taken(&ErrorKind::AlreadyExists.into(), target));
        }
        let aside = aside(target);
        journal.replaces(&name_in(journal.folder(), &aside), &old)?;
        step(target, &aside)?;
    }
    let Some(((partial, target), others)) = files.split_first() else { return Ok(()) };
    sync_directory(folder(target))?;
    others.iter().try_for_each(|(partial, target)| step(partial, target))?;
    sync_directory(folder(target))?;
    step(partial, target)?;
    sync_directory(folder(target))
}

/// Gives a directory its name; a model that has it is replaced, at once where the file system can exchange names.
pub fn publish_directory(growing: &Path, target: &Path, replace: bool, journal: &Journal) -> Result<()> {
    let io = |e: io::Error| taken(&e, target);
    sync_directory(growing)?;
    match target.symlink_metadata() {
        Err(_) => move_new(growing, target).map_err(io)?,
        // Nothing is lost with an empty one; the system refuses if it is no longer empty.
        Ok(meta) if meta.is_dir() && is_empty(target) => std::fs::rename(growing, target).map_err(io)?,
        Ok(_) if !replace => return Err(taken(&ErrorKind::AlreadyExists.into(), target)),
        Ok(meta) => {
            only_models(target)?;
            let aside = aside(target);
            journal.replaces(&name_in(journal.folder(), &aside), &id(&meta))?;
            if exchange(growing, target) {
                move_new(growing, &aside).map_err(|e| Error::io(&e, growing))?;
            } else {
                move_new(target, &aside).map_err(io)?;
                let moved = std::fs::rename(growing, target).map_err(io);
                moved.inspect_err(|_| _ = move_new(&aside, target))?;
            }
        }
    }
    sync_directory(folder(target))
}

/// Removes what was replaced, if it is this very file or directory, and holds nothing but a model.
pub fn remove_aside(path: &Path, this: &str) {
    let Ok(meta) = path.symlink_metadata() else { return };
    if id(&meta) != this {
        return;
    }
    // What cannot be removed stays, under a name that tells what it is.
    if !meta.is_dir() {
        _ = std::fs::remove_file(path);
    } else if only_models(path).is_ok() {
        inner::remove_modules(path);
        names(path).into_iter().flatten().for_each(|name| _ = std::fs::remove_file(path.join(name)));
        _ = std::fs::remove_dir(path);
    }
}

/// Refuses a directory that is no model, or holds what no model directory holds: it must not be replaced.
pub fn only_models(dir: &Path) -> Result<()> {
    let (names, modules) = (names(dir)?, inner::modules(dir));
    let refused = |what: &str| {
        Error::new(Kind::Failure, what)
            .file(dir)
            .hint("choose another directory with -o, or move what is in this one")
    };
    if let Some(other) = names.iter().find(|name| !is_model_file(dir, name) && !modules.contains(name)) {
        return Err(refused("the directory holds more than a model and is not replaced")
            .found(format!("'{}'", other.to_string_lossy())));
    }
    let makes_a_model =
        |name: &OsString| name == "config.json" || ending(name).is_some_and(|e| e == "safetensors");
    if !names.is_empty() && !names.iter().any(makes_a_model) {
        return Err(refused("the directory holds no model and is not replaced")
            .expected("config.json or weights")
            .found(format!("'{}'", names[0].to_string_lossy())));
    }
    Ok(())
}

pub fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// Why a name could not be given.
fn taken(e: &io::Error, target: &Path) -> Error {
    match e.kind() {
        ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty => {
            Error::new(Kind::Failure, "something has got this name while the run went on; it is not replaced")
                .file(target)
                .hint("move it, or give --force; the same command then ends the work, which is kept")
        }
        _ => Error::io(e, target),
    }
}

/// Moves a file or directory to a name that nothing has.
pub fn move_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(e) if cannot(e) => {}
            done => return done.map_err(io::Error::from),
        }
    }
    if !from.is_dir() {
        match std::fs::hard_link(from, to) {
            Ok(()) => return std::fs::remove_file(from),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Err(e),
            Err(_) => {}
        }
    }
    // A file system that can do neither leaves a moment between the look and the move.
    match to.symlink_metadata() {
        Ok(_) => Err(ErrorKind::AlreadyExists.into()),
        Err(_) => std::fs::rename(from, to),
    }
}

/// Gives two the names of each other, if the file system can.
fn exchange(a: &Path, b: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        _ = (a, b);
        false
    }
}

/// Whether the file system does not know such moves.
#[cfg(target_os = "linux")]
fn cannot(e: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    [Errno::INVAL, Errno::NOSYS, Errno::NOTSUP].contains(&e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::durable::{beside, journal_of};

    /// A folder with three grown files, and the journal of them.
    fn grown(dir: &Path) -> (Vec<(PathBuf, PathBuf)>, Journal) {
        let one = |name: &str| {
            let target = dir.join(name);
            std::fs::write(beside(&target), "new").unwrap();
            (beside(&target), target)
        };
        let files = ["a", "b", "c"].map(one).to_vec();
        (files, Journal::open(journal_of(&dir.join("a")), &[], true).unwrap())
    }

    fn content(dir: &Path) -> Vec<(String, String)> {
        let read = |name: OsString| {
            let text =
                std::fs::read_to_string(dir.join(&name)).unwrap_or_else(|_| String::from("a directory"));
            (name.into_string().unwrap(), text)
        };
        names(dir).unwrap().into_iter().map(read).filter(|(name, _)| !name.ends_with("journal")).collect()
    }

    fn is(dir: &Path, due: &[(&str, &str)]) {
        let due: Vec<_> = due.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        assert_eq!(content(dir), due);
    }

    #[test]
    fn files_that_belong_together_appear_together() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "old").unwrap();
        let (files, journal) = grown(dir.path());
        publish_set(&files, true, &journal).unwrap();
        is(dir.path(), &[("a", "new"), ("a.replaced", "old"), ("b", "new"), ("c", "new")]);
    }

    #[test]
    fn a_file_that_cannot_get_its_name_leaves_all_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "old").unwrap();
        std::fs::write(dir.path().join("b"), "old b").unwrap();
        let (mut files, journal) = grown(dir.path());
        std::fs::remove_file(&files[2].0).unwrap();
        files[2].0 = dir.path().join("gone");
        publish_set(&files, true, &journal).unwrap_err();
        is(dir.path(), &[("a", "old"), ("a.partial", "new"), ("b", "old b"), ("b.partial", "new")]);
        publish_set(&files[..2], false, &journal).unwrap_err();
        is(dir.path(), &[("a", "old"), ("a.partial", "new"), ("b", "old b"), ("b.partial", "new")]);
    }

    #[test]
    fn a_directory_is_replaced_only_if_it_is_a_model() {
        let dir = tempfile::tempdir().unwrap();
        let notes = dir.path().join("notes");
        std::fs::create_dir(&notes).unwrap();
        only_models(&notes).unwrap();
        std::fs::write(notes.join("thesis.md"), "").unwrap();
        std::fs::write(notes.join("todo.txt"), "").unwrap();
        assert!(only_models(&notes).is_err());
        std::fs::write(notes.join("config.json"), "").unwrap();
        only_models(&notes).unwrap();
        std::fs::write(notes.join("photo.jpg"), "").unwrap();
        assert!(only_models(&notes).is_err());
    }

    #[test]
    fn folders_of_a_model_are_those_that_its_modules_name_and_go_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let (model, pooling) = (dir.path().join("model"), dir.path().join("model").join("1_Pooling"));
        std::fs::create_dir_all(&pooling).unwrap();
        std::fs::write(model.join("config.json"), "{}").unwrap();
        std::fs::write(pooling.join("config.json"), "{}").unwrap();
        assert!(only_models(&model).is_err());
        std::fs::write(
            model.join("modules.json"),
            r#"[{"path": ""}, {"path": "1_Pooling"}, {"path": "../x"}]"#,
        )
        .unwrap();
        only_models(&model).unwrap();
        std::fs::write(pooling.join("thesis.odt"), "").unwrap();
        assert!(only_models(&model).is_err());
        remove_aside(&model, &id_of(&model).unwrap());
        assert!(pooling.join("thesis.odt").exists() && model.join("config.json").exists());
        std::fs::remove_file(pooling.join("thesis.odt")).unwrap();
        remove_aside(&model, &id_of(&model).unwrap());
        assert!(!model.exists());
    }

    #[test]
    fn a_name_that_something_has_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "a").unwrap();
        std::fs::write(&b, "b").unwrap();
        assert_eq!(move_new(&a, &b).unwrap_err().kind(), ErrorKind::AlreadyExists);
        is(dir.path(), &[("a", "a"), ("b", "b")]);
        move_new(&a, &dir.path().join("c")).unwrap();
        is(dir.path(), &[("b", "b"), ("c", "a")]);
    }
}
