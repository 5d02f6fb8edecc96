//! `general.*`: what a model is called, who made it from what, and how it likes to be sampled. Told by the model
//! card, else by `_name_or_path` in `config.json`, else by the directory's name; sampling by
//! `generation_config.json`. All of it only describes: what is malformed is left out with a warning.
//! Specification: `gguf.Metadata` of llama.cpp's gguf-py; its order of keys is kept.

use super::card;
use super::id::{self, ModelId, Size};
use crate::arch::config::{Config, brief};
use crate::nearest::nearest;
use ggraft_formats::{Checkpoint, Error, Kind, Metadata, Result, Value};
use serde_json::Map;
use serde_json::Value as Json;

/// A key of `general.sampling.*`, its names in `generation_config.json` in order of precedence, and how it is read.
pub type Sampling = (&'static str, &'static [&'static str], fn(&Json) -> Option<Value>);

pub const SAMPLING: &[Sampling] = &[
    ("sequence", &["sequence"], |v| v.as_str().map(Value::from)),
    ("top_k", &["top_k"], integer),
    ("top_p", &["top_p"], float),
    ("min_p", &["min_p"], float),
    ("xtc_probability", &["xtc_probability"], float),
    ("xtc_threshold", &["xtc_threshold"], float),
    ("temp", &["temperature"], float),
    ("penalty_last_n", &["penalty_last_n"], integer),
    ("penalty_repeat", &["penalty_repeat", "repetition_penalty"], float),
    ("mirostat", &["mirostat"], integer),
    ("mirostat_tau", &["mirostat_tau"], float),
    ("mirostat_eta", &["mirostat_eta"], float),
];

/// Keys of `general.*` in their order, each with those of a card that tell it, in order of precedence.
pub const TEXTS: &[(&str, &[&str])] = &[
    ("name", &["name", "model_name"]),
    ("author", &["author", "model_author", "model_creator"]),
    ("version", &["version", "model_version"]),
    ("organization", &["organization", "model_organization"]),
    ("finetune", &["finetune", "model_finetune"]),
    ("basename", &["basename", "model_basename", "model_type"]),
    ("description", &["description", "model_description"]),
    ("size_label", &["size_label", "model_size_label"]),
    ("license", &["license"]),
    ("license.name", &["license_name"]),
    ("license.link", &["license_link"]),
    ("source.url", &["url", "model_url"]),
    ("source.doi", &["doi", "model_doi"]),
    ("source.uuid", &["uuid", "model_uuid"]),
    ("source.repo_url", &["repo_url", "model_repo_url"]),
];

/// Keys that only a user tells, each after the one of `TEXTS` that it follows.
const TOLD: &[(&str, &[&str])] =
    &[("description", &["quantized_by"]), ("license.link", &["url", "doi", "uuid", "repo_url"])];

/// Every key of `general.*` that a user may tell.
fn may_be_told() -> impl Iterator<Item = String> {
    let texts = TEXTS.iter().map(|(key, _)| *key).filter(|key| *key != "license");
    let more = TOLD.iter().flat_map(|(_, keys)| keys.iter().copied());
    let lists = LISTS.iter().map(|(key, _)| *key).chain(["base_models", "datasets"]);
    let sampling = SAMPLING.iter().map(|(key, _, _)| format!("sampling.{key}"));
    texts.chain(more).chain(lists).map(String::from).chain(sampling).map(|key| format!("general.{key}"))
}

/// Refuses keys that no one may tell.
///
/// # Errors
/// All of them, as one.
pub fn check(told: &Map<String, Json>) -> Result<()> {
    let unknown = told.keys().filter(|key| may_be_told().all(|known| known != **key));
    let problem = |key: &String| {
        let known: Vec<String> = may_be_told().collect();
        let error = Error::usage(format!("'{key}' is no key of general.* that can be told"));
        match nearest(key, known.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.expected(known.join(", ")),
        }
    };
    Error::all(unknown.map(problem).collect()).map_or(Ok(()), Err)
}

/// Where a model came from: the GGUF key, and the card's keys of which the first one counts.
pub const ORIGINS: &[(&str, &[&str])] = &[
    ("base_model", &["base_model", "base_models", "base_model_sources"]),
    ("dataset", &["datasets", "dataset", "dataset_sources"]),
];

/// What is told of an origin, in order.
pub const ORIGIN_KEYS: &[&str] =
    &["name", "author", "version", "organization", "description", "url", "doi", "uuid", "repo_url"];

/// Lists of words: the GGUF key, and the card's keys, whose words follow each other.
pub const LISTS: &[(&str, &[&str])] =
    &[("tags", &["tags", "pipeline_tag"]), ("languages", &["languages", "language"])];

/// `general.*` from `type` on, for a model of this size.
pub fn metadata(
    checkpoint: &Checkpoint,
    config: &Config,
    size: &Size,
    told: &Map<String, Json>,
    warnings: &mut Vec<String>,
) -> Result<Metadata> {
    let parameters = size.total;
    let card = card::read(checkpoint, warnings)?;
    let mut metadata = Metadata::new();
    metadata.set("general.type", "model");
    sampling(checkpoint, told, &mut metadata, warnings)?;
    let ids = ids(checkpoint, config, parameters);
    for (key, card_keys) in TEXTS {
        let name = format!("general.{key}");
        let by_card = card_keys.iter().find_map(|k| card.get(*k).and_then(text));
        match told.get(&name) {
            Some(value) => set_text(&mut metadata, &name, text(value)),
            None => set_text(&mut metadata, &name, by_card.or_else(|| guess(key, &ids, size))),
        }
        let more = TOLD.iter().filter(|(after, _)| after == key).flat_map(|(_, keys)| keys.iter());
        for name in more.map(|key| format!("general.{key}")) {
            set_text(&mut metadata, &name, told.get(&name).and_then(text));
        }
    }
    for (key, card_keys) in ORIGINS {
        let plural = if *key == "dataset" { "general.datasets" } else { "general.base_models" };
        if let Some(value) = told.get(plural) {
            origins(&format!("general.{key}"), Some(value), parameters, &mut metadata);
        } else if card_keys.iter().any(|k| card.contains_key(*k)) {
            let value = card_keys.iter().find_map(|k| card.get(*k));
            origins(&format!("general.{key}"), value, parameters, &mut metadata);
        }
    }
    for (key, card_keys) in LISTS {
        let by_card = || card_keys.iter().filter_map(|k| card.get(*k)).flat_map(words).collect();
        let words: Vec<String> = told.get(&format!("general.{key}")).map_or_else(by_card, words);
        if !words.is_empty() {
            metadata.set(&format!("general.{key}"), words);
        }
    }
    Ok(metadata)
}

/// What the names of the model tell, the most trustworthy first.
fn ids(checkpoint: &Checkpoint, config: &Config, parameters: u64) -> Vec<ModelId> {
    // More than one slash is a path on the trainer's machine.
    let path =
        config.raw().get("_name_or_path").and_then(Json::as_str).filter(|p| p.matches('/').count() <= 1);
    let dir = checkpoint.place_name();
    path.into_iter().chain(dir.as_deref()).map(|id| ModelId::parse(id, parameters)).collect()
}

/// The value of a key that the card does not tell.
fn guess(key: &str, ids: &[ModelId], size: &Size) -> Option<String> {
    let mut ids = ids.iter();
    match key {
        "name" => ids.next().map(|id| id::title(&id.name)),
        "organization" => ids.find_map(|id| id.organization.as_deref()).map(id::title),
        "basename" => ids.find_map(|id| id.basename.clone()),
        "finetune" => ids.find_map(|id| id.finetune.clone()),
        "version" => ids.find_map(|id| id.version.clone()),
        "size_label" => {
            ids.find_map(|id| id.size_label.clone()).or_else(|| (size.total > 0).then(|| size.label()))
        }
        _ => None,
    }
}

/// Empty text is not written.
fn set_text(metadata: &mut Metadata, key: &str, value: Option<String>) {
    if let Some(value) = value.filter(|text| !text.is_empty()) {
        metadata.set(key, value);
    }
}

/// A scalar as text; of a list, its texts with commas between.
fn text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Array(_) => Some(words(value).join(",")),
        Json::Null | Json::Bool(_) | Json::Object(_) => None,
    }
}

/// The texts of a list; a scalar is a list of one.
fn words(value: &Json) -> Vec<String> {
    match value {
        Json::Array(items) => items.iter().filter_map(text).collect(),
        other => text(other).into_iter().collect(),
    }
}

fn origins(prefix: &str, value: Option<&Json>, parameters: u64, metadata: &mut Metadata) {
    let entries: Vec<&Json> = match value {
        Some(Json::Array(items)) => items.iter().collect(),
        Some(entry @ Json::String(_)) => vec![entry],
        _ => Vec::new(),
    };
    metadata.set(&format!("{prefix}.count"), entries.len() as u32);
    for (i, entry) in entries.into_iter().enumerate() {
        let told = match entry {
            Json::String(id) => origin(id, parameters),
            Json::Object(told) => told.clone(),
            _ => Map::new(),
        };
        for key in ORIGIN_KEYS {
            set_text(metadata, &format!("{prefix}.{i}.{key}"), told.get(*key).and_then(text));
        }
    }
}

/// What a Hugging Face id or a URL tells about an origin.
fn origin(id: &str, parameters: u64) -> Map<String, Json> {
    let mut told = Map::new();
    let is_url = ["http://", "https://", "ssh://"].iter().any(|scheme| id.starts_with(scheme));
    let known = if is_url { hugging_face(id) } else { Some(id) };
    if let Some(known) = known {
        let parsed = ModelId::parse(known, parameters);
        told.insert("name".into(), id::title(&parsed.name).into());
        if let Some(organization) = &parsed.organization {
            told.insert("organization".into(), id::title(organization).into());
            told.insert(
                "repo_url".into(),
                format!("https://huggingface.co/{organization}/{}", parsed.name).into(),
            );
        }
        told.extend(parsed.version.map(|version| (String::from("version"), Json::from(version))));
    }
    if is_url {
        told.insert("repo_url".into(), id.into());
    }
    told
}

/// The `org/name` of a Hugging Face URL.
fn hugging_face(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://").filter(|(scheme, _)| scheme.starts_with("http"))?;
    let id = rest.strip_prefix("huggingface.co/")?;
    let (organization, name) = id.split_once('/')?;
    (!organization.is_empty() && !name.is_empty() && !name.contains('/')).then_some(id)
}

fn sampling(
    checkpoint: &Checkpoint,
    told: &Map<String, Json>,
    metadata: &mut Metadata,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let config = match checkpoint.json("generation_config.json") {
        Ok(config) => config.unwrap_or_default(),
        Err(e) if e.kind() == Kind::Invalid => {
            warnings.push(format!("the sampling defaults are left out: {e}"));
            Json::Null
        }
        Err(e) => return Err(e),
    };
    for (key, config_keys, read) in SAMPLING {
        let name = format!("general.sampling.{key}");
        if let Some(value) = told.get(&name) {
            let wrong = || Error::usage(format!("'{name}' is not what it should be")).found(brief(value));
            metadata.set(&name, read(value).ok_or_else(wrong)?);
            continue;
        }
        let Some((name, value)) = config_keys.iter().find_map(|k| Some((k, config.get(k)?))) else {
            continue;
        };
        match read(value) {
            Some(value) => metadata.set(&format!("general.sampling.{key}"), value),
            None if value.is_null() => {}
            None => warnings.push(format!(
                "generation_config.json: '{name}' is left out: {} is not what it should be",
                brief(value)
            )),
        }
    }
    Ok(())
}

fn integer(value: &Json) -> Option<Value> {
    value.as_i64().and_then(|n| i32::try_from(n).ok()).map(Value::from)
}

fn float(value: &Json) -> Option<Value> {
    value.as_f64().map(|x| x as f32).filter(|x| x.is_finite()).map(Value::from)
}
