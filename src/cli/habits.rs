//! What users of other programs type here: llama.cpp's, mergekit's, Ollama's and the hub's. A word that asks for nothing
//! here is taken, every other is answered with what to do instead; only then comes the nearest word of ours.

use super::{Cli, foreign, verbs};
use crate::output::target::Type;
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use ggraft_formats::Error;
use std::path::Path;

/// Options of convert_hf_to_gguf that say how its work is done, so that its commands run here as they are.
#[derive(clap::Args)]
pub(super) struct Taken {
    /// Weights are read when they are written, always
    #[arg(long, hide = true)]
    no_lazy: bool,
    /// Nothing is kept in memory for which a file could stand
    #[arg(long, hide = true)]
    use_temp_file: bool,
}

impl Taken {
    /// What to say of those that were typed.
    pub fn notes(&self) -> Vec<String> {
        let said = [(self.no_lazy, "--no-lazy"), (self.use_temp_file, "--use-temp-file")];
        let typed: Vec<&str> = said.iter().filter(|(typed, _)| *typed).map(|(_, word)| *word).collect();
        match typed.is_empty() {
            true => Vec::new(),
            false => {
                vec![format!("{} has no effect: weights are read a few rows at a time", typed.join(" "))]
            }
        }
    }
}

/// What is said of words that clap does not take, if there is something better to say than it does.
pub(super) fn answer(e: &clap::Error, typed: &[String]) -> Option<Error> {
    let word = invalid(e)?;
    match e.kind() {
        ErrorKind::InvalidSubcommand => verb(&word),
        ErrorKind::UnknownArgument if word.starts_with('-') => option(&word, typed),
        ErrorKind::UnknownArgument => positional(&word, typed),
        ErrorKind::ArgumentConflict if word == "[RECIPE]" => {
            // A word behind an option is its value.
            let alone = typed.windows(2).filter(|pair| !pair[0].starts_with('-'));
            alone.filter_map(|pair| kind(&pair[1])).next()
        }
        _ => None,
    }
}

/// The error of clap without what misleads: that an option may have been meant as a value.
pub(super) fn plain(mut e: clap::Error) -> clap::Error {
    let misleads = match e.get(ContextKind::Suggested) {
        Some(ContextValue::StyledStrs(tips)) => tips.iter().any(|tip| tip.to_string().contains("as a value")),
        _ => false,
    };
    if misleads && e.kind() == ErrorKind::UnknownArgument {
        e.remove(ContextKind::Suggested);
    }
    e
}

fn invalid(e: &clap::Error) -> Option<String> {
    let context = e.get(ContextKind::InvalidSubcommand).or_else(|| e.get(ContextKind::InvalidArg));
    match context? {
        ContextValue::String(word) => Some(word.clone()),
        _ => None,
    }
}

/// A verb that is none of ours.
fn verb(word: &str) -> Option<Error> {
    let wrong = || Error::usage(format!("there is no verb '{word}'"));
    if let Some(instead) = foreign::verb(word) {
        return Some(wrong().hint(instead));
    }
    let path = Path::new(word);
    path.exists().then(|| {
        let verbs = verbs().into_iter().filter(|verb| !verb.contains(' ')).collect::<Vec<_>>().join(", ");
        wrong().hint(format!(
            "a verb comes first, such as `ggraft inspect {word}` or `ggraft convert {word} --type Q4_K_M`; the verbs are {verbs}"
        ))
    })
}

/// An option that the verb does not have.
fn option(word: &str, typed: &[String]) -> Option<Error> {
    let name = word.split('=').next().unwrap_or(word);
    let verb = typed.get(1).map_or("", String::as_str);
    let wrong = || Error::usage(format!("{} has no option {name}", described(verb)));
    if verb.starts_with('-') {
        let owner =
            Cli::command().get_subcommands().find(|verb| has(verb, name)).map(|v| v.get_name().to_string());
        return owner.map(|verb| wrong().hint(format!("a verb comes first: ggraft {verb} {name} …")));
    }
    foreign::option(verb, name).map(|instead| wrong().hint(instead))
}

fn described(verb: &str) -> String {
    if verb.is_empty() || verb.starts_with('-') { String::from("ggraft") } else { format!("ggraft {verb}") }
}

fn has(verb: &clap::Command, option: &str) -> bool {
    let long = option.trim_start_matches('-');
    verb.get_arguments().any(|arg| arg.get_long() == Some(long))
}

/// A word too many: models that were not told by their options, a type, or an output.
fn positional(word: &str, typed: &[String]) -> Option<Error> {
    let verb = typed.get(1)?.as_str();
    if let Some(error) = kind(word) {
        return Some(error);
    }
    let wrong = || Error::usage(format!("ggraft {verb} does not take '{word}' here"));
    match verb {
        "merge" => Some(wrong().hint(models(typed))),
        "convert" | "adapter" => Some(
            wrong().hint(format!("the output is named with -o {word}; one model is converted at a time")),
        ),
        "inspect" | "verify" | "hash" => Some(wrong().hint("give one model at a time")),
        _ => None,
    }
}

/// How the models of a merge are told that were typed one after the other.
pub(super) fn models(typed: &[String]) -> String {
    let words: Vec<&str> =
        typed.iter().skip(2).map(String::as_str).take_while(|word| !word.starts_with('-')).collect();
    let (base, chat, onto) = match words[..] {
        [base, chat, onto] => (base, chat, onto),
        _ => ("BASE", "CHAT", "CP"),
    };
    format!("each model is named: ggraft merge --base {base} --chat {chat} --onto {onto} --type Q4_K_M")
}

/// The answer to a type that stands where none is taken.
fn kind(word: &str) -> Option<Error> {
    let is_type = word.parse::<u64>().is_err() && word.split(',').all(|word| Type::parse(word).is_ok());
    is_type.then(|| {
        Error::usage(format!("'{word}' is a type, and is not taken here")).hint(format!("give --type {word}"))
    })
}
