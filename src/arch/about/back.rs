//! `general.*` backward: the front matter of a model card, and the sampling of `generation_config.json`.

use super::general::{LISTS, ORIGIN_KEYS, ORIGINS, SAMPLING, TEXTS};
use crate::arch::back::json;
use ggraft_formats::Metadata;
use serde_json::{Map, Value, json as object};

/// The front matter of the card that says `general.*`.
pub fn card_of(metadata: &Metadata) -> Map<String, Value> {
    let mut card = Map::new();
    for (key, names) in TEXTS {
        if let (Some(text), Some(name)) = (metadata.str(&format!("general.{key}")), names.first()) {
            card.insert(name.to_string(), object!(text));
        }
    }
    for (key, names) in ORIGINS {
        let count = metadata.u64(&format!("general.{key}.count")).unwrap_or(0);
        // Each has a key at least.
        let all = (0..count.min(metadata.len() as u64)).map(|i| {
            let of =
                |part: &&&str| Some((part.to_string(), metadata.str(&format!("general.{key}.{i}.{part}"))?));
            let told: Map<String, Value> =
                ORIGIN_KEYS.iter().filter_map(|part| of(&part)).map(|(k, v)| (k, object!(v))).collect();
            Value::Object(told)
        });
        if let (Some(name), true) = (names.first(), count > 0) {
            card.insert(name.to_string(), all.collect());
        }
    }
    for (key, names) in LISTS {
        if let (Some(words), Some(name)) = (metadata.get(&format!("general.{key}")), names.first()) {
            card.insert(name.to_string(), json(words));
        }
    }
    card
}

/// `general.sampling.*` as `generation_config.json` has it.
pub fn sampling_of(metadata: &Metadata) -> Map<String, Value> {
    let mut config = Map::new();
    for (key, names, _) in SAMPLING {
        // Of several names the last is transformers' own.
        if let (Some(value), Some(name)) = (metadata.get(&format!("general.sampling.{key}")), names.last()) {
            config.insert(name.to_string(), json(value));
        }
    }
    if !config.is_empty() {
        config.insert("do_sample".into(), object!(true));
    }
    config
}
