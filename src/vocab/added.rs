//! Tokens that were added to a trained vocabulary, from the three places that keep them, and how the
//! converter types them. Serves `layers`, which lays them over each other, and `pre`.
//! Specification: `AddedToken` of the `tokenizers` library; convert_hf_to_gguf `does_token_look_special`.

use super::files::{self, Files};
use super::kinds;
use ggraft_formats::{Error, Result};
use serde_json::Value;
use std::collections::HashMap;

/// Where an added token was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `added_tokens` of `tokenizer.json`.
    Tokenizer,
    /// `added_tokens_decoder` of `tokenizer_config.json`.
    Decoder,
    /// `added_tokens.json`, which knows ids only.
    Legacy,
}

impl Origin {
    pub fn file(self) -> &'static str {
        match self {
            Origin::Tokenizer => files::TOKENIZER,
            Origin::Decoder => files::CONFIG,
            Origin::Legacy => files::ADDED,
        }
    }
}

/// One added token.
#[derive(Clone, Debug)]
pub struct Added {
    pub id: u32,
    pub content: String,
    pub special: bool,
    pub normalized: bool,
    /// Whether it takes the spaces before or after it along, or is matched only between words.
    pub reaches: bool,
    pub origin: Origin,
}

impl Added {
    /// A token that is neither special nor normalized, with no id yet.
    pub fn plain(content: &str, origin: Origin) -> Added {
        let content = content.to_string();
        Added { id: 0, content, special: false, normalized: false, reaches: false, origin }
    }

    /// The text and type under which GGUF keeps it.
    pub fn text_and_type(&self) -> (String, i32) {
        if self.special || self.origin != Origin::Legacy && looks_special(&self.content) {
            (self.content.clone(), kinds::CONTROL)
        } else if self.origin == Origin::Legacy {
            (self.content.clone(), kinds::USER_DEFINED)
        } else {
            // The runtime matches user-defined tokens in the raw text, where a space is a space.
            (self.content.replace('\u{2581}', " "), kinds::USER_DEFINED)
        }
    }
}

/// Tokens that GGUF keeps under another text.
pub fn respelled(tokens: &[Added]) -> Vec<&Added> {
    tokens.iter().filter(|token| token.text_and_type().0 != token.content).collect()
}

/// Some models do not mark as special what is; these spellings are always control tokens.
pub fn looks_special(text: &str) -> bool {
    const NAMES: [&str; 4] = ["<pad>", "<mask>", "<2mass>", "[@BOS@]"];
    const BRACKETS: [(&str, &str); 3] = [("<|", "|>"), ("<\u{ff5c}", "\u{ff5c}>"), ("<unused", ">")];
    NAMES.contains(&text)
        || BRACKETS.iter().any(|(open, close)| text.starts_with(open) && text.ends_with(close))
}

/// `added_tokens` of `tokenizer.json`.
pub fn of_tokenizer(files: &Files, json: &Value) -> Result<Vec<Added>> {
    let Some(list) = json.get("added_tokens").filter(|v| !v.is_null()) else { return Ok(Vec::new()) };
    let wrong = |found: &Value| {
        files.wrong(files::TOKENIZER, "added_tokens", "a list of {id, content, special}", found)
    };
    let list = list.as_array().ok_or_else(|| wrong(list))?;
    let one = |entry: &Value| {
        let id = entry.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        parse(entry, id, Origin::Tokenizer).ok_or_else(|| wrong(entry))
    };
    let tokens = list.iter().map(one).collect::<Result<_>>()?;
    unique(files, tokens)
}

/// `added_tokens_decoder` of `tokenizer_config.json`.
pub fn of_config(files: &Files) -> Result<Vec<Added>> {
    let Some(map) = files.config("added_tokens_decoder") else { return Ok(Vec::new()) };
    let wrong = |found: &Value| {
        files.wrong(files::CONFIG, "added_tokens_decoder", "an object of id: {content, special}", found)
    };
    let map = map.as_object().ok_or_else(|| wrong(map))?;
    let one = |(id, entry): (&String, &Value)| {
        parse(entry, id.parse().ok(), Origin::Decoder).ok_or_else(|| wrong(entry))
    };
    let tokens = map.iter().map(one).collect::<Result<_>>()?;
    unique(files, tokens)
}

/// `added_tokens.json`.
pub fn of_legacy(files: &Files) -> Result<Vec<Added>> {
    let Some(json) = files.checkpoint.json(files::ADDED)? else { return Ok(Vec::new()) };
    let wrong = |found: &Value| files.wrong(files::ADDED, "(the file)", "an object of token: id", found);
    let map = json.as_object().ok_or_else(|| wrong(&json))?;
    let one = |(content, id): (&String, &Value)| {
        let number = id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| wrong(id))?;
        Ok(Added { id: number, normalized: true, ..Added::plain(content, Origin::Legacy) })
    };
    let tokens = map.iter().map(one).collect::<Result<_>>()?;
    unique(files, tokens)
}

fn parse(entry: &Value, id: Option<u32>, origin: Origin) -> Option<Added> {
    let flag = |key: &str, default: bool| entry.get(key).and_then(Value::as_bool).unwrap_or(default);
    let content = entry.get("content")?.as_str()?.to_string();
    let special = flag("special", false);
    // The library's default: special tokens are matched before normalization, the others after it.
    let normalized = flag("normalized", !special);
    let reaches = ["lstrip", "rstrip", "single_word"].into_iter().any(|key| flag(key, false));
    Some(Added { id: id?, content, special, normalized, reaches, origin })
}

fn unique(files: &Files, tokens: Vec<Added>) -> Result<Vec<Added>> {
    let mut seen: HashMap<u32, &str> = HashMap::new();
    for token in &tokens {
        if let Some(first) = seen.insert(token.id, &token.content).filter(|first| *first != token.content) {
            return Err(Error::invalid(format!("two added tokens have the id {}", token.id))
                .file(&files.path(token.origin.file()))
                .expected("one token an id")
                .found(format!("'{first}' and '{}'", token.content))
                .hint("give one of them a free id, the one of its embedding row"));
        }
    }
    Ok(tokens)
}
