//! Options that several verbs share, and the carrying out of a plan under them.

use crate::ftype::Ftype;
use crate::pipeline::{self, Plan};
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
    /// Print nothing but errors and results
    #[arg(short, long)]
    pub quiet: bool,
}

/// Parses `--type`.
pub(super) fn ftype(text: &str) -> Result<&'static Ftype, String> {
    Ftype::parse(text).map_err(|e| e.to_string())
}

/// Shows the plan and, unless this is a dry run, carries it out. The output's path is the result on stdout.
pub(super) fn carry_out(plan: &Plan, output: &Path, inputs: &[&Path], run: &Run) -> Result<()> {
    let pool = thread_pool(run.threads)?;
    let threads = pool.current_num_threads();
    if !run.quiet {
        report::print_plan(plan, output, threads);
    }
    if run.json {
        println!("{}", report::plan_json(plan, output, threads));
    }
    if run.dry_run {
        return pipeline::check_output(output, inputs, run.force);
    }
    let start = Instant::now();
    let progress = report::Progress::new(plan, run.quiet);
    let done = pool.install(|| pipeline::write(plan, output, inputs, run.force, &progress));
    progress.finish();
    done?;
    if !run.quiet {
        report::print_summary(plan, output, start.elapsed());
    }
    if !run.json {
        println!("{}", output.display());
    }
    Ok(())
}

/// A pool of `threads`, by default one for each core.
pub(super) fn thread_pool(threads: Option<usize>) -> Result<rayon::ThreadPool> {
    if threads == Some(0) {
        return Err(Error::usage("--threads must be at least 1"));
    }
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0));
    builder.build().map_err(|e| Error::new(Kind::Failure, format!("the threads cannot be started: {e}")))
}
