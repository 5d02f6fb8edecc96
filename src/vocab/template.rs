//! Chat templates, from every place in which Hugging Face keeps them. They are data: nothing here runs them.
//! Serves the door. As in transformers `chat_template.jinja` and `additional_chat_templates/` take the place of what
//! `tokenizer_config.json` says (convert_hf_to_gguf has it the other way round); what is left out is told. Names of
//! several templates keep the order of the file, so that the output never varies.
//! Specification: `_from_pretrained` of transformers 5; gguf-py `SpecialVocab`, `add_chat_template`.

use super::Tokenizer;
use super::files::{self, Files};
use bstr::BString;
use ggraft_formats::{Array, Error, Result};
use serde_json::Value;
use std::path::PathBuf;

const JINJA: &str = "chat_template.jinja";
const JSON: &str = "chat_template.json";
const MORE: &str = "additional_chat_templates";

/// A name and a text; the one named `default` is the template of the model.
type Named = (String, String);

/// Writes `tokenizer.chat_template` and, for a list, its companions.
pub fn write(files: &Files, out: &mut Tokenizer) -> Result<()> {
    let config = of_config(files, &mut out.warnings)?;
    let sources =
        [(JINJA, of_jinja(files)?), (files::CONFIG, config), (JSON, of_json(files, &mut out.warnings)?)];
    let mut found = sources.into_iter().filter_map(|(file, templates)| Some((file, templates?)));
    let Some((file, templates)) = found.next() else { return Ok(()) };
    for (other, left) in found {
        let lost: Vec<&str> =
            left.iter().filter(|t| !templates.contains(t)).map(|(name, _)| name.as_str()).collect();
        if !lost.is_empty() {
            out.warnings.push(format!(
                "{other}: its chat_template is left out ({}): transformers takes {file}",
                lost.join(", ")
            ));
        }
    }
    put(templates, out);
    Ok(())
}

fn put(templates: Vec<Named>, out: &mut Tokenizer) {
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
    match default.filter(|text| !text.is_empty()) {
        Some(text) => out.metadata.set("tokenizer.chat_template", text),
        None => {
            if let Some(Array::Str(names)) =
                out.metadata.get("tokenizer.chat_templates").and_then(|v| v.as_array())
            {
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                out.warnings.push(format!(
                    "no chat template is named 'default', so the runtime takes none by itself; there are {}",
                    names.join(", ")
                ));
            }
        }
    }
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
    let mut templates = Vec::new();
    templates.extend(files.checkpoint.text(JINJA)?.map(|text| ("default".to_string(), newlines(text))));
    for path in more(files)? {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{MORE}/{}", path.file_name().unwrap_or_default().to_string_lossy());
        if let Some(text) = files.checkpoint.text(&name)? {
            templates.push((stem, newlines(text)));
        }
    }
    Ok(Some(templates).filter(|templates| !templates.is_empty()))
}

/// The further templates, sorted by file name.
fn more(files: &Files) -> Result<Vec<PathBuf>> {
    if !files.checkpoint.folder.is_here() {
        return Ok(Vec::new());
    }
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
