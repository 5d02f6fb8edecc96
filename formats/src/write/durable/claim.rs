//! Claims: every path that a run is going to touch, looked at before any work. None may be an input, by whatever name; none
//! is taken twice; what lies under the name of something unfinished must be proven to be ours; folders take files.

use super::files::{self, name_in};
use super::growing::{finished, place, work};
use super::journal::Told;
use super::lock::busy;
use super::partial;
use super::publish::{is_empty, only_models};
use super::small::{abandoned, is_done, is_told};
use super::{beside, folder, in_the_way, journal_of};
use crate::error::{Error, Kind, Result};
use crate::write::job::{Beside, Job, Resume};
use crate::write::layout::Layout;
use std::path::{Path, PathBuf};

/// What the paths of a run are taken for.
struct Claims<'a> {
    job: &'a Job,
    layouts: &'a [Layout<'a>],
    /// Each with what it is, in words.
    taken: Vec<(PathBuf, String)>,
    /// Names that something has, and that are replaced if that was asked for.
    exists: Vec<Error>,
    /// Whether an earlier run has ended all of this work.
    done: bool,
}

/// Looks at all that is going to be touched; nothing is. The result are the outputs that exist and are not to be replaced:
/// a run ends with them, a dry run tells them.
///
/// # Errors
/// What no option could allow.
pub fn look(layouts: &[Layout<'_>], job: &Job) -> Result<Vec<Error>> {
    let mut claims = Claims { job, layouts, taken: Vec::new(), exists: Vec::new(), done: false };
    let mut problems = Vec::new();
    for layout in layouts {
        problems.extend(claims.output(layout).err());
    }
    for beside in &job.beside {
        problems.extend(claims.small(beside, layouts).err());
    }
    Error::all(problems).map_or(Ok(claims.exists), Err)
}

impl Claims<'_> {
    fn output(&mut self, layout: &Layout<'_>) -> Result<()> {
        let journal = journal_of(&layout.target);
        writable(folder(&layout.target))?;
        // Finals first: their clashes are the plainest to tell.
        for path in finals(layout) {
            self.take(&path, "the output")?;
        }
        for planned in &layout.files {
            self.take(&place(layout, planned), "the unfinished output")?;
        }
        if layout.is_directory {
            self.take(&beside(&layout.target), "the unfinished output")?;
        }
        self.take(&journal, "the journal of the unfinished output")?;
        let told = Told::read(&journal)?.unwrap_or_default();
        let wanted = work(layout, self.job);
        let same = self.job.resume == Resume::IfSame && told.work == wanted;
        if !same && self.job.resume == Resume::IfSame && told.has_work(&journal) {
            busy(&journal)?;
            told.refuse_other(&journal, &wanted)?;
        }
        if self.taken.iter().filter(|(_, what)| what.starts_with("the journal")).count() == 1 {
            self.done = same && is_done(&told, self.layouts, &self.job.beside);
        }
        self.unfinished(layout, &told, same)?;
        self.finals(layout, &if same { told } else { Told::default() })
    }

    /// Refuses what lies under the name of something unfinished and is not proven to be ours.
    fn unfinished(&mut self, layout: &Layout<'_>, told: &Told, same: bool) -> Result<()> {
        let journal = journal_of(&layout.target);
        if self.done {
            return Ok(());
        }
        for planned in &layout.files {
            let path = place(layout, planned);
            if path.symlink_metadata().is_err() {
                continue;
            }
            let known = told.files.get(&name_in(folder(&journal), &path));
            let planned = partial::Planned { head: &planned.head, total: planned.total };
            let resumes = same && told.resumes();
            let ours = files::existing(&path).and_then(|f| partial::is_ours(&f, known, &planned, resumes));
            // What was replaced may lie there, where a run was stopped between two moves.
            let aside =
                |path: &Path| told.asides.iter().any(|(_, id)| files::id_of(path).as_ref() == Some(id));
            if !ours.unwrap_or(false) && !aside(&path) && !aside(&beside(&layout.target)) {
                return Err(in_the_way(&path));
            }
        }
        Ok(())
    }

    /// Looks at what has the final names.
    fn finals(&mut self, layout: &Layout<'_>, told: &Told) -> Result<()> {
        let finished = finished(layout, told);
        for (i, path) in finals(layout).iter().enumerate() {
            if path.symlink_metadata().is_err() {
                continue;
            }
            let refused = |what: &str| Error::new(Kind::Failure, what).file(path);
            match (path.is_dir(), layout.is_directory) {
                (true, false) => {
                    return Err(refused("the output is a directory").hint("give the name of a file with -o"));
                }
                (false, true) => {
                    return Err(refused("the output is a file").hint("give the name of a directory with -o"));
                }
                (true, true) if is_empty(path) => continue,
                _ => {}
            }
            if self.done || finished.get(i).copied().unwrap_or(false) {
                continue;
            }
            if layout.is_directory {
                only_models(path)?;
            }
            if !self.job.replaces(path) {
                let exists = refused("the output exists");
                self.exists.push(exists.hint("give --force to replace it, or another name with -o"));
            }
        }
        Ok(())
    }

    /// A report, a card or a Modelfile.
    fn small(&mut self, file: &Beside, layouts: &[Layout<'_>]) -> Result<()> {
        let Beside { path, what, replaces } = file;
        let refused = |why: &str| Error::new(Kind::Failure, format!("{what} {why}")).file(path);
        if path.is_dir() {
            return Err(refused("is a directory").hint("give the name of a file"));
        }
        writable(folder(path))?;
        self.take(path, what)?;
        let growing = growing_small(path, layouts);
        self.take(&growing, what)?;
        let master = layouts.first().map(|l| journal_of(&l.target)).unwrap_or_default();
        let told = Told::read(&master)?.unwrap_or_default();
        let known = told.files.get(&name_in(folder(&master), &growing));
        let nothing = partial::Planned { head: &[], total: 0 };
        if growing.symlink_metadata().is_ok()
            && !files::existing(&growing)
                .and_then(|f| partial::is_ours(&f, known, &nothing, false))
                .unwrap_or(false)
            && abandoned(&growing).is_none()
        {
            return Err(in_the_way(&growing));
        }
        let may = self.job.replaces(path) || *replaces;
        if path.symlink_metadata().is_ok() && !may && !self.done && !is_told(path, &told) {
            self.exists.push(refused("exists").hint("give --force to replace it, or another name"));
        }
        Ok(())
    }

    /// Takes a path, which no input and nothing else of this run may have.
    fn take(&mut self, path: &Path, what: &str) -> Result<()> {
        let real = folder(path).canonicalize().unwrap_or_else(|_| {
            std::path::absolute(folder(path)).unwrap_or_else(|_| folder(path).to_path_buf())
        });
        let real = real.join(path.file_name().unwrap_or_default());
        if let Some((_, other)) = self.taken.iter().find(|(taken, _)| *taken == real) {
            return Err(if other == what && what == "the output" {
                Error::usage("several outputs would have this name").file(path).hint(
                    "put {type} and {weight} into the name that you give with -o, and give each of them once",
                )
            } else {
                Error::usage(format!("{what} and {other} would be one file"))
                    .file(path)
                    .hint("choose another name for one of them")
            });
        }
        let there = path.symlink_metadata().is_ok();
        let dir = there && path.is_dir();
        let clash = |input: &&crate::stamp::Stamp| input.is_at(path) || (dir && input.is_inside(path));
        if there && self.job.inputs.iter().any(|input| clash(&input)) {
            return Err(Error::new(Kind::Failure, format!("{what} is one of the inputs"))
                .file(path)
                .hint("choose another output with -o"));
        }
        self.taken.push((real, what.to_string()));
        Ok(())
    }
}

/// The names that an output gets: of its files, or of its directory.
fn finals(layout: &Layout<'_>) -> Vec<PathBuf> {
    if layout.is_directory { vec![layout.target.clone()] } else { layout.paths() }
}

/// Where a file beside the outputs grows: of one that is to lie in an output's directory, in the one that grows.
pub fn growing_small(path: &Path, layouts: &[Layout<'_>]) -> PathBuf {
    let real = |dir: &Path| dir.canonicalize().or_else(|_| std::path::absolute(dir)).ok();
    let inside = layouts.iter().find(|l| l.is_directory && real(&l.target) == real(folder(path)));
    match inside.map(|l| beside(&l.target)).filter(|dir| dir.is_dir() || !folder(path).is_dir()) {
        Some(dir) => beside(&dir.join(path.file_name().unwrap_or_default())),
        None => beside(path),
    }
}

/// Refuses a folder in which nothing can be made, or that cannot be one.
fn writable(dir: &Path) -> Result<()> {
    let mut there = dir;
    while there.symlink_metadata().is_err() {
        let Some(parent) = there.parent() else { return Ok(()) };
        there = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    }
    if !there.is_dir() {
        return Err(Error::io(&std::io::ErrorKind::NotADirectory.into(), there));
    }
    #[cfg(unix)]
    rustix::fs::access(there, rustix::fs::Access::WRITE_OK)
        .map_err(|e| Error::io(&e.into(), there).hint("choose a folder in which you may write with -o"))?;
    Ok(())
}
