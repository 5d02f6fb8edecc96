//! The words a user may type, one file a verb. What may stand for an option comes from the lists of the library.

mod adapter;
mod advise;
mod architectures;
mod away;
mod beside;
mod carrying;
mod command;
mod completions;
mod convert;
mod diff;
mod elsewhere;
mod errand;
mod examples;
mod finish;
mod foreign;
mod habits;
mod hash;
mod imatrix;
mod inspect;
mod job;
mod join;
mod measure;
mod merge;
mod meta;
mod naming;
mod options;
mod plan;
mod quantize;
mod recomputed;
mod running;
mod shipment;
pub mod signals;
mod split;
mod status;
mod stdout;
mod sweep;
mod types;
mod vector;
mod verb;
mod verify;
mod weights;

use crate::report;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use ggraft_formats::{Error, Result};

/// Graft a chat vector onto a model and ship it as GGUF.
#[derive(Parser)]
#[command(name = "ggraft", version, about, arg_required_else_help = true, propagate_version = true, after_help = examples::GGRAFT)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// out = CP + w * (chat - base), written as one GGUF
    #[command(after_help = examples::MERGE)]
    Merge(Box<merge::Args>),
    /// Convert a checkpoint or a GGUF to a GGUF of another type
    #[command(after_help = examples::CONVERT)]
    Convert(convert::Args),
    /// Quantize a GGUF: IN [OUT] TYPE [THREADS], as llama-quantize
    #[command(after_help = examples::QUANTIZE)]
    Quantize(quantize::Args),
    /// Convert a LoRA adapter of PEFT to a GGUF that llama.cpp applies
    #[command(after_help = examples::ADAPTER)]
    Adapter(adapter::Args),
    /// Write the difference of two models as a LoRA adapter of low rank, which llama.cpp applies at run time
    #[command(after_help = examples::VECTOR)]
    Vector(vector::Args),
    /// Plan a merge, conversion or quantization for several jobs, of one machine or of many
    #[command(after_help = examples::PLAN)]
    Plan(Box<plan::Args>),
    /// Do one job of a plan
    #[command(after_help = examples::JOB)]
    Job(job::Args),
    /// Show how far the jobs of a plan are
    #[command(after_help = examples::STATUS)]
    Status(status::Args),
    /// Give the outputs of a plan their names, when all its jobs are done
    #[command(after_help = examples::FINISH)]
    Finish(finish::Args),
    /// Cut a GGUF into parts of a limited size, named as llama.cpp reads them
    #[command(after_help = examples::SPLIT)]
    Split(split::Args),
    /// Put the parts of a split GGUF together
    #[command(after_help = examples::JOIN)]
    Join(join::Args),
    /// Show what a model file or directory holds
    #[command(after_help = examples::INSPECT, visible_aliases = ["show", "info", "dump"])]
    Inspect(inspect::Args),
    /// Compare two models, GGUF or checkpoint: each tensor in figures, and the metadata
    #[command(after_help = examples::DIFF)]
    Diff(diff::Args),
    /// Run models over a text in llama.cpp: perplexity, KL divergence from a reference
    #[command(after_help = examples::MEASURE)]
    Measure(measure::Args),
    /// Run a model over a text in llama.cpp, and write the importance matrix of its weights, as llama-imatrix
    #[command(after_help = examples::IMATRIX)]
    Imatrix(imatrix::Args),
    /// Check a model: structure, finite weights, hashes, a second reader
    #[command(after_help = examples::VERIFY)]
    Verify(verify::Args),
    /// Hash the weights, of each tensor and of the whole, as llama-gguf-hash
    #[command(after_help = examples::HASH)]
    Hash(hash::Args),
    /// Read and edit the metadata of a GGUF
    #[command(after_help = examples::META)]
    Meta(meta::Args),
    /// List the classes of models that are converted, or print the page of one: names, axes, keys
    #[command(after_help = examples::ARCHITECTURES)]
    Architectures(architectures::Args),
    /// Say on which devices a model runs, and in how much memory
    #[command(after_help = examples::ADVISE)]
    Advise(advise::Args),
    /// Print what a shell needs to complete the words of the command line
    #[command(after_help = examples::COMPLETIONS)]
    Completions(completions::Args),
    /// Print or write the manual pages
    #[command(after_help = examples::MAN)]
    Man(completions::ManArgs),
}

/// Every verb as it is typed, such as `merge` and `meta get`.
pub fn verbs() -> Vec<String> {
    let command = Cli::command();
    let of = |verb: &clap::Command| match verb.has_subcommands() {
        true => verb.get_subcommands().map(|v| format!("{} {}", verb.get_name(), v.get_name())).collect(),
        false => vec![verb.get_name().to_string()],
    };
    command.get_subcommands().flat_map(of).collect()
}

/// The words that can be typed, with all that their help says.
fn command() -> clap::Command {
    types::listed(Cli::command())
}

/// Reads what was typed. Help and the version are printed here, and then there is nothing to run.
///
/// # Errors
/// What is printed is not taken; or words of other programs, with what to do instead. Other wrong words end the program.
pub fn parse() -> Result<Option<Cli>> {
    let e = match Cli::try_parse() {
        Ok(cli) => return Ok(Some(cli)),
        Err(e) if e.use_stderr() => {
            let typed: Vec<String> =
                std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
            let Some(answer) = habits::answer(&e, &typed) else { habits::plain(e).exit() };
            return Err(answer);
        }
        Err(e) if e.kind() == ErrorKind::DisplayHelp => {
            command().try_get_matches_from(std::env::args_os()).err().unwrap_or(e)
        }
        Err(e) => e,
    };
    e.print().map_err(|e| stdout::refused(&e))?;
    stdout::print(b"").map(|()| None)
}

/// Says why the work has failed.
pub fn complain(e: &Error) {
    report::say(&format!("error: {e}"));
}

/// Runs what was typed.
pub fn run(cli: Cli) -> Result<()> {
    ggraft_formats::mmap::end_if_truncated();
    match cli.command {
        Command::Merge(args) => merge::run(*args),
        Command::Convert(args) => convert::run(args),
        Command::Quantize(args) => quantize::run(args),
        Command::Adapter(args) => adapter::run(args),
        Command::Vector(args) => vector::run(args),
        Command::Plan(args) => plan::run(*args),
        Command::Job(args) => job::run(args),
        Command::Status(args) => status::run(args),
        Command::Finish(args) => finish::run(args),
        Command::Split(args) => split::run(args),
        Command::Join(args) => join::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Measure(args) => measure::run(args),
        Command::Imatrix(args) => imatrix::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Hash(args) => hash::run(args),
        Command::Meta(args) => meta::run(args),
        Command::Architectures(args) => architectures::run(&args),
        Command::Advise(args) => advise::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => completions::man(&args),
    }
}
