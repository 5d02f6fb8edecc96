//! Small vocabularies in Mistral's `tekken.json`.

use super::tokenizer::write_json;
use serde_json::{Value, json};
use std::path::Path;

const PATTERN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Tokens beyond those of the bytes; some can be made in more than one way.
const TOKENS: &[&str] = &[
    "th", "he", "in", "er", "the", " t", "an", " the", "ing", "on", " a", "and", " and", "ed", "re", "한",
    "국", "한국",
];

/// So many special tokens, of which files that list none have twenty.
const SPECIAL: usize = 24;

/// How many ids there are.
pub fn len() -> usize {
    SPECIAL + 256 + bytes().count()
}

fn bytes() -> impl Iterator<Item = Vec<u8>> {
    // The bytes of a syllable are merged one by one.
    let half = |text: &str| text.as_bytes()[..2].to_vec();
    let halves = [half("한"), half("국")];
    let (words, syllables) = TOKENS.split_at(TOKENS.len() - 3);
    let words = words.iter().map(|t| t.as_bytes().to_vec());
    words.chain(halves).chain(syllables.iter().map(|t| t.as_bytes().to_vec()))
}

/// Writes it, of this version.
pub fn write(dir: &Path, version: &str) {
    let all = (0..=255u8).map(|byte| vec![byte]).chain(bytes());
    let token = |(rank, bytes): (usize, Vec<u8>)| {
        let text = std::str::from_utf8(&bytes).map_or(Value::Null, Value::from);
        json!({"rank": rank, "token_bytes": base64(&bytes), "token_str": text})
    };
    let mut vocab: Vec<Value> = all.enumerate().map(token).collect();
    // More than are used, as published files have.
    vocab.push(json!({"rank": vocab.len(), "token_bytes": base64(b"ingx"), "token_str": "ingx"}));
    let config = json!({"pattern": PATTERN, "num_vocab_tokens": vocab.len(), "default_vocab_size": len(),
        "default_num_special_tokens": SPECIAL, "version": version});
    write_json(&dir.join("tekken.json"), &json!({"config": config, "vocab": vocab}));
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
