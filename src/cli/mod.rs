//! The words a user may type, one file a verb. What may stand for an option comes from the lists of the library.

mod beside;
mod command;
mod convert;
mod diff;
mod hash;
mod inspect;
mod join;
mod merge;
mod options;
mod quantize;
pub mod signals;
mod split;
mod verify;
mod weights;

use clap::{Parser, Subcommand};
use ggraft_formats::Result;

/// Graft a chat vector onto a model and ship it as GGUF.
#[derive(Parser)]
#[command(name = "ggraft", version, about, arg_required_else_help = true, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// out = CP + w * (chat - base), written as one GGUF
    Merge(Box<merge::Args>),
    /// Convert a checkpoint or a GGUF to a GGUF of another type
    Convert(convert::Args),
    /// Quantize a GGUF: IN [OUT] TYPE [THREADS], as llama-quantize
    Quantize(quantize::Args),
    /// Cut a GGUF into parts of a limited size, named as llama.cpp reads them
    Split(split::Args),
    /// Put the parts of a split GGUF together
    Join(join::Args),
    /// Show what a model file or directory holds
    Inspect(inspect::Args),
    /// Compare two models, GGUF or checkpoint: each tensor in figures, and the metadata
    Diff(diff::Args),
    /// Check a model: structure, finite weights, hashes, a second reader
    Verify(verify::Args),
    /// Hash the weights, of each tensor and of the whole, as llama-gguf-hash
    Hash(hash::Args),
}

/// Runs what was typed.
pub fn run(cli: Cli) -> Result<()> {
    ggraft_formats::mmap::end_if_truncated();
    match cli.command {
        Command::Merge(args) => merge::run(*args),
        Command::Convert(args) => convert::run(args),
        Command::Quantize(args) => quantize::run(args),
        Command::Split(args) => split::run(args),
        Command::Join(args) => join::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Hash(args) => hash::run(args),
    }
}
