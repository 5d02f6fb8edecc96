//! What is done with the plan of a verb: it is carried out at once, or made ready for jobs, or one job of it is done, or its
//! outputs get their names, or a file is compared with them. The verb itself is the same, word for word.

use crate::jobs::cost::Speed;
use crate::jobs::{Folder, Form};
use std::path::PathBuf;

/// What a verb is run for.
#[derive(Clone, Default)]
pub(super) enum Errand {
    /// To write its outputs.
    #[default]
    Write,
    /// To plan them for jobs.
    Plan(Box<Ask>),
    /// To do one job.
    Job(Box<Task>),
    /// To give the outputs their names.
    Finish(Box<End>),
    /// To see whether a file is what they would be.
    Compare(Box<Claim>),
}

/// A plan that is asked for.
#[derive(Clone)]
pub(super) struct Ask {
    /// The verb and its words.
    pub words: Vec<String>,
    pub jobs: usize,
    pub folder: PathBuf,
    pub speed: Speed,
    /// Whether stdout is a scheduler's.
    pub emits: bool,
}

/// A job.
#[derive(Clone)]
pub(super) struct Task {
    pub folder: Folder,
    pub form: Form,
    pub number: usize,
}

/// The end of all jobs.
#[derive(Clone)]
pub(super) struct End {
    pub folder: Folder,
    pub form: Form,
    /// Whether all that jobs have written is read again.
    pub hash: bool,
}

/// A file to be compared with what a recipe makes.
#[derive(Clone)]
pub(super) struct Claim {
    pub file: PathBuf,
    /// Whether every row is computed again.
    pub all: bool,
}
