//! What a write is told beside what is to be written, and who is told how it goes on.

use crate::stamp::Stamp;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a write is told beside the layouts.
#[derive(Debug, Default)]
pub struct Job {
    /// What decides every byte beside the layouts, as names and values: the options. An unfinished output of the same
    /// work is resumed.
    pub work: Vec<(String, String)>,
    /// The files that are read, as they were when they were opened, and the directories that were named.
    pub inputs: Vec<Stamp>,
    pub resume: Resume,
    /// Whether what has the names of the outputs may be replaced.
    pub force: bool,
    /// A folder in which it may be in any case.
    pub own: Option<PathBuf>,
    /// What is written beside the outputs once they are whole.
    pub beside: Vec<Beside>,
    /// Whether several processes, perhaps of several machines, do parts of it: `work` then tells the inputs too.
    pub is_shared: bool,
}

impl Job {
    /// Whether what has this name may be replaced.
    pub fn replaces(&self, path: &Path) -> bool {
        self.force || self.own.as_ref().is_some_and(|own| path.starts_with(own))
    }
}

/// What to do with what another run has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// Go on with it if it is the same work, refuse if it is not.
    #[default]
    IfSame,
    /// Begin anew.
    Never,
}

/// A file that is written beside the outputs.
#[derive(Clone, Debug)]
pub struct Beside {
    pub path: PathBuf,
    /// What it is, in words.
    pub what: &'static str,
    /// Whether it goes on with what has its name, and so takes its place, whatever the job may replace.
    pub replaces: bool,
}

/// Bytes of one file of an output, in the order of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub file: usize,
    pub bytes: Range<u64>,
}

/// Where a job keeps its journals: `FOLDER/NAME-OUTPUT.N`.
pub struct Records {
    pub folder: PathBuf,
    pub name: String,
}

/// Is told how a write goes on. Called from many threads.
pub trait Watch: Sync {
    /// `bytes` more of tensor `index` of output `output` are written; `finished` with its last ones.
    fn advance(&self, output: usize, index: usize, bytes: u64, finished: bool);

    /// Is told, before all else, that so many pieces were found that an earlier run has written.
    fn resumes(&self, _pieces: usize) {}

    /// Is told that the file system of this output locks nothing: whoever writes it at the same time is not kept off.
    fn unlocked(&self, _target: &Path) {}

    /// Whether to stop; asked between chunks.
    fn cancelled(&self) -> bool {
        false
    }
}

/// A watcher that hears nothing.
impl Watch for () {
    fn advance(&self, _output: usize, _index: usize, _bytes: u64, _finished: bool) {}
}
