//! `ggraft job FOLDER`: does one job of a plan. The same job may be run again, at the same time, and after a kill: a job that
//! is done ends at once, one that was begun goes on.

use super::errand::{Errand, Task};
use super::options::{self, Show};
use super::{stdout, verb};
use crate::jobs::emit::SCHEDULERS;
use crate::jobs::{Folder, Input};
use crate::report;
use crate::text::shown;
use ggraft_formats::{Error, Result};
use std::path::PathBuf;
use std::str::FromStr;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder of the plan
    #[arg(value_name = "FOLDER")]
    plan: PathBuf,
    /// Which job, from 0, of how many, such as 0/8
    #[arg(long, value_name = "I/N", required_unless_present = "job_from", conflicts_with = "job_from")]
    job: Option<Number>,
    /// Where the number of the job is found: slurm, k8s, aws, or env:NAME for another variable, env:NAME:1 if it begins
    /// with 1
    #[arg(long, value_name = "SCHEDULER")]
    job_from: Option<From>,
    /// Worker threads; by default one for each core
    #[arg(short, long, value_name = "N", value_parser = options::threads)]
    threads: Option<usize>,
    #[command(flatten)]
    show: Show,
}

/// A job of so many.
#[derive(Clone, Copy)]
struct Number {
    job: usize,
    of: usize,
}

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Number, String> {
        let numbers = text.split_once('/').and_then(|(job, of)| Some((job.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((job, of)) if job < of => Ok(Number { job, of }),
            _ => Err(String::from("expected I/N, from 0/8 to 7/8 for 8 jobs")),
        }
    }
}

/// A variable of the environment, and the number that the first job finds in it.
#[derive(Clone)]
struct From {
    variable: String,
    first: usize,
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<From, String> {
        if let Some(scheduler) = SCHEDULERS.iter().find(|s| s.name == text) {
            return Ok(From { variable: scheduler.variable.to_string(), first: 0 });
        }
        let rest = text.strip_prefix("env:").filter(|rest| !rest.is_empty());
        let (name, first) = rest.map_or(("", Some(0)), |rest| match rest.split_once(':') {
            Some((name, first)) => (name, first.parse().ok()),
            None => (rest, Some(0)),
        });
        match first {
            Some(first) if !name.is_empty() => Ok(From { variable: name.to_string(), first }),
            _ => Err(String::from("expected slurm, k8s, aws, env:NAME or env:NAME:FIRST")),
        }
    }
}

impl From {
    fn number(&self) -> Result<usize> {
        let found = std::env::var(&self.variable).map_err(|_| {
            Error::usage("the variable that tells the number of the job is not set")
                .expected(&self.variable)
                .hint("the scheduler sets it in the jobs of an array; by hand give --job I/N")
        })?;
        let number = found.trim().parse::<usize>().ok().and_then(|n| n.checked_sub(self.first));
        number.ok_or_else(|| {
            Error::usage(format!("{} is not the number of a job", self.variable))
                .expected(format!("a number from {}", self.first))
                .found(&found)
        })
    }
}

pub(super) fn run(args: Args) -> Result<()> {
    let folder = Folder::at(&args.plan)?;
    let form = folder.read()?;
    let jobs = form.jobs.len();
    let number = match (args.job, &args.job_from) {
        (Some(Number { job, of }), _) if of == jobs => job,
        (Some(Number { of, .. }), _) => {
            return Err(Error::usage("the plan has another number of jobs").expected(jobs).found(of));
        }
        (None, Some(from)) => from.number()?,
        (None, None) => return Err(Error::usage("the number of the job is missing")),
    };
    if number >= jobs {
        return Err(Error::usage("the plan has no such job")
            .expected(format!("a number from 0 to {}", jobs - 1))
            .found(number));
    }
    if folder.report(&form, number)?.is_some() {
        report::print_notes(&[format!("job {number} of {jobs} is done already")], args.show.quiet);
        return stdout::told(&shown(&folder.done(number)));
    }
    let base = options::go_to(&folder.typed_in(&form))?;
    Input::check_all(&form.inputs, &base)?;
    let (words, done) = (form.words.clone(), folder.done(number));
    verb::again(&words, Errand::Job(Box::new(Task { folder, form, number })), args.threads, args.show)?;
    stdout::told(&shown(&done))
}
