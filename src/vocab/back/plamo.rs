//! A "plamo2" vocabulary as PLaMo's `tokenizer.jsonl`: a line a token, with its score and its type.
//! Specification: `_set_vocab_plamo` of llama.cpp's converter, which reads it.

use super::{Regained, Words};
use crate::vocab::{kinds, plamo};
use ggraft_formats::Result;
use serde_json::{Map, Value, json};

pub fn write(words: &Words<'_>, config: &mut Map<String, Value>, out: &mut Regained) -> Result<()> {
    let used = |id: &usize| words.kind(*id) != kinds::UNUSED;
    let len = (0..words.tokens.len()).rev().find(used).map_or(0, |last| last + 1);
    let mut lines = String::new();
    for id in 0..len {
        let kind = match words.kind(id) {
            kinds::UNKNOWN => "UNKNOWN",
            kinds::CONTROL => "CONTROL",
            kinds::BYTE => "BYTE",
            _ => "NORMAL",
        };
        // The shortest number that is this f32.
        let score = words.score(id).to_string().parse::<f64>().unwrap_or_default();
        lines.push_str(&json!([words.text(id)?, score, kind]).to_string());
        lines.push('\n');
    }
    out.files.push((plamo::FILE.into(), lines.into_bytes()));
    let class = match words.metadata.str("general.architecture") {
        Some("plamo3") => "Plamo3Tokenizer",
        _ => "Plamo2Tokenizer",
    };
    config.insert("tokenizer_class".into(), json!(class));
    Ok(())
}
