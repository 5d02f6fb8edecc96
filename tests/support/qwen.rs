//! A small vocabulary in QWen's `qwen.tiktoken`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::Path;

/// Behind the bytes; `ing` could be made in two ways.
const WORDS: &[&[u8]] =
    &[b"in", b"ng", b"th", b"the", b" t", b" the", b"ing", b"\xe6\x97", "日".as_bytes(), b"  "];

/// Writes it, and says how many rows a model of it has; some are of no token.
pub fn write(dir: &Path) -> usize {
    // QWen's bytes begin with those that are seen.
    let bytes = (33..=126u8).chain(127..=255).chain(0..=32).map(|byte| vec![byte]);
    let all = bytes.chain(WORDS.iter().map(|word| word.to_vec()));
    let lines = all.zip(0..).map(|(token, rank)| format!("{} {rank}\n", STANDARD.encode(token)));
    let text: String = lines.collect();
    std::fs::write(dir.join("qwen.tiktoken"), &text).unwrap();
    text.lines().count() + 208 + 5
}
