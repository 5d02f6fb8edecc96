//! How a model of embeddings makes one vector of a text's, as sentence-transformers keeps it: `modules.json` and the
//! `config.json` of the module that pools.
//! Specification: `TextModel._try_set_pooling_type` of llama.cpp's converter; `llama_pooling_type`.

use ggraft_formats::{Checkpoint, Error, Result};
use serde_json::Value;
use std::path::{Component, Path};

/// The modes: a flag of older versions, a word of newer ones, GGUF's number.
const MODES: &[(&str, &str, u32)] = &[
    ("pooling_mode_mean_tokens", "mean", 1),
    ("pooling_mode_cls_token", "cls", 2),
    ("pooling_mode_lasttoken", "lasttoken", 3),
];

/// GGUF's number of the mode, if the checkpoint names one.
pub fn pooling(checkpoint: &Checkpoint) -> Result<Option<u32>> {
    const MODULES: &str = "modules.json";
    let Some(modules) = checkpoint.json(MODULES)? else { return Ok(None) };
    let of_type = |m: &&Value| m.get("type").and_then(Value::as_str).is_some_and(|t| t.ends_with("Pooling"));
    let Some(module) = modules.as_array().and_then(|all| all.iter().find(of_type)) else { return Ok(None) };
    let path = module.get("path").and_then(Value::as_str).unwrap_or_default();
    if !Path::new(path).components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(Error::invalid("the path of the module that pools leaves the directory")
            .file(&checkpoint.dir.join(MODULES))
            .found(path));
    }
    let name = format!("{path}/config.json");
    let config = checkpoint.required_json(name.trim_start_matches('/'))?;
    let is_set = |flag: &str| config.get(flag).and_then(Value::as_bool).unwrap_or(false);
    let word = config.get("pooling_mode").and_then(Value::as_str);
    let mode = MODES
        .iter()
        .find(|(flag, ..)| is_set(flag))
        .or(MODES.iter().find(|(_, mode, _)| word == Some(*mode)));
    mode.map(|(.., number)| Some(*number)).ok_or_else(|| {
        Error::unsupported("this way of pooling is not covered")
            .file(&checkpoint.dir.join(&name))
            .expected("the mean, the first or the last token")
    })
}
