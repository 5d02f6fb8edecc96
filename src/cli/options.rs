//! Options that several verbs share, and the carrying out of a plan under them.

use super::signals;
use crate::pipeline::{self, Plan, Resume, Work};
use crate::report;
use ggraft_formats::{Error, Kind, Result};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where the output goes and what is shown.
#[derive(clap::Args)]
pub(super) struct Output {
    /// Output file; by default named by GGUF's naming convention, in the current directory
    #[arg(short, long = "output", visible_alias = "outfile", value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub run: Run,
}

/// How the work is done.
#[derive(clap::Args)]
pub(super) struct Run {
    /// Worker threads; by default one for each core
    #[arg(short, long, value_name = "N")]
    pub threads: Option<usize>,
    /// Replace an existing output
    #[arg(short, long)]
    pub force: bool,
    /// Show the plan and stop before any weight is read
    #[arg(long)]
    pub dry_run: bool,
    /// Print the plan as JSON to stdout
    #[arg(long)]
    pub json: bool,
    /// Write a report of what was done to FILE, as JSON: every tensor, the inputs and outputs with their hashes
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Begin anew, also where an earlier run of the same command was stopped; else it is gone on with
    #[arg(long)]
    pub no_resume: bool,
    /// Print nothing but errors and results
    #[arg(short, long)]
    pub quiet: bool,
}

/// Shows the plans and, unless this is a dry run, carries them out in one pass. The outputs' paths are the
/// result on stdout; with `--json` the plans are.
/// `words` are the options that decide the bytes; `check` is the last word before the weights move, it may look at
/// some of them.
pub(super) fn carry_out(
    plans: &[(Plan, PathBuf)],
    inputs: &[&Path],
    words: &str,
    run: &Run,
    check: impl FnOnce() -> Result<()> + Send,
) -> Result<()> {
    let pool = thread_pool(run.threads)?;
    let threads = pool.current_num_threads();
    distinct(plans)?;
    if let Some(report) = &run.report {
        report::check_report(report, inputs, run.force)?;
    }
    if !run.quiet {
        plans.iter().for_each(|(plan, path)| report::print_plan(plan, path, threads));
    }
    if run.json {
        let json = |(plan, path): &(Plan, PathBuf)| report::plan_json(plan, path, threads).to_string();
        plans.iter().for_each(|plan| println!("{}", report::printable(&json(plan))));
    }
    if run.dry_run {
        return plans
            .iter()
            .try_for_each(|(plan, path)| pipeline::check_output(plan, path, inputs, run.force));
    }
    let start = Instant::now();
    pool.install(check)?;
    let progress =
        report::Progress::new(plans.iter().map(|(plan, _)| plan), run.quiet, || signals::came().is_some());
    let resume = if run.no_resume { Resume::Never } else { Resume::IfSame };
    let work = Work { inputs, options: words, resume, force: run.force };
    signals::listen()?;
    let done = pool.install(|| pipeline::write(plans, &work, &progress));
    progress.finish();
    done?;
    if let Some(report) = &run.report {
        pool.install(|| report::write_report(plans, report))?;
    }
    for (plan, path) in plans {
        if !run.quiet {
            report::print_summary(plan, path, start.elapsed());
        }
        if !run.json {
            // Of several files the first, by which the others are found.
            println!("{}", plan.first(path)?.display());
        }
    }
    Ok(())
}

/// The files of the inputs, to be looked at.
pub(super) fn paths(files: &[PathBuf]) -> Vec<&Path> {
    files.iter().map(PathBuf::as_path).collect()
}

/// Several outputs need several names.
fn distinct(plans: &[(Plan, PathBuf)]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    match plans.iter().find(|(_, path)| !seen.insert(path)) {
        None => Ok(()),
        Some((_, path)) => Err(Error::usage("several outputs would have this name")
            .file(path)
            .mend("put {type} and {weight} into the name that you give with -o")),
    }
}

/// A pool of `threads`, by default one for each core.
pub(super) fn thread_pool(threads: Option<usize>) -> Result<rayon::ThreadPool> {
    if threads == Some(0) {
        return Err(Error::usage("--threads must be at least 1"));
    }
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0));
    builder.build().map_err(|e| Error::new(Kind::Failure, format!("the threads cannot be started: {e}")))
}
