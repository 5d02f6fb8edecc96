//! What a plan was made of, by which a job on another machine sees whether it reads the same: never by numbers of files or
//! disks, which differ from machine to machine. Of a file of up to 32 MiB that is its hash; of a larger one its
//! length, the hash of its first 64 KiB and of 32 blocks of it, and the second in which it was changed last.

use super::way::way;
use crate::arrange::Arrange;
use ggraft_formats::stamp::Stamp;
use ggraft_formats::write::Identity;
use ggraft_formats::{Error, Kind, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Files up to this length are hashed whole.
const WHOLE: u64 = 32 << 20;
/// What is read at the start of a larger one: most of a header.
const HEAD: usize = 64 << 10;
const BLOCK: usize = 4 << 10;
const BLOCKS: u64 = 32;

/// A file that was read for a plan.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// As it is found from the folder in which the plan was typed; of a file that lies elsewhere its address.
    pub file: String,
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xxh3: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<u64>,
    /// What its server calls its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

impl Input {
    /// The files of `stamps`, as they are now, by name.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn all(stamps: &[Stamp], base: &Path) -> Result<Vec<Input>> {
        let files: Vec<&Stamp> = stamps.iter().filter(|stamp| stamp.is_file()).collect();
        let mut all =
            files.into_par_iter().map(|stamp| Input::of(stamp, base)).collect::<Result<Vec<_>>>()?;
        all.arrange_by(|a, b| a.file.cmp(&b.file));
        all.dedup();
        Ok(all)
    }

    fn of(stamp: &Stamp, base: &Path) -> Result<Input> {
        let bytes = stamp.bytes();
        if let Some(tag) = stamp.tag() {
            let file = stamp.path().to_string_lossy().into_owned();
            return Ok(Input { file, bytes, xxh3: None, modified: None, state: Some(tag.to_string()) });
        }
        let file = way(base, stamp.path()).to_string_lossy().into_owned();
        let xxh3 = Some(hash(stamp.path(), bytes).map_err(|e| Error::io(&e, stamp.path()))?);
        let modified = stamp.modified().filter(|_| bytes > WHOLE);
        Ok(Input { file, bytes, xxh3, modified, state: None })
    }

    /// Refuses inputs on this machine that are no longer what they were. All of them are told.
    ///
    /// # Errors
    /// Any has changed, or cannot be read.
    pub fn check_all(inputs: &[Input], base: &Path) -> Result<()> {
        let local = inputs.par_iter().filter(|input| input.state.is_none());
        let problems: Vec<Error> = local.filter_map(|input| input.check(base).err()).collect();
        Error::all(problems).map_or(Ok(()), Err)
    }

    fn check(&self, base: &Path) -> Result<()> {
        let path = base.join(&self.file);
        let stamp = Stamp::of(&path).map_err(|e| {
            e.hint("the plan has read this file; the models must lie where they lay, seen from the plan")
        })?;
        let now = Input::of(&stamp, base)?;
        let now = Input { file: self.file.clone(), ..now };
        if now == *self { Ok(()) } else { Err(changed(&path, self, &now)) }
    }

    /// Refuses what a job has read if it is not what the plan has read.
    ///
    /// # Errors
    /// A file differs, is new, or is missing.
    pub fn same(plan: &[Input], job: &[Input]) -> Result<()> {
        let find = |of: &'_ [Input], file: &str| of.iter().find(|input| input.file == file).cloned();
        let mut problems = Vec::new();
        for input in plan {
            match find(job, &input.file) {
                Some(now) if now == *input => {}
                Some(now) => problems.push(changed(Path::new(&input.file), input, &now)),
                None => problems.push(new(&input.file, "the plan has read this file, and the job has not")),
            }
        }
        let unknown = job.iter().filter(|input| find(plan, &input.file).is_none());
        problems.extend(
            unknown.map(|input| new(&input.file, "the job reads this file, and the plan has not read it")),
        );
        Error::all(problems).map_or(Ok(()), Err)
    }

    fn facts(&self) -> String {
        let facts = [
            Some(format!("{} bytes", self.bytes)),
            self.xxh3.as_ref().map(|hash| format!("hash {hash}")),
            self.modified.map(|seconds| format!("changed at {seconds}")),
            self.state.as_ref().map(|state| format!("state {state}")),
        ];
        facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

fn changed(path: &Path, then: &Input, now: &Input) -> Error {
    Error::new(Kind::Changed, "the input is not what it was when the plan was made")
        .file(path)
        .expected(then.facts())
        .found(now.facts())
        .hint("put back what was there (a copy must keep its time), or make the plan again with --no-resume")
}

fn new(file: &str, what: &str) -> Error {
    Error::new(Kind::Changed, what)
        .file(&PathBuf::from(file))
        .hint("make the plan again with --no-resume, or put back what was there")
}

/// The hash of what is looked at of a file.
fn hash(path: &Path, bytes: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Identity::default();
    if bytes <= WHOLE {
        let mut all = Vec::new();
        file.take(WHOLE + 1).read_to_end(&mut all)?;
        hash.add(&all);
        return Ok(hash.hash());
    }
    let mut buffer = vec![0; HEAD];
    file.read_exact(&mut buffer)?;
    hash.add(&buffer);
    buffer.truncate(BLOCK);
    let last = bytes - BLOCK as u64;
    for i in 1..=BLOCKS {
        let at = u64::try_from(u128::from(last) * u128::from(i) / u128::from(BLOCKS)).unwrap_or(last);
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut buffer)?;
        hash.add(&buffer);
    }
    Ok(hash.hash())
}
