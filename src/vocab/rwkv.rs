//! RWKV's `rwkv_vocab_v20230424.txt` -> the tokens of an "rwkv" vocabulary: a line a token, with its id, its bytes as Python
//! writes them, and how many they are; the runtime reads them in Python's words, too. Serves the door.
//! Specification: `_set_vocab_rwkv_world` of llama.cpp's converter; literals of strings and bytes of Python 3.

use super::files::Files;
use super::special::Special;
use super::table::{self, MAX_TOKENS, Table};
use super::{Tokenizer, kinds, template};
use bstr::ByteSlice;
use ggraft_formats::{Error, Result};
use serde_json::Value;

pub const FILE: &str = "rwkv_vocab_v20230424.txt";

/// The token before all that the file lists; it begins and ends texts.
const BEGIN: &str = "<s>";

/// What ends a turn, and its id in every vocabulary of this name.
const TURN_END: (u32, &[u8]) = (261, b"\n\n");

/// The template of models that have none: they are trained on turns between empty lines.
const TEMPLATE: &str = include_str!("rwkv.jinja");

/// Whether it is the only tokenizer there.
pub fn is_alone(files: &Files) -> bool {
    let has = |name: &str| files.checkpoint.has(name);
    files.tokenizer.is_none() && !has(super::files::MODEL) && has(FILE)
}

/// Writes the vocabulary, for a model of so many rows.
pub fn write(files: &Files, config: &Value, size: Option<usize>, out: &mut Tokenizer) -> Result<()> {
    let all = read(files)?;
    let rows = table::rows(size, 1 << 16, all.len() + 1, &files.path(FILE))?;
    let mut table = Table::holes(rows, false);
    table.set(0, BEGIN, kinds::CONTROL, 0.0);
    for (id, bytes) in (1..).zip(&all) {
        table.set(id, escaped(bytes), kinds::NORMAL, 0.0);
    }
    table.finish(&files.path(FILE))?;
    table.write_as("rwkv", &mut out.metadata);
    let mut special = Special::read(files, config, &[], None, false, &mut out.warnings);
    let (end, text) = TURN_END;
    if all.get(end as usize - 1).is_some_and(|token| token == text) {
        special.id("eot", &end.into(), None, &mut out.warnings);
    }
    // Files name others, which are wrong.
    special.replace("bos", 0);
    special.replace("eos", 0);
    special.write(&mut out.metadata, &mut out.warnings);
    template::write(files, out)?;
    if out.metadata.get("tokenizer.chat_template").is_none() {
        out.metadata.set("tokenizer.chat_template", TEMPLATE.trim_end());
    }
    Ok(())
}

/// The bytes of each token, from id 1 on.
fn read(files: &Files) -> Result<Vec<Vec<u8>>> {
    let Some(file) = files.checkpoint.bytes(FILE)? else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (number, line) in file.bytes().lines().enumerate() {
        let wrong = |expected: &str| {
            files.wrong(FILE, &format!("line {}", number + 1), expected, &line.to_str_lossy().into())
        };
        let token = line.to_str().ok().and_then(|line| {
            let (id, rest) = line.split_once(' ')?;
            let (literal, length) = rest.rsplit_once(' ')?;
            Some((id.parse::<usize>().ok()?, bytes_of(literal)?, length.parse::<usize>().ok()?))
        });
        match token {
            Some((id, bytes, length)) if id == all.len() + 1 && bytes.len() == length => all.push(bytes),
            Some((id, ..)) if id != all.len() + 1 => {
                return Err(wrong("ids that follow each other from 1 on"));
            }
            _ => return Err(wrong("an id, a Python literal, and the number of its bytes")),
        }
        if all.len() >= MAX_TOKENS {
            return Err(Error::invalid("too many tokens").file(&files.path(FILE)));
        }
    }
    Ok(all)
}

/// What a Python literal of a string, in UTF-8, or of bytes stands for.
pub fn bytes_of(literal: &str) -> Option<Vec<u8>> {
    let (of_bytes, quoted) = match literal.strip_prefix('b') {
        Some(rest) => (true, rest),
        None => (false, literal),
    };
    let quote = quoted.chars().next().filter(|c| ['\'', '"'].contains(c))?;
    let inner = quoted.get(1..)?.strip_suffix(quote)?;
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        let (c, is_byte) = match c {
            '\\' => escape(&mut rest, of_bytes)?,
            c if c == quote || of_bytes && !c.is_ascii() => return None,
            c => (c, false),
        };
        match is_byte {
            true => out.push(u8::try_from(u32::from(c)).ok()?),
            false => out.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Some(out)
}

/// What follows a backslash, and whether it is a byte.
fn escape(rest: &mut std::str::Chars<'_>, of_bytes: bool) -> Option<(char, bool)> {
    let digits = match rest.next()? {
        'n' => return Some(('\n', false)),
        'r' => return Some(('\r', false)),
        't' => return Some(('\t', false)),
        c @ ('\\' | '\'' | '"') => return Some((c, false)),
        'x' => 2,
        'u' if !of_bytes => 4,
        'U' if !of_bytes => 8,
        _ => return None,
    };
    let mut code = 0u32;
    for _ in 0..digits {
        code = code.checked_mul(16)?.checked_add(rest.next()?.to_digit(16)?)?;
    }
    Some((char::from_u32(code)?, of_bytes))
}

/// Bytes as Python prints them between the quotes: what is no printable ASCII in hexadecimal.
fn escaped(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { b'"' } else { b'\'' };
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            byte if *byte == quote => text.extend(['\\', char::from(quote)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            byte => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    #[test]
    fn literals_are_read_and_printed_as_python_does() {
        for (literal, bytes, printed) in [
            (r"'\x00'", &b"\0"[..], r"\x00"),
            (r"'\xa0'", "\u{a0}".as_bytes(), r"\xc2\xa0"),
            (r"b'\xa0'", b"\xa0", r"\xa0"),
            (r#""'s""#, b"'s", "'s"),
            (r#"'\'"'"#, b"'\"", r#"\'""#),
            (r"'\\\t\r\n'", b"\\\t\r\n", r"\\\t\r\n"),
            (r"'\u3000e'", "\u{3000}e".as_bytes(), r"\xe3\x80\x80e"),
            ("'語'", "語".as_bytes(), r"\xe8\xaa\x9e"),
        ] {
            assert_eq!(bytes_of(literal).as_deref(), Some(bytes), "{literal}");
            assert_eq!(escaped(bytes), printed, "{literal}");
        }
        for literal in ["", "b", "'", "'a", "a'", "'a'b'", r"'\x0'", r"'\q'", "b'語'", r"'\U00110000'"] {
            assert_eq!(bytes_of(literal), None, "{literal}");
        }
    }

    #[test]
    fn the_template_writes_turns_with_the_last_word_of_the_system_before_them() {
        let mut jinja = minijinja::Environment::new();
        jinja.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        let message = |role: &str, content: &str| context! { role, content };
        let written = |messages: &[minijinja::Value]| {
            jinja.render_str(TEMPLATE.trim_end(), context! { messages, bos_token => "<s>" }).unwrap()
        };
        let turns =
            [message("user", " Hi "), message("assistant", "<think>x</think> Ho"), message("user", "?")];
        let plain = "User: Hi\n\nAssistant: Ho\n\nUser: ?\n\nAssistant:";
        assert_eq!(written(&turns), format!("<s>{plain}"));
        let systems = [message("system", "old"), message("system", "Be brief.")];
        let all = [&systems[..], &turns[..]].concat();
        assert_eq!(written(&all), format!("<s>System: Be brief.\n\n{plain}"));
    }
}
