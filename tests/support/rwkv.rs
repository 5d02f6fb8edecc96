//! A small vocabulary in RWKV's `rwkv_vocab_v20230424.txt`.

use std::path::Path;

/// Behind the bytes: literals as Python prints them, and how many bytes each has; the fifth ends turns.
const WORDS: &[(&str, usize)] = &[
    (r"'\t\t'", 2),
    ("' the'", 4),
    (r"'\r\n'", 2),
    (r#""'s""#, 2),
    (r"'\n\n'", 2),
    ("'the'", 3),
    ("'日本'", 6),
    (r"b'\xe6\x97'", 2),
    (r"'\\\\'", 2),
    (r#"'\'"'"#, 2),
    (r"'\xa0\u3000'", 5),
    ("' a b'", 4),
];

/// Writes it, and says how many rows a model of it has; some are of no token.
pub fn write(dir: &Path) -> usize {
    let byte = |byte: u8| match char::from(byte) {
        '\t' => String::from(r"'\t'"),
        '\n' => String::from(r"'\n'"),
        '\r' => String::from(r"'\r'"),
        '\\' => String::from(r"'\\'"),
        '\'' => String::from("\"'\""),
        c if c.is_ascii_graphic() || c == ' ' => format!("'{c}'"),
        c if c.is_ascii() => format!("'\\x{byte:02x}'"),
        _ => format!("b'\\x{byte:02x}'"),
    };
    let bytes = (0..=255u8).map(|b| (byte(b), 1));
    let all = bytes.chain(WORDS.iter().map(|(word, length)| (word.to_string(), *length)));
    let lines = all.zip(1..).map(|((word, length), id)| format!("{id} {word} {length}\n"));
    let text: String = lines.collect();
    std::fs::write(dir.join("rwkv_vocab_v20230424.txt"), &text).unwrap();
    1 + text.lines().count() + 3
}
