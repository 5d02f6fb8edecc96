//! Lines on stderr: wrapped where the terminal ends, and coloured where they must not be missed. Elsewhere than on a
//! terminal nothing is wrapped, unless COLUMNS says how wide it is, and nothing is coloured; NO_COLOR is kept.

use console::{Term, measure_text_width, style};
use ggraft_formats::error::Printable;
use std::io::Write;

/// What stands before the rows of a table, which are never wrapped.
const ROW: &str = "  ";
/// Narrower than this nothing can be read anyway.
const NARROWEST: usize = 20;

/// Prints text, of which nothing is obeyed: lines, of which each is wrapped.
pub fn say(text: &str) {
    let width = width();
    let mut out = std::io::stderr().lock();
    for line in text.lines() {
        // A closed stderr must not stop the work.
        _ = writeln!(out, "{}", coloured(&wrapped(line, width)));
    }
}

/// Prints the rows of a table as they are.
pub fn rows(text: &str) {
    _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Prints notes, a line each, unless nothing is to be printed.
pub fn print_notes(notes: &[String], quiet: bool) {
    notes.iter().filter(|_| !quiet).for_each(|note| say(&Printable(note).to_string()));
}

/// How wide stderr is, if it is known.
pub(super) fn width() -> Option<usize> {
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    let of_terminal = Term::stderr().size_checked().map(|(_, columns)| usize::from(columns));
    of_terminal.or_else(columns).filter(|width| *width >= NARROWEST)
}

/// A line with breaks between its words; what it goes on with is indented.
fn wrapped(line: &str, width: Option<usize>) -> String {
    let Some(width) = width.filter(|_| !line.starts_with(ROW)) else { return line.to_string() };
    let (mut out, mut used) = (String::new(), 0);
    for word in line.split(' ') {
        let length = measure_text_width(word);
        if used > 0 && used + 1 + length > width {
            out += "\n  ";
            used = ROW.len();
        } else if !out.is_empty() {
            out.push(' ');
            used += 1;
        }
        out += word;
        used += length;
    }
    out
}

/// The line with its first word in colour, if that says how bad it is.
fn coloured(line: &str) -> String {
    let first = |word: &str| line.strip_prefix(word);
    if let Some(rest) = first("error:") {
        format!("{}{rest}", style("error:").red().bold().for_stderr())
    } else if let Some(rest) = first("warning:") {
        format!("{}{rest}", style("warning:").yellow().bold().for_stderr())
    } else {
        line.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_never_broken_and_rows_never_wrapped() {
        let text = "note: a-name-that-is-longer-than-all 말이 길면 다음 줄로 넘어간다";
        assert_eq!(
            wrapped(text, Some(20)),
            "note:\n  a-name-that-is-longer-than-all\n  말이 길면 다음\n  줄로 넘어간다"
        );
        assert_eq!(wrapped(text, None), text);
        assert_eq!(
            wrapped("  a row of a table is not wrapped", Some(20)),
            "  a row of a table is not wrapped"
        );
        for width in [20, 33, 80] {
            let most = wrapped("the quick brown fox jumps over the lazy dog", Some(width));
            assert!(most.lines().all(|line| line.len() <= width), "{most}");
        }
    }

    #[test]
    fn what_is_not_a_terminal_gets_no_colour() {
        assert_eq!(coloured("warning: x"), "warning: x");
    }
}
