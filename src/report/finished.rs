//! Finished work: the plans that have been carried out, their files with hashes, and the command. What reports, model
//! cards and Modelfiles are made of. The hashes are computed after the outputs have their names, so they delay nobody.
//! No times and no paths: the same work is told in the same way anywhere.

use crate::hash::sha256;
use crate::output::plan::Plan;
use ggraft_formats::mmap::Mapping;
use ggraft_formats::write::Part;
use ggraft_formats::{Error, Kind, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// All outputs of one run.
pub struct Finished<'a> {
    /// What was typed, with paths reduced to names.
    pub command: &'a str,
    /// What was noticed of the inputs, a sentence each; the outputs have their own notes.
    pub notes: &'a [String],
    pub outputs: Vec<Output<'a>>,
}

/// One output and its files.
pub struct Output<'a> {
    pub plan: &'a Plan,
    pub path: &'a Path,
    pub files: Vec<Hashed>,
}

/// A file of an output.
pub struct Hashed {
    pub name: String,
    pub tensors: usize,
    pub bytes: u64,
    pub sha256: String,
}

impl<'a> Finished<'a> {
    /// Hashes the files of `plans`, which have been carried out.
    pub fn new(plans: &'a [(Plan, PathBuf)], command: &'a str, notes: &'a [String]) -> Result<Finished<'a>> {
        let output = |(plan, path): &'a (Plan, PathBuf)| -> Result<Output<'a>> {
            let parts = plan.layout(path)?.parts();
            Ok(Output { plan, path, files: parts.par_iter().map(hashed).collect::<Result<_>>()? })
        };
        Ok(Finished { command, notes, outputs: plans.iter().map(output).collect::<Result<_>>()? })
    }
}

impl Output<'_> {
    /// The name of the file or directory.
    pub fn name(&self) -> String {
        file_name(self.path)
    }
}

/// The last part of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn hashed(part: &Part) -> Result<Hashed> {
    let file = Mapping::open(&part.path)?;
    let bytes = file.bytes().len() as u64;
    Ok(Hashed { name: file_name(&part.path), tensors: part.tensors, bytes, sha256: sha256(&file) })
}

/// Refuses a file that is written beside the outputs if it is an input, a directory, or exists without `force`: before
/// the work, not after it. `what` it is, in words.
pub fn check_beside(path: &Path, what: &str, inputs: &[&Path], force: bool) -> Result<()> {
    let refused = |why: &str| Error::new(Kind::Failure, format!("{what} {why}")).file(path);
    if path.is_dir() {
        return Err(refused("is a directory").mend("give the name of a file"));
    }
    let same = |input: &&Path| input.canonicalize().ok().is_some_and(|i| path.canonicalize().ok() == Some(i));
    if inputs.iter().any(same) {
        return Err(refused("is one of the inputs").mend("choose another name"));
    }
    if path.exists() && !force {
        return Err(refused("exists").mend("give --force to replace it, or another name"));
    }
    Ok(())
}
