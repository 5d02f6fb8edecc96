//! Chat templates, from every place in which Hugging Face keeps them. They are data: nothing here runs them.
//! Serves the door. Unlike convert_hf_to_gguf, files are read even without `tokenizer_config.json`, and the
//! names of several templates keep the order of the file, so that the output never varies.
//! Specification: gguf-py `SpecialVocab`, `add_chat_template`.

use super::Tokenizer;
use super::files::{self, Files};
use bstr::BString;
use ggraft_formats::{Error, Result};
use serde_json::Value;
use std::path::PathBuf;

const JINJA: &str = "chat_template.jinja";
const JSON: &str = "chat_template.json";
const MORE: &str = "additional_chat_templates";

/// A name and a text; the one named `default` is the template of the model.
type Named = (String, String);

/// Writes `tokenizer.chat_template` and, for a list, its companions. `tokenizer_config.json` wins over
/// `chat_template.jinja` over `chat_template.json`.
pub fn write(files: &Files, out: &mut Tokenizer) -> Result<()> {
    let templates = match of_config(files, &mut out.warnings)? {
        Some(found) => found,
        None => match of_jinja(files)? {
            Some(found) => found,
            None => of_json(files, &mut out.warnings)?.unwrap_or_default(),
        },
    };
    let mut names: Vec<BString> = Vec::new();
    let mut default = None;
    for (name, text) in templates {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if name == "default" {
            default = Some(text);
        } else if !name.is_empty() {
            if !text.is_empty() {
                out.metadata.set(&format!("tokenizer.chat_template.{name}"), text);
            }
            let name = BString::from(name);
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if !names.is_empty() {
        out.metadata.set("tokenizer.chat_templates", names);
    }
    if let Some(text) = default.filter(|text| !text.is_empty()) {
        out.metadata.set("tokenizer.chat_template", text);
    }
    Ok(())
}

fn of_config(files: &Files, warnings: &mut Vec<String>) -> Result<Option<Vec<Named>>> {
    match files.config("chat_template") {
        None => Ok(None),
        Some(value) => of_value(files, files::CONFIG, value, warnings).map(Some),
    }
}

fn of_json(files: &Files, warnings: &mut Vec<String>) -> Result<Option<Vec<Named>>> {
    let Some(json) = files.checkpoint.json(JSON)? else { return Ok(None) };
    match json.get("chat_template").filter(|v| !v.is_null()) {
        None => Ok(None),
        Some(value) => of_value(files, JSON, value, warnings).map(Some),
    }
}

/// A template, or a list of {name, template}.
fn of_value(files: &Files, file: &str, value: &Value, warnings: &mut Vec<String>) -> Result<Vec<Named>> {
    let list = match value {
        Value::String(text) => return Ok(vec![("default".into(), text.clone())]),
        Value::Array(list) => list,
        other => {
            warnings.push(format!(
                "{file}: `chat_template` is ignored: neither a text nor a list: {}",
                files::brief(other)
            ));
            return Ok(Vec::new());
        }
    };
    let one = |entry: &Value| {
        let name = entry.get("name").and_then(Value::as_str);
        let text = entry.get("template").and_then(Value::as_str);
        let pair = name.zip(text).map(|(name, text)| (name.to_string(), text.to_string()));
        pair.ok_or_else(|| files.wrong(file, "chat_template", "a list of {name, template}", entry))
    };
    list.iter().map(one).collect()
}

fn of_jinja(files: &Files) -> Result<Option<Vec<Named>>> {
    let Some(text) = files.checkpoint.text(JINJA)? else { return Ok(None) };
    let mut templates = vec![("default".to_string(), newlines(text))];
    for path in more(files)? {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{MORE}/{}", path.file_name().unwrap_or_default().to_string_lossy());
        if let Some(text) = files.checkpoint.text(&name)? {
            templates.push((stem, newlines(text)));
        }
    }
    Ok(Some(templates))
}

/// The further templates, sorted by file name.
fn more(files: &Files) -> Result<Vec<PathBuf>> {
    let dir = files.path(MORE);
    let failed = |e: std::io::Error| Error::io(&e, &dir);
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == "jinja") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Line ends as Python's text mode reads them.
fn newlines(text: String) -> String {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text }
}
