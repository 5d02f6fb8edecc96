//! The verbs whose plans jobs can carry out, run for any errand: as they are typed behind `ggraft plan`, and as a plan
//! tells their words.

use super::errand::Errand;
use super::options::{Run, Show};
use super::{command, convert, examples, merge, quantize};
use clap::{Parser, Subcommand};
use ggraft_formats::{Error, Result};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Plan a merge, in the words of `ggraft merge`
    #[command(after_help = examples::PLAN)]
    Merge(Box<merge::Args>),
    /// Plan a conversion, in the words of `ggraft convert`
    #[command(after_help = examples::PLAN)]
    Convert(Box<convert::Args>),
    /// Plan a quantization, in the words of `ggraft quantize`
    #[command(after_help = examples::PLAN)]
    Quantize(Box<quantize::Args>),
}

/// The words of a plan.
#[derive(Parser)]
#[command(name = "ggraft")]
struct Words {
    #[command(subcommand)]
    verb: Verb,
}

impl Verb {
    /// How the verb does its work.
    pub fn settings(&mut self) -> &mut Run {
        match self {
            Verb::Merge(args) => args.settings(),
            Verb::Convert(args) => args.settings(),
            Verb::Quantize(args) => args.settings(),
        }
    }

    pub fn run(self) -> Result<()> {
        match self {
            Verb::Merge(args) => merge::run(*args),
            Verb::Convert(args) => convert::run(*args),
            Verb::Quantize(args) => quantize::run(*args),
        }
    }
}

/// Runs the words of a plan for an errand.
///
/// # Errors
/// They are none of ours; and those of the verb.
pub(super) fn again(words: &[String], errand: Errand, threads: Option<usize>, show: Show) -> Result<()> {
    let program = std::iter::once("ggraft");
    let parsed = Words::try_parse_from(program.chain(words.iter().map(String::as_str)));
    let mut verb = parsed
        .map_err(|e| Error::invalid("the words of the plan are not understood").found(e.render()))?
        .verb;
    command::stand_for(words);
    let settings = verb.settings();
    settings.errand = errand;
    settings.threads = threads.or(settings.threads);
    settings.json = false;
    settings.show = show;
    verb.run()
}
