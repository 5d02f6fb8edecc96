//! The chat templates of an output, written to every place in which loaders, old and new, look for them.

use super::Source;
use ggraft_formats::error::Result;
use ggraft_formats::{Array, Metadata};
use serde_json::{Value, json};

const JINJA: &str = "chat_template.jinja";
const JSON: &str = "chat_template.json";
/// A directory of further templates.
const MORE: &str = "additional_chat_templates";
const TEMPLATE: &str = "tokenizer.chat_template";

/// The named templates beside the main one.
fn named(metadata: &Metadata) -> Vec<(String, &str)> {
    match metadata.get("tokenizer.chat_templates").and_then(|v| v.as_array()) {
        Some(Array::Str(names)) => names
            .iter()
            .filter_map(|name| Some((name.to_string(), metadata.str(&format!("{TEMPLATE}.{name}"))?)))
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether the source's own files say it all; only files of the directory itself are copied.
fn stays(source: &Source, metadata: &Metadata) -> bool {
    let all = |m: &Metadata| -> Vec<(String, ggraft_formats::Value)> {
        let told = m.iter().filter(|(key, _)| key.starts_with(TEMPLATE));
        told.map(|(key, value)| (key.to_string(), value.clone())).collect()
    };
    all(metadata) == all(&source.metadata) && !source.checkpoint.has(MORE)
}

/// Writes the templates of `metadata` into `tokenizer_config.json`: one as a text, several as a list.
pub fn set(config: &mut Value, source: &Source, metadata: &Metadata) {
    let Some(main) = metadata.str(TEMPLATE).filter(|_| !stays(source, metadata)) else { return };
    let named = named(metadata);
    config["chat_template"] = if named.is_empty() {
        json!(main)
    } else {
        let all = [("default".to_string(), main)].into_iter().chain(named);
        all.map(|(name, template)| json!({ "name": name, "template": template })).collect()
    };
}

/// The files that hold nothing else. Current loaders read `chat_template.jinja` first, and then no list.
pub fn files(source: &Source, metadata: &Metadata) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    if stays(source, metadata) {
        for name in [JINJA, JSON] {
            files.extend(source.copy(name)?);
        }
    } else if let Some(text) = metadata.str(TEMPLATE)
        && named(metadata).is_empty()
    {
        files.push((JINJA.to_string(), text.as_bytes().to_vec()));
    }
    Ok(files)
}

/// The files of the templates of a GGUF that came without any: the main one alone, or all in a list.
pub fn regained(metadata: &Metadata) -> Vec<(String, Vec<u8>)> {
    match metadata.str(TEMPLATE) {
        Some(main) if named(metadata).is_empty() => vec![(JINJA.to_string(), main.as_bytes().to_vec())],
        _ => Vec::new(),
    }
}

/// Several templates as `tokenizer_config.json` lists them.
pub fn listed(metadata: &Metadata) -> Option<Value> {
    let named = named(metadata);
    let main = metadata.str(TEMPLATE).map(|main| ("default".to_string(), main));
    let all = main.into_iter().chain(named.clone());
    (!named.is_empty())
        .then(|| all.map(|(name, template)| json!({"name": name, "template": template})).collect())
}
