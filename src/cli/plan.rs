//! `ggraft plan VERB … --jobs N --plan FOLDER`: plans what the verb would do, and divides it into jobs. With `--emit` it tells a
//! scheduler of them; without a verb of a plan that is there.

use super::errand::{Ask, Errand};
use super::verb::Verb;
use super::{command, stdout};
use crate::jobs::Folder;
use crate::jobs::cost::Speed;
use crate::jobs::emit::{SCHEDULERS, Scheduler, Terms};
use crate::jobs::form::MOST;
use crate::recipe::Size;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ggraft_formats::{Error, Result};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    how: How,
}

/// How the work is divided. All of them take a value: `words` leaves both out.
#[derive(clap::Args)]
#[command(next_help_heading = "Jobs")]
struct How {
    /// How many jobs
    #[arg(long, global = true, value_name = "N", value_parser = jobs)]
    jobs: Option<usize>,
    /// The folder of the plan, on a file system that all machines share
    #[arg(long, global = true, value_name = "FOLDER")]
    plan: Option<PathBuf>,
    /// Print what a scheduler is told: a script for sbatch, an Indexed Job, or a script of the AWS command line
    #[arg(long, global = true, value_name = "SCHEDULER", value_parser = schedulers())]
    emit: Option<&'static Scheduler>,
    /// Cores of a job, by which the work is balanced and which are asked for
    #[arg(long, global = true, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u64).range(1..))]
    cores: u64,
    /// Bytes that a job reads in a second, by which the work is balanced
    #[arg(long, global = true, value_name = "SIZE", default_value = "500MB")]
    read_speed: Size,
    #[command(flatten)]
    terms: Terms,
}

/// The options that are not the verb's.
const OURS: [&str; 8] =
    ["--jobs", "--plan", "--emit", "--cores", "--read-speed", "--image", "--volume", "--queue"];

/// Words that change neither what is planned nor what jobs write: the same plan is the same without them.
const SILENT: [&str; 6] = ["-q", "--quiet", "-v", "--verbose", "--json", "--no-resume"];

fn jobs(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (1..=MOST).contains(n));
    number.ok_or_else(|| format!("expected a number from 1 to {MOST}"))
}

fn schedulers() -> impl TypedValueParser<Value = &'static Scheduler> {
    let names = PossibleValuesParser::new(SCHEDULERS.iter().map(|s| s.name));
    names.map(|name| SCHEDULERS.iter().find(|s| s.name == name).copied().unwrap_or(SCHEDULERS[0]))
}

pub(super) fn run(args: Args) -> Result<()> {
    let How { plan, emit, .. } = &args.how;
    let folder = plan.clone().ok_or_else(|| {
        Error::usage("the folder of the plan is missing").hint("give --plan, such as --plan run.plan")
    })?;
    let print = |scheduler: &Scheduler| {
        let folder = Folder::at(&folder)?;
        stdout::print(scheduler.emit(&folder.read()?, &folder, &args.how.terms)?.as_bytes())
    };
    let Some(mut verb) = args.verb else {
        return match emit {
            Some(scheduler) => print(scheduler),
            None => Err(Error::usage("neither a verb nor a scheduler is given")
                .expected("plan merge, convert or quantize, or --emit")),
        };
    };
    let jobs = args
        .how
        .jobs
        .ok_or_else(|| Error::usage("the number of jobs is missing").hint("give --jobs, such as --jobs 8"))?;
    let words = words(command::all()?);
    command::stand_for(&words);
    let speed = Speed { cores: args.how.cores, reads: args.how.read_speed.0 };
    let settings = verb.settings();
    let is_dry = settings.dry_run;
    settings.errand =
        Errand::Plan(Box::new(Ask { words, jobs, folder: folder.clone(), speed, emits: emit.is_some() }));
    verb.run()?;
    match emit {
        Some(scheduler) if !is_dry => print(scheduler),
        _ => Ok(()),
    }
}

/// The verb and its words, of what was typed.
fn words(typed: Vec<String>) -> Vec<String> {
    let mut words = Vec::new();
    let mut typed = typed.into_iter().skip_while(|word| word != "plan").skip(1);
    while let Some(word) = typed.next() {
        match word.split_once('=').map_or(word.as_str(), |(name, _)| name) {
            name if SILENT.contains(&name) => {}
            name if !OURS.contains(&name) => words.push(word),
            name if name == word => _ = typed.next(),
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_verb_are_what_is_left() {
        let typed = "ggraft plan --jobs 8 convert in --type Q8_0 --plan=run.plan -q -o out.gguf --emit k8s";
        let left = words(typed.split(' ').map(String::from).collect());
        assert_eq!(left.join(" "), "convert in --type Q8_0 -o out.gguf");
    }

    #[test]
    fn all_of_our_options_take_a_value() {
        use clap::Args as _;
        let command = How::augment_args(clap::Command::new("plan"));
        let names: Vec<String> =
            command.get_arguments().map(|a| format!("--{}", a.get_long().unwrap())).collect();
        assert_eq!(names, OURS);
        assert!(command.get_arguments().all(|a| a.get_action().takes_values() && a.get_short().is_none()));
    }
}
