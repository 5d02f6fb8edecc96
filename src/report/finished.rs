//! Finished work: the plans that have been carried out, their files with hashes, and the command. What reports, model
//! cards and Modelfiles are made of. They are made before the outputs get their names, so that no output is without them.
//! No times and no paths: the same work is told in the same way anywhere.

use crate::hash::sha256;
use crate::output::plan::Plan;
use ggraft_formats::Result;
use ggraft_formats::mmap::Mapping;
use ggraft_formats::write::Part;
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
    /// Hashes the files of `plans`, which are whole and lie at `places` until they get their names.
    pub fn new(
        plans: &'a [(Plan, PathBuf)],
        places: &[Vec<PathBuf>],
        command: &'a str,
        notes: &'a [String],
    ) -> Result<Finished<'a>> {
        let output = |((plan, path), places): (&'a (Plan, PathBuf), &Vec<PathBuf>)| -> Result<Output<'a>> {
            let parts = plan.layout(path)?.parts();
            let files = parts.par_iter().zip(places).map(|(part, place)| hashed(part, place));
            Ok(Output { plan, path, files: files.collect::<Result<_>>()? })
        };
        Ok(Finished { command, notes, outputs: plans.iter().zip(places).map(output).collect::<Result<_>>()? })
    }
}

impl Output<'_> {
    /// The name of the file or directory.
    pub fn name(&self) -> String {
        file_name(self.path)
    }

    /// Whether it is one file with the weights of a model, which runs by itself.
    pub fn runs(&self) -> bool {
        let kind = self.plan.metadata().str("general.type").unwrap_or("model");
        kind == "model" && !self.plan.is_directory() && self.files.len() == 1 && !self.plan.steps.is_empty()
    }
}

/// The last part of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn hashed(part: &Part, place: &Path) -> Result<Hashed> {
    let file = Mapping::open(place)?;
    let bytes = file.bytes().len() as u64;
    Ok(Hashed { name: part.name.clone(), tensors: part.tensors, bytes, sha256: sha256(&file) })
}
