//! Options that several verbs share, and the carrying out of a plan under them.

use super::away::{self, Away};
use super::beside::Beside;
use super::errand::Errand;
use super::shipment::{How, Shipment};
use super::{elsewhere, signals, stdout};
use crate::output::target::Type;
use crate::pipeline::{self, Plan, Resume, Work};
use crate::recipe::Choice;
use crate::report::{self, Finished, Making, Stage};
use crate::stages::Stages;
use crate::text::shown;
use ggraft_formats::source::{Access, is_away};
use ggraft_formats::write::Beside as File;
use ggraft_formats::{Error, Kind, Result};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Where the output goes and what is shown.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
pub(super) struct Output {
    /// Output file; in a folder, or by default in the current one, named by GGUF's naming convention
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
#[command(next_help_heading = "Progress")]
pub(super) struct Run {
    /// Worker threads; by default one for each core
    #[arg(short, long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Replace an existing output
    #[arg(short, long, help_heading = "Safety")]
    pub force: bool,
    /// Show the plan and stop before anything is written
    #[arg(long, help_heading = "Safety")]
    pub dry_run: bool,
    /// Print the plan as JSON to stdout
    #[arg(long)]
    pub json: bool,
    /// Write a report of what was done to FILE, which ends in .html or .json: every tensor with its error and change, the
    /// inputs and outputs with their hashes
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub report: Option<PathBuf>,
    /// Start over instead of resuming an interrupted run
    #[arg(long, help_heading = "Safety")]
    pub no_resume: bool,
    /// Tell more: what becomes of every tensor
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
    #[command(flatten)]
    pub away: away::Options,
    #[command(flatten)]
    pub show: Show,
    /// What is done with the plan.
    #[arg(skip)]
    pub errand: Errand,
}

impl Run {
    /// The place elsewhere that was typed as the output, if it is one; then `typed` becomes a path here.
    pub fn away(&self, typed: &mut Option<PathBuf>, verb: &str, access: &Access) -> Result<Option<Away>> {
        let stays = typed.as_deref().is_none_or(|path| !is_away(path));
        let away = Away::of(typed, verb, &self.away, &self.errand, access)?;
        if stays {
            report::print_notes(&self.away.idle(), self.show.quiet);
        }
        Ok(away)
    }
}

/// What is shown on stderr.
#[derive(clap::Args)]
#[command(next_help_heading = "Progress")]
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

/// Shows on a terminal how work goes on that has no plan and no option for it.
pub(super) fn reading() -> Arc<dyn Stages> {
    let terminal = std::io::stderr().is_terminal();
    Stage::new(if terminal { report::Show::Auto } else { report::Show::None })
}

/// What is carried out, beside the plans.
pub(super) struct Order<'a> {
    /// The options that decide the bytes.
    pub words: &'a str,
    /// What was typed.
    pub command: &'a str,
    /// What a merge computes.
    pub formula: Option<&'static str>,
    /// The recipe of a merge.
    pub recipe: Option<&'a str>,
    pub beside: &'a Beside,
    pub run: &'a Run,
    /// How the inputs are read that lie elsewhere.
    pub access: &'a Access,
    /// Where the outputs go that do not stay here.
    pub away: Option<&'a Away>,
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
    let pool = thread_pool(run.threads)?;
    let files = files(plans, order)?;
    let resume = if run.no_resume { Resume::Never } else { Resume::IfSame };
    let beside: Vec<File> = files.iter().map(|(file, _)| file.clone()).collect();
    let mut shipment = pool.install(|| shipment(plans, order, &beside))?;
    let is_written = shipment.as_ref().is_some_and(|shipment| shipment.is_whole);
    // What costs nothing comes first; that something exists does not keep a plan from being shown.
    let mut exists = shipment.as_ref().map_or(Ok(Vec::new()), |s| s.taken(&beside))?;
    // What lies in the folder of a shipment was written for it.
    let own = order.away.map(|away| away.stage.as_path());
    let work = Work { options: order.words, resume, force: run.force, own, beside, plan: None };
    if !is_written {
        exists.extend(pipeline::look(plans, &work)?);
    }
    if run.dry_run {
        let told: Vec<String> = exists.iter().map(|e| e.to_string().replace("\n  ", "; ")).collect();
        report::print_notes(&told, run.show.quiet);
    } else if let Some(e) = Error::all(exists) {
        return Err(e);
    }
    show(plans, run, pool.current_num_threads())?;
    shipment.iter().for_each(|shipment| shipment.tell());
    let start = Instant::now();
    let notes = if is_written { Vec::new() } else { pool.install(check)? };
    report::print_notes(&notes, run.show.quiet);
    if run.dry_run {
        return Ok(());
    }
    shipment.iter_mut().try_for_each(|shipment| shipment.prepare())?;
    let requests = signals::listen()?;
    if !is_written {
        pool.install(|| write(plans, order, &work, &notes, &files))?;
    }
    let elapsed = start.elapsed();
    let summary = |plan: &Plan, path: &Path| {
        if !is_written && !run.show.quiet {
            report::say(&report::summary_text(plan, path, elapsed));
        }
    };
    if let Some(shipment) = &mut shipment {
        plans.iter().for_each(|(plan, path)| summary(plan, path));
        pool.install(|| shipment.send(|| Ok(())))?;
        drop(requests);
        return shipment.conclude(plans);
    }
    drop(requests);
    conclude(plans, order, &files, summary)
}

/// What is taken elsewhere when it is written, if that was typed.
pub(super) fn shipment<'a>(
    plans: &[(Plan, PathBuf)],
    order: &Order<'a>,
    beside: &[File],
) -> Result<Option<Shipment<'a>>> {
    order.away.map(|away| Shipment::new(away, plans, how(order), beside)).transpose()
}

/// What an upload is told of the order.
fn how<'a>(order: &Order<'a>) -> How<'a> {
    let Run { force, no_resume, json, show, .. } = order.run;
    How {
        words: order.words,
        force: *force,
        no_resume: *no_resume,
        wants_card: order.beside.card,
        show: show.how(),
        quiet: show.quiet,
        json: *json,
        access: order.access,
    }
}

/// Carries the plans out.
fn write(
    plans: &[(Plan, PathBuf)],
    order: &Order<'_>,
    work: &Work<'_>,
    notes: &[String],
    files: &[(File, Option<String>)],
) -> Result<()> {
    let stop = || signals::came().is_some();
    let how = order.run.show.how();
    let progress = report::Progress::new(plans.iter().map(|(plan, _)| plan), how, stop);
    let done =
        pipeline::write_beside(plans, work, &progress, |places| contents(plans, places, order, notes, files));
    progress.finish();
    done
}

/// Says what there is now.
fn conclude(
    plans: &[(Plan, PathBuf)],
    order: &Order<'_>,
    files: &[(File, Option<String>)],
    summary: impl Fn(&Plan, &Path),
) -> Result<()> {
    let run = order.run;
    if !run.show.quiet {
        elsewhere::print_traffic(order.access);
    }
    for (plan, path) in plans {
        summary(plan, path);
        if !run.json {
            // Of several files the first, by which the others are found.
            stdout::told(&shown(&plan.first(path)?).to_string())?;
        }
    }
    if !run.show.quiet {
        let names: Vec<String> = files.iter().map(|(f, _)| format!("wrote {}", shown(&f.path))).collect();
        report::print_notes(&names, false);
        order.beside.print_start(plans)?;
    }
    Ok(())
}

/// Shows the plans.
pub(super) fn show(plans: &[(Plan, PathBuf)], run: &Run, threads: usize) -> Result<()> {
    if !run.show.quiet {
        report::say(&report::plan_text(plans, threads));
        plans.iter().filter(|_| run.verbose).for_each(|(plan, _)| report::rows(&report::tensors_text(plan)));
    }
    if run.json {
        plans.iter().try_for_each(|(plan, path)| {
            stdout::told(&report::printable(&report::plan_json(plan, path, threads).to_string()))
        })?;
    }
    Ok(())
}

/// What is written beside the outputs: the Modelfiles and cards, and the report last.
pub(super) fn files(plans: &[(Plan, PathBuf)], order: &Order<'_>) -> Result<Vec<(File, Option<String>)>> {
    let mut files = order.beside.files(plans, order.away)?;
    if let Some(report) = &order.run.report {
        report::check_report(report)?;
        files.push((File { path: report.clone(), what: "the report", replaces: false }, None));
    }
    Ok(files)
}

/// The contents of those files, of outputs that are whole and lie at `places`.
pub(super) fn contents(
    plans: &[(Plan, PathBuf)],
    places: &[Vec<PathBuf>],
    order: &Order<'_>,
    notes: &[String],
    files: &[(File, Option<String>)],
) -> Result<Vec<Vec<u8>>> {
    if files.iter().all(|(_, text)| text.is_some()) {
        return Ok(files.iter().flat_map(|(_, text)| text).map(|text| text.clone().into_bytes()).collect());
    }
    if order.run.report.is_some() {
        plans.iter().try_for_each(|(plan, _)| plan.measure_rest(signals::check))?;
    }
    let finished = Finished::new(plans, places, order.command, notes)?;
    let Order { command, formula, recipe, .. } = *order;
    let made = Making { command, formula, recipe };
    let content = |(file, text): &(File, Option<String>)| match text {
        Some(text) => Ok(text.clone()),
        None if order.run.report.as_ref() == Some(&file.path) => report::report(&finished, &file.path),
        None => Beside::card(&file.path, &finished, made, order.away),
    };
    files.iter().map(|file| content(file).map(String::into_bytes)).collect()
}

/// The types of the outputs; with a budget none need be given.
pub(super) fn types(given: &[Choice<Type>]) -> &[Choice<Type>] {
    if given.is_empty() { &[Choice(Type::Auto)] } else { given }
}

/// Refuses at once an output that was typed, exists, and may not be replaced: before models are sampled for a budget.
pub(super) fn early(typed: Option<&Path>, run: &Run) -> Result<()> {
    match typed.filter(|path| !run.dry_run && !ggraft_formats::write::is_under_way(path)) {
        Some(path) => is_free(path, run.force),
        None => Ok(()),
    }
}

/// Refuses an output that exists and may not be replaced.
pub(super) fn is_free(path: &Path, force: bool) -> Result<()> {
    match path.is_file() && !force {
        false => Ok(()),
        true => Err(Error::new(Kind::Failure, "the output exists")
            .file(path)
            .hint("give --force to replace it, or another name with -o")),
    }
}

/// The number of `-t`, which elsewhere stands for a type.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| String::from("expected a number of threads, such as 8; the type is given with --type"))
}

/// A pool of `threads`, by default one for each core.
pub(super) fn thread_pool(threads: Option<usize>) -> Result<rayon::ThreadPool> {
    if threads == Some(0) {
        return Err(Error::usage("--threads must be at least 1"));
    }
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0));
    builder.build().map_err(|e| Error::new(Kind::Failure, format!("the threads cannot be started: {e}")))
}

/// The current folder, by its true name.
pub(super) fn here() -> Result<PathBuf> {
    let dot = Path::new(".");
    dot.canonicalize().map_err(|e| Error::io(&e, dot))
}

/// Makes `folder` the current one, to which relative paths belong; its true name.
pub(super) fn go_to(folder: &Path) -> Result<PathBuf> {
    std::env::set_current_dir(folder).map_err(|e| {
        Error::io(&e, folder)
            .hint("the plan was typed in this folder; it must lie where it lay, seen from the plan")
    })?;
    here()
}
