//! The modules of sentence-transformers: how a model of embeddings makes one vector of a text's. `modules.json` lists them;
//! each but the model itself has a folder with its `config.json`, and weights if it has some.
//! Specification: `SentenceTransformer.save`, `Pooling` of sentence-transformers; `llama_pooling_type` of llama.cpp.

use super::Source;
use ggraft_formats::{Metadata, Result};
use serde_json::{Value, json};
use std::path::{Component, Path};

/// What lists them.
const LIST: &str = "modules.json";

/// Files beside the list, and in the folder of a module.
const BESIDE: [&str; 2] = ["config_sentence_transformers.json", "sentence_bert_config.json"];
const INSIDE: [&str; 2] = ["config.json", "model.safetensors"];

/// GGUF's numbers of the ways of pooling, and the flags that say them.
const FLAGS: [(&str, u64); 3] =
    [("pooling_mode_mean_tokens", 1), ("pooling_mode_cls_token", 2), ("pooling_mode_lasttoken", 3)];

/// The files of a checkpoint's modules, as they are.
pub fn files(source: &Source) -> Result<Vec<(String, Vec<u8>)>> {
    let mut all: Vec<(String, Vec<u8>)> = source.copy(LIST)?.into_iter().collect();
    if all.is_empty() {
        return Ok(all);
    }
    for name in BESIDE {
        all.extend(source.copy(name)?);
    }
    for folder in folders(source)? {
        for name in INSIDE {
            all.extend(source.copy(&format!("{folder}/{name}"))?);
        }
    }
    Ok(all)
}

/// What to say of modules some of whose files stay.
pub fn left(source: &Source) -> Result<Option<String>> {
    const PICKLED: &str = "pytorch_model.bin";
    let all = folders(source)?;
    let stays = |folder: &&String| source.checkpoint.has(&format!("{folder}/{PICKLED}"));
    Ok(all.iter().find(stays).map(|folder| {
        format!("{folder}/{PICKLED}, the weights of a module, is not copied: copy it from the model")
    }))
}

/// The folders that the list names, in the directory itself; none without a list.
fn folders(source: &Source) -> Result<Vec<String>> {
    let list = source.checkpoint.json(LIST)?.unwrap_or_default();
    let named = list.as_array().into_iter().flatten().filter_map(|module| module.get("path")?.as_str());
    let is_name = |name: &&str| {
        let mut parts = Path::new(name).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
            && !name.contains(['/', '\\'])
    };
    let mut all: Vec<String> = named.filter(is_name).map(String::from).collect();
    all.sort();
    all.dedup();
    Ok(all)
}

/// The files that say how a GGUF pools; none if it does not say, or in no way that they know.
pub fn regained(metadata: &Metadata) -> Vec<(String, Value)> {
    let arch = metadata.str("general.architecture").unwrap_or_default();
    let number = |key: &str| metadata.u64(&format!("{arch}.{key}"));
    let pooling = number("pooling_type");
    if !FLAGS.iter().any(|(_, number)| pooling == Some(*number)) {
        return Vec::new();
    }
    let module = |i: u32, path: &str, class: &str| {
        let class = format!("sentence_transformers.models.{class}");
        json!({"idx": i, "name": i.to_string(), "path": path, "type": class})
    };
    let list = json!([module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")]);
    let mut config = json!({"word_embedding_dimension": number("embedding_length")});
    for (flag, number) in FLAGS {
        config[flag] = json!(pooling == Some(number));
    }
    vec![(LIST.into(), list), ("1_Pooling/config.json".into(), config)]
}
