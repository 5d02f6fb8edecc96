//! The command that was typed, as a model card tells it: the options in the order of the help, without those that
//! do not change the output, and of every path only the last part, so that the card is the same anywhere.

use super::Cli;
use clap::CommandFactory;

/// Options that say how the work is done, or where the results go.
const SILENT: [&str; 12] = [
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
];

/// What was typed after `ggraft`, without the options of these ids.
pub(super) fn typed(verb: &str, but: &[&str]) -> String {
    let mut words = vec![String::from("ggraft"), verb.to_string()];
    let command = Cli::command();
    let matches = command.clone().try_get_matches_from(std::env::args_os());
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
            words.extend(option.clone());
            words.push(quoted(&without_paths(&value.to_string_lossy())));
        }
    }
    words.join(" ")
}

/// Whether an option of this id was typed, and has not its default.
pub(super) fn is_typed(verb: &str, id: &str) -> bool {
    let matches = Cli::command().try_get_matches_from(std::env::args_os());
    let matches = matches.as_ref().ok().and_then(|matches| matches.subcommand_matches(verb));
    let source = matches.filter(|m| m.try_contains_id(id).unwrap_or(false)).and_then(|m| m.value_source(id));
    source == Some(clap::parser::ValueSource::CommandLine)
}

/// Paths reduced to their last parts, also in lists such as CHAT:BASE:W.
fn without_paths(value: &str) -> String {
    let last =
        |path: &str| path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or("").to_string();
    value.split(':').map(last).collect::<Vec<_>>().join(":")
}

/// A word that a shell reads as it is.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.,:=+@%/".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_reduced_and_words_quoted() {
        assert_eq!(without_paths("/a/b/chat:../base/:0.5"), "chat:base:0.5");
        assert_eq!(without_paths(r"C:\models\cp"), "C:cp");
        assert_eq!(quoted("blk.*=0.3"), "'blk.*=0.3'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("cp"), "cp");
    }
}
