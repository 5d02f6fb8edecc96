//! A small vocabulary in PLaMo's `tokenizer.jsonl`.

use super::tokenizer::write_json;
use serde_json::{Value, json};
use std::path::Path;

const SPECIAL: &[(&str, &str)] = &[
    ("<|plamo:unk|>", "UNKNOWN"),
    ("<|plamo:bos|>", "CONTROL"),
    ("<|plamo:eos|>", "CONTROL"),
    ("<|plamo:pad|>", "CONTROL"),
    ("<|plamo:op|>", "NORMAL"),
];

const WORDS: &[&str] = &[" the", "the", "th", " t", "日本", "語", "日本語", "a", "b", "e", "h", "t", " "];

/// How many ids there are.
pub fn len() -> usize {
    SPECIAL.len() + 256 + WORDS.len()
}

pub fn write(dir: &Path) {
    let token =
        |text: &str, score: f32, kind: &str| json!([text, score, kind, text.chars().count(), text.len()]);
    let special = SPECIAL.iter().map(|(text, kind)| token(text, 0.0, kind));
    let bytes = (0..=255u8).map(|byte| token(&format!("<0x{byte:02X}>"), -20.0, "BYTE"));
    let words = WORDS.iter().enumerate().map(|(i, text)| token(text, -1.5 - i as f32, "NORMAL"));
    let lines: Vec<String> = special.chain(bytes).chain(words).map(|line: Value| line.to_string()).collect();
    std::fs::write(dir.join("tokenizer.jsonl"), lines.join("\n") + "\n").unwrap();
    let config = json!({"bos_token": "<|plamo:bos|>", "eos_token": "<|plamo:eos|>", "pad_token": "<|plamo:pad|>",
        "unk_token": "<|plamo:unk|>", "sep_token": null, "tokenizer_class": "PlamoTokenizer"});
    write_json(&dir.join("tokenizer_config.json"), &config);
}
