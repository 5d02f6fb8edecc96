//! `ggraft finish FOLDER`: gives the outputs of a plan their names, when all jobs are done; else it says which are not.

use super::errand::{End, Errand};
use super::options::{self, Show};
use super::verb;
use crate::jobs::{Folder, Form, Input};
use ggraft_formats::{Error, Kind, Result};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder of the plan
    #[arg(value_name = "FOLDER")]
    plan: PathBuf,
    /// Read again all that was written, and compare it with what the jobs have told
    #[arg(long)]
    hash: bool,
    /// Worker threads; by default one for each core
    #[arg(short, long, value_name = "N", value_parser = options::threads)]
    threads: Option<usize>,
    #[command(flatten)]
    show: Show,
}

pub(super) fn run(args: Args) -> Result<()> {
    let folder = Folder::at(&args.plan)?;
    let form = folder.read()?;
    let missing = missing(&folder, &form)?;
    if !missing.is_empty() {
        return Err(Error::new(
            Kind::Verification,
            format!("missing {} of {} jobs: --array={}", missing.len(), form.jobs.len(), array(&missing)),
        )
        .file(folder.path())
        .hint("run these jobs again, then finish; `ggraft status` says how far they are"));
    }
    let base = options::go_to(&folder.typed_in(&form))?;
    Input::check_all(&form.inputs, &base)?;
    let (words, hash) = (form.words.clone(), args.hash);
    verb::again(&words, Errand::Finish(Box::new(End { folder, form, hash })), args.threads, args.show)
}

/// The jobs that have not told that they are done.
fn missing(folder: &Folder, form: &Form) -> Result<Vec<usize>> {
    let mut missing = Vec::new();
    for job in 0..form.jobs.len() {
        if folder.report(form, job)?.is_none() {
            missing.push(job);
        }
    }
    Ok(missing)
}

/// Numbers as Slurm takes them: 1,3-5.
pub(super) fn array(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for n in numbers {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == *n => *end = *n,
            _ => runs.push((*n, *n)),
        }
    }
    let text = |(start, end): (usize, usize)| match start == end {
        true => start.to_string(),
        false => format!("{start}-{end}"),
    };
    runs.into_iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_told_as_one_range() {
        assert_eq!(array(&[1, 3, 4, 5, 7, 8]), "1,3-5,7-8");
        assert_eq!(array(&[]), "");
    }
}
