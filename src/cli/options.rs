//! Options that several verbs share, and the carrying out of a plan under them.

use super::beside::Beside;
use super::signals;
use crate::pipeline::{self, Plan, Resume, Work};
use crate::report::{self, Finished};
use crate::text::shown;
use ggraft_formats::stamp::Stamp;
use ggraft_formats::{Error, Kind, Result};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where the output goes and what is shown.
#[derive(clap::Args)]
pub(super) struct Output {
    /// Output file; by default named by GGUF's naming convention, in the current directory
    #[arg(short, long = "output", visible_alias = "outfile", value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What the model is called, in its metadata and in the default name of the file
    #[arg(long, alias = "model-name", value_name = "TEXT", value_parser = super::naming::name)]
    pub name: Option<String>,
    #[command(flatten)]
    pub beside: Beside,
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
    /// Show the plan and stop before anything is written
    #[arg(long)]
    pub dry_run: bool,
    /// Print the plan as JSON to stdout
    #[arg(long)]
    pub json: bool,
    /// Write a report of what was done to FILE, which ends in .html or .json: every tensor with its error and change, the
    /// inputs and outputs with their hashes
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Begin anew, also where an earlier run of the same command was stopped; else it is gone on with
    #[arg(long)]
    pub no_resume: bool,
    /// Tell more: what becomes of every tensor
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
    #[command(flatten)]
    pub show: Show,
}

/// What is shown on stderr.
#[derive(clap::Args)]
pub(super) struct Show {
    /// Print nothing but errors and results
    #[arg(short, long)]
    pub quiet: bool,
    /// How progress is shown, even if nothing else is
    #[arg(long, value_name = "HOW")]
    pub progress: Option<report::Show>,
}

impl Show {
    /// How progress is shown.
    pub fn how(&self) -> report::Show {
        self.progress.unwrap_or(if self.quiet { report::Show::None } else { report::Show::Auto })
    }

    /// The same for work without a plan: its lines are printed only if they are asked for.
    pub fn how_of_reading(&self) -> report::Show {
        let terminal = std::io::stderr().is_terminal();
        self.progress.unwrap_or(if terminal { self.how() } else { report::Show::None })
    }
}

/// What is carried out, beside the plans.
pub(super) struct Order<'a> {
    /// What is read, as it was when it was opened.
    pub inputs: &'a [Stamp],
    /// The options that decide the bytes.
    pub words: &'a str,
    /// What was typed.
    pub command: &'a str,
    /// What a merge computes.
    pub formula: Option<&'static str>,
    pub beside: &'a Beside,
    pub run: &'a Run,
}

/// Shows the plans and, unless this is a dry run, carries them out in one pass. The outputs' paths are the
/// result on stdout; with `--json` the plans are.
/// `check` is the last word before the weights move: it may look at some of them, and gives notes.
pub(super) fn carry_out(
    plans: &[(Plan, PathBuf)],
    order: &Order<'_>,
    check: impl FnOnce() -> Result<Vec<String>> + Send,
) -> Result<()> {
    let run = order.run;
    let paths: Vec<&Path> = order.inputs.iter().map(Stamp::path).collect();
    let inputs = paths.as_slice();
    let pool = thread_pool(run.threads)?;
    let threads = pool.current_num_threads();
    distinct(plans)?;
    if let Some(report) = &run.report {
        report::check_report(report, inputs, run.force)?;
    }
    let modelfiles = order.beside.prepare(plans, inputs, run.force)?;
    if !run.show.quiet {
        plans.iter().for_each(|(plan, path)| report::print_plan(plan, path, threads));
        plans.iter().filter(|_| run.verbose).for_each(|(plan, _)| report::print_tensors(plan));
    }
    if run.json {
        plans.iter().for_each(|(plan, path)| {
            println!("{}", report::printable(&report::plan_json(plan, path, threads).to_string()))
        });
    }
    let start = Instant::now();
    let notes = pool.install(check)?;
    report::print_notes(&notes, run.show.quiet);
    if run.dry_run {
        return plans
            .iter()
            .try_for_each(|(plan, path)| pipeline::check_output(plan, path, inputs, run.force));
    }
    let progress = report::Progress::new(plans.iter().map(|(plan, _)| plan), run.show.how(), || {
        signals::came().is_some()
    });
    let resume = if run.no_resume { Resume::Never } else { Resume::IfSame };
    let work = Work { inputs: order.inputs, options: order.words, resume, force: run.force };
    let requests = signals::listen()?;
    let done = pool.install(|| pipeline::write(plans, &work, &progress));
    drop(requests);
    progress.finish();
    done?;
    let beside = pool.install(|| write_beside(plans, order, &notes, &modelfiles))?;
    for (plan, path) in plans {
        if !run.show.quiet {
            report::print_summary(plan, path, start.elapsed());
        }
        if !run.json {
            // Of several files the first, by which the others are found.
            println!("{}", shown(&plan.first(path)?));
        }
    }
    if !run.show.quiet {
        let names: Vec<String> = beside.iter().map(|path| format!("wrote {}", shown(path))).collect();
        report::print_notes(&names, false);
        order.beside.print_start(plans)?;
    }
    Ok(())
}

/// Writes the report and what else was asked for beside the outputs; the paths of these files.
fn write_beside(
    plans: &[(Plan, PathBuf)],
    order: &Order<'_>,
    notes: &[String],
    modelfiles: &[(PathBuf, String)],
) -> Result<Vec<PathBuf>> {
    if order.run.report.is_none() && !order.beside.is_asked() {
        return Ok(Vec::new());
    }
    let finished = Finished::new(plans, order.command, notes)?;
    let mut written = order.beside.write(modelfiles, &finished, order.formula)?;
    if let Some(report) = &order.run.report {
        plans.iter().try_for_each(|(plan, _)| plan.measure_rest())?;
        report::write_report(&finished, report)?;
        written.push(report.clone());
    }
    Ok(written)
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
