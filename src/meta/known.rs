//! Values that are typed without their type, as `KEY=VALUE`: they get that of the value that the key has, or the one that
//! GGUF gives to the key. A token may be told by its text instead of its id.
//! Specification: ggml `docs/gguf.md`, the standardized keys.

use super::Override;
use super::override_kv::{self, FORM};
use crate::vocab::Tokens;
use ggraft_formats::{Error, Metadata, Result};
use std::str::FromStr;

/// Keys of GGUF by their ends, with the types of their values.
const KEYS: &[(&str, &[&str])] = &[
    (
        "str",
        &[
            "general.name",
            "general.author",
            "general.version",
            "general.organization",
            "general.basename",
            "general.finetune",
            "general.description",
            "general.quantized_by",
            "general.size_label",
            "general.license",
            "general.license.name",
            "general.license.link",
            "general.url",
            "general.doi",
            "general.uuid",
            "general.repo_url",
            "general.source.url",
            "general.source.repo_url",
            "tokenizer.chat_template",
        ],
    ),
    ("[str]", &["general.tags", "general.languages", "general.datasets"]),
    (
        "u32",
        &[
            "_token_id",
            ".context_length",
            ".block_count",
            ".embedding_length",
            ".expert_used_count",
            "general.file_type",
        ],
    ),
    ("bool", &[".add_bos_token", ".add_eos_token", ".add_space_prefix", ".add_sep_token"]),
    (
        "f32",
        &[
            ".rope.freq_base",
            ".rope.scaling.factor",
            "general.sampling.temp",
            "general.sampling.top_p",
            "general.sampling.min_p",
        ],
    ),
    ("i32", &["general.sampling.top_k"]),
];

/// `KEY=TYPE:VALUE`, or `KEY=VALUE` whose type the key tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    Typed(Override),
    Plain { key: String, text: String },
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or(FORM)?;
        // What is nearly a type is a slip, whatever else stands before a colon is text.
        // In a text a space follows what only looks like a type.
        let is_text = of(key) == Some("str") && value.contains(": ");
        match value.split_once(':') {
            Some((kind, _))
                if override_kv::is_type(kind) || !is_text && override_kv::resembles_type(kind) =>
            {
                text.parse().map(Setting::Typed)
            }
            _ => Ok(Setting::Plain { key: key.to_string(), text: value.to_string() }),
        }
    }
}

impl Setting {
    /// What is set in a file of this metadata.
    ///
    /// # Errors
    /// The key tells no type, or the value is none of it.
    pub fn over(self, metadata: &Metadata) -> Result<Override> {
        let (key, text) = match self {
            Setting::Typed(typed) => return Ok(typed),
            Setting::Plain { key, text } => (key, text),
        };
        let known = metadata.get(&key).map(|value| value.type_name()).or_else(|| of(&key));
        let Some(kind) = known else {
            let near = super::missing(&key, metadata);
            return Err(near.expected("KEY=TYPE:VALUE, as the type of a new key is not known, such as str:…"));
        };
        let id = if key.ends_with("_token_id") { token(metadata, &text)? } else { None };
        let text = id.map_or(text, |id| id.to_string());
        let value = override_kv::value(kind, &text)
            .map_err(|why| Error::usage(why).found(format!("{key}={text}")).expected(kind))?;
        Ok(Override { key, value })
    }
}

/// The type that GGUF gives to a key.
fn of(key: &str) -> Option<&'static str> {
    let is = |known: &&str| if known.starts_with(['.', '_']) { key.ends_with(*known) } else { key == *known };
    KEYS.iter().find(|(_, keys)| keys.iter().any(is)).map(|(kind, _)| *kind)
}

/// The id of a token that is told by its text; none if the text is a number.
fn token(metadata: &Metadata, text: &str) -> Result<Option<usize>> {
    let Some(tokens) = Tokens::of(metadata)?.filter(|_| text.parse::<i64>().is_err()) else {
        return Ok(None);
    };
    let id = tokens.tokens.iter().position(|token| token.as_slice() == text.as_bytes());
    let missing = || {
        Error::usage("the vocabulary has no such token")
            .found(format!("'{text}'"))
            .hint("give its text, or its id")
    };
    id.ok_or_else(missing).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bstr::BString;
    use ggraft_formats::Value;

    fn metadata() -> Metadata {
        let mut metadata = Metadata::new();
        metadata.set("general.name", "old");
        metadata.set("own.number", 3i16);
        metadata.set("tokenizer.ggml.tokens", ["<s>", "</s>"].map(BString::from).to_vec());
        metadata
    }

    fn set(text: &str) -> Result<Value, String> {
        text.parse::<Setting>()?.over(&metadata()).map(|one| one.value).map_err(|e| e.to_string())
    }

    #[test]
    fn the_type_is_that_of_the_value_or_of_the_key() {
        for (text, value) in [
            ("general.name=My: model", Value::from("My: model")),
            ("general.url=https://x/y", Value::from("https://x/y")),
            ("own.number=-4", Value::I16(-4)),
            ("own.number=u8:4", Value::U8(4)),
            ("llama.context_length=4096", Value::U32(4096)),
            ("general.tags=chat,ko", vec!["chat".to_string(), "ko".to_string()].into()),
            ("tokenizer.ggml.eos_token_id=</s>", Value::U32(1)),
            ("tokenizer.ggml.eos_token_id=0", Value::U32(0)),
            ("tokenizer.ggml.add_bos_token=true", Value::Bool(true)),
        ] {
            assert_eq!(set(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_said() {
        for (text, said) in [
            ("general.nam=x", "did you mean general.name?"),
            ("other=x", "expected KEY=TYPE:VALUE"),
            ("own.number=x", "'x' is no i16"),
            ("general.name=strg:x", "did you mean str?"),
            ("tokenizer.ggml.eos_token_id=<end>", "the vocabulary has no such token: found '<end>'"),
            ("general.name", "expected KEY=TYPE:VALUE"),
        ] {
            let error = set(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
