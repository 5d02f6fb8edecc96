//! The JSON files of a tokenizer, read once, and the errors that name their keys. Serves the whole room.
//! Specification: the files that `transformers` writes (`save_pretrained`).

use super::pair;
use ggraft_formats::{Checkpoint, Error, Result};
use serde_json::Value;
use std::path::PathBuf;

pub const TOKENIZER: &str = "tokenizer.json";
pub const CONFIG: &str = "tokenizer_config.json";
pub const ADDED: &str = "added_tokens.json";
pub const MODEL: &str = "tokenizer.model";

/// What lies in the directory; absent files are `None`.
pub struct Files<'a> {
    pub checkpoint: &'a Checkpoint,
    pub tokenizer: Option<Value>,
    pub tokenizer_config: Option<Value>,
}

impl<'a> Files<'a> {
    pub fn open(checkpoint: &'a Checkpoint) -> Result<Files<'a>> {
        let files = Files {
            checkpoint,
            tokenizer: checkpoint.json(TOKENIZER)?,
            tokenizer_config: checkpoint.json(CONFIG)?,
        };
        for (name, value) in [(TOKENIZER, &files.tokenizer), (CONFIG, &files.tokenizer_config)] {
            if let Some(value) = value.as_ref().filter(|v| !v.is_object()) {
                return Err(files.wrong(name, "(the file)", "a JSON object", value));
            }
        }
        if files.tokenizer.is_none() && pair::is_there(checkpoint) && !checkpoint.has(MODEL) {
            let tokenizer = pair::built(checkpoint, files.tokenizer_config.as_ref())?;
            return Ok(Files { tokenizer, ..files });
        }
        Ok(files)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.checkpoint.dir.join(name)
    }

    /// A key of `tokenizer_config.json` that is there and not null.
    pub fn config(&self, key: &str) -> Option<&Value> {
        self.tokenizer_config.as_ref()?.get(key).filter(|v| !v.is_null())
    }

    /// The error of a key whose value has the wrong form.
    pub fn wrong(&self, file: &str, key: &str, expected: &str, found: &Value) -> Error {
        Error::invalid(format!("`{key}` has the wrong form"))
            .file(&self.path(file))
            .expected(expected)
            .found(brief(found))
            .hint("take the file from the model's repository again")
    }
}

/// A JSON value in at most 80 characters.
pub fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(77) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
