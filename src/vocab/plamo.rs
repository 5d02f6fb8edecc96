//! PLaMo's `tokenizer.jsonl` -> the tokens of a "plamo2" vocabulary: a line a token, with its score and its type. Serves the door.
//! Specification: `_set_vocab_plamo` of llama.cpp's converter.

use super::files::{self, Files};
use super::table::{self, Table};
use super::{SPACE_PREFIX, Tokenizer, kinds, template};
use bstr::ByteSlice;
use ggraft_formats::{Error, Result};
use serde_json::Value;
use std::collections::HashMap;

pub const FILE: &str = "tokenizer.jsonl";

/// The score of ids that are no tokens.
const UNUSED: f32 = -1000.0;

/// The end of what somebody says.
const TURN_END: &str = "<|plamo:op|>";

/// Whether it is the only tokenizer there.
pub fn is_alone(files: &Files) -> bool {
    let has = |name: &str| files.checkpoint.has(name);
    files.tokenizer.is_none() && !has(files::MODEL) && has(FILE)
}

/// Writes the vocabulary, for a model of so many rows.
pub fn write(files: &Files, size: Option<usize>, out: &mut Tokenizer) -> Result<()> {
    let all = read(files)?;
    let rows = table::rows(size, all.len(), all.len(), &files.path(FILE))?;
    let mut table = Table::holes(rows, true);
    for (id, (text, score, kind)) in all.iter().enumerate() {
        table.set(id, text.as_str(), *kind, *score);
    }
    for id in all.len()..rows {
        table.set(id, format!("[PAD{}]", id - all.len() + 1), kinds::UNUSED, UNUSED);
    }
    table.finish(&files.path(FILE))?;
    table.write("plamo2", "default", &mut out.metadata);
    let ids: HashMap<&str, u32> = all.iter().zip(0..).map(|((text, ..), id)| (text.as_str(), id)).collect();
    for (name, key) in [
        ("bos_token", "bos"),
        ("eos_token", "eos"),
        ("pad_token", "padding"),
        ("sep_token", "seperator"),
        ("unk_token", "unknown"),
    ] {
        let Some(told) = files.config(name) else { continue };
        let text = told.get("content").unwrap_or(told).as_str();
        match text.and_then(|text| ids.get(text)) {
            Some(id) => out.metadata.set(&format!("tokenizer.ggml.{key}_token_id"), *id),
            None => return Err(files.wrong(files::CONFIG, name, "a token of the vocabulary", told)),
        }
    }
    if let Some(id) = ids.get(TURN_END) {
        out.metadata.set("tokenizer.ggml.eot_token_id", *id);
    }
    out.metadata.set(SPACE_PREFIX, false);
    template::write(files, out)
}

/// The text, score and type of each token.
fn read(files: &Files) -> Result<Vec<(String, f32, i32)>> {
    let Some(file) = files.checkpoint.bytes(FILE)? else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (number, line) in file.bytes().lines().enumerate().filter(|(_, line)| !line.trim_ascii().is_empty()) {
        let json: Value = serde_json::from_slice(line).unwrap_or_default();
        let token = || {
            let score = json.get(1)?.as_f64()? as f32;
            Some((json.get(0)?.as_str()?.to_string(), score)).filter(|_| score.is_finite())
        };
        let Some((text, score)) = token() else {
            let place = format!("line {}", number + 1);
            return Err(files.wrong(FILE, &place, "[\"text\", score, \"TYPE\", ...]", &json));
        };
        let kind = match json.get(2).and_then(Value::as_str).unwrap_or("NORMAL") {
            "UNKNOWN" => kinds::UNKNOWN,
            "CONTROL" => kinds::CONTROL,
            "BYTE" => kinds::BYTE,
            _ if text.starts_with("<|plamo:") && text.ends_with("|>") => kinds::CONTROL,
            _ => kinds::NORMAL,
        };
        if all.len() >= super::table::MAX_TOKENS {
            return Err(Error::invalid("too many tokens").file(&files.path(FILE)));
        }
        all.push((text, score, kind));
    }
    Ok(all)
}
