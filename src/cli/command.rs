//! The command that was typed, as a model card tells it: the options in the order of the help, without those that
//! do not change the output, and of every path only the last part, so that the card is the same anywhere.

use super::Cli;
use crate::text::shell;
use clap::{CommandFactory, ValueHint};
use ggraft_formats::source::{is_named, shown};
use ggraft_formats::{Error, Result};
use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;

/// Options that say how the work is done, or where the results go.
const SILENT: [&str; 19] = [
    "threads",
    "force",
    "dry_run",
    "json",
    "quiet",
    "verbose",
    "progress",
    "report",
    "modelfile",
    "card",
    "output",
    "no_resume",
    "download",
    "connections",
    "fetch_memory",
    "no_lazy",
    "use_temp_file",
    "staging",
    "private",
];

/// The words that are carried out, where those of this process only say for what.
static INSTEAD: OnceLock<Vec<String>> = OnceLock::new();

/// From here on the verb and its words stand for what was typed.
pub(super) fn stand_for(words: &[String]) {
    _ = INSTEAD.set([&[String::from("ggraft")], words].concat());
}

/// What counts as typed.
fn words() -> Vec<OsString> {
    match INSTEAD.get() {
        Some(words) => words.iter().map(OsString::from).collect(),
        None => std::env::args_os().collect(),
    }
}

/// What was typed, as text.
///
/// # Errors
/// It is none, so no plan can tell it.
pub(super) fn all() -> Result<Vec<String>> {
    let text = |word: OsString| {
        word.into_string().map_err(|word| {
            Error::usage("a plan tells what was typed, and this is no text").found(word.to_string_lossy())
        })
    };
    std::env::args_os().map(text).collect()
}

/// What was typed after `ggraft`, without the options of these ids.
pub(super) fn typed(verb: &str, but: &[&str]) -> String {
    let mut words = vec![String::from("ggraft"), verb.to_string()];
    let command = Cli::command();
    let matches = command.clone().try_get_matches_from(self::words());
    let (Ok(matches), Some(command)) = (matches, command.find_subcommand(verb)) else {
        return words.join(" ");
    };
    let Some(matches) = matches.subcommand_matches(verb) else { return words.join(" ") };
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let given = matches.try_contains_id(id).unwrap_or(false)
            && matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
        if !given || SILENT.contains(&id) || but.contains(&id) {
            continue;
        }
        let option = arg.get_long().map(|long| format!("--{long}"));
        if !arg.get_action().takes_values() {
            words.extend(option);
            continue;
        }
        for value in matches.get_raw(id).into_iter().flatten() {
            let value = value.to_string_lossy();
            words.extend(option.clone());
            words.push(shell(&match arg.get_value_hint() {
                ValueHint::AnyPath => last_part(&value),
                ValueHint::Other => parts(&value),
                _ => value.into_owned(),
            }));
        }
    }
    words.join(" ")
}

/// Whether an option of this id was typed, and has not its default.
pub(super) fn is_typed(verb: &str, id: &str) -> bool {
    let matches = Cli::command().try_get_matches_from(words());
    let matches = matches.as_ref().ok().and_then(|matches| matches.subcommand_matches(verb));
    let source = matches.filter(|m| m.try_contains_id(id).unwrap_or(false)).and_then(|m| m.value_source(id));
    source == Some(clap::parser::ValueSource::CommandLine)
}

/// The last part of a path. A word that is no path, such as a type, is its own; so is a name of the hub, and an address,
/// but for its secrets.
fn last_part(path: &str) -> String {
    if is_named(Path::new(path)) {
        return shown(Path::new(path)).to_string_lossy().into_owned();
    }
    path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default().to_string()
}

/// `CHAT`, `BASE` and `W`: colons of addresses and of their ports are none of ours.
pub(super) fn vector_parts(text: &str) -> Option<[&str; 3]> {
    let (models, w) = text.rsplit_once(':')?;
    let is_port =
        |rest: &str| rest.split('/').next().is_some_and(|n| n.parse::<u16>().is_ok()) && rest.contains('/');
    let ours = |at: &usize| {
        let rest = &models[at + 1..];
        !rest.starts_with("//") && !is_port(rest)
    };
    let at = models.match_indices(':').map(|(at, _)| at).rfind(ours)?;
    Some([&models[..at], &models[at + 1..], w])
}

/// `ADAPTER` and `W`, if a weight was typed behind the last colon.
pub(super) fn adapter_parts(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once(':').filter(|(path, w)| !path.is_empty() && w.parse::<f64>().is_ok())
}

/// `CHAT:BASE:W` with the last parts of its paths.
fn parts(value: &str) -> String {
    match vector_parts(value) {
        Some(parts) => parts.map(last_part).join(":"),
        None => match adapter_parts(value) {
            Some((path, w)) => format!("{}:{w}", last_part(path)),
            None => last_part(value),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_reduced_to_their_last_parts() {
        assert_eq!(parts("/a/b/chat:../base/:0.5"), "chat:base:0.5");
        assert_eq!(parts(r"C:\models\chat:base:1"), "chat:base:1");
        assert_eq!(parts("hf://org/chat:org/base@v1:1"), "hf://org/chat:hf://org/base@v1:1");
        assert_eq!(
            parts("https://h:8443/x.gguf?sig=s:https://h:8443/y.gguf:1"),
            "https://h:8443/x.gguf:https://h:8443/y.gguf:1"
        );
        assert_eq!(last_part("a/b/cp/"), "cp");
        assert_eq!(last_part("chatml"), "chatml");
    }
}
