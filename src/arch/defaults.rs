//! What transformers' `AutoConfig` fills in for the keys that a `config.json` does not hold, by `model_type`. The
//! table `defaults.json` is printed from the config classes themselves by `fixtures/make_defaults.py`; a value
//! `{"as": key}` is that of another key, `{"quotient": [a, b]}` that of one divided by another; `aliases` are other names.

use serde_json::{Map, Value};
use std::sync::OnceLock;

/// The defaults of every known `model_type`.
fn table() -> &'static Map<String, Value> {
    static TABLE: OnceLock<Map<String, Value>> = OnceLock::new();
    TABLE.get_or_init(|| serde_json::from_str(include_str!("defaults.json")).unwrap_or_default())
}

/// The same of models that see or hear, and of the sections of their configs, each of which may hold others (`sections`).
fn seeing() -> &'static Map<String, Value> {
    static TABLE: OnceLock<Map<String, Value>> = OnceLock::new();
    TABLE.get_or_init(|| serde_json::from_str(include_str!("sections.json")).unwrap_or_default())
}

/// What a model that sees or hears says of itself, with its defaults, and each section with its own.
pub fn nested(root: &Map<String, Value>) -> Map<String, Value> {
    let told = |of: &Map<String, Value>| of.get("model_type").and_then(Value::as_str).map(String::from);
    let mut wanted = vec![(Vec::<String>::new(), told(root))];
    let mut all = Value::Object(root.clone());
    while let Some((path, kind)) = wanted.pop() {
        let at = path.iter().try_fold(&mut all, |value, key| value.get_mut(key));
        let Some(section) = at.and_then(Value::as_object_mut) else { continue };
        let kind = told(section).or(kind);
        let own = kind.as_deref().and_then(|kind| seeing().get(kind)?.as_object());
        if let (Some(kind), None) = (&kind, section.get("model_type")) {
            section.insert(String::from("model_type"), kind.as_str().into());
        }
        let sections = own.and_then(|own| own.get(SECTIONS)?.as_object());
        let below = sections.into_iter().flatten();
        wanted.extend(below.map(|(key, kind)| {
            ([&path[..], std::slice::from_ref(key)].concat(), kind.as_str().map(String::from))
        }));
        *section = match own {
            Some(own) => filled_from(section, own),
            None => filled(section),
        };
    }
    match all {
        Value::Object(all) => all,
        _ => Map::new(),
    }
}

/// The sections of a config, in the table.
const SECTIONS: &str = "sections";

/// The keys of a `model_type` and their defaults.
pub fn of(model_type: &str) -> Option<&'static Map<String, Value>> {
    table().get(model_type)?.as_object()
}

/// The `model_type` of a class, as transformers or those who published it have it; the table is printed by
/// `fixtures/make_classes.py`.
pub fn model_type(class: &str) -> Option<&'static str> {
    static TABLE: OnceLock<Map<String, Value>> = OnceLock::new();
    let table = TABLE.get_or_init(|| serde_json::from_str(include_str!("classes.json")).unwrap_or_default());
    table.get(class)?.as_str()
}

/// `given`, and for each key that it lacks the default of its `model_type`. A null is told, and stays, unless the value
/// follows from other keys.
pub fn filled(given: &Map<String, Value>) -> Map<String, Value> {
    let model_type = given.get("model_type").and_then(Value::as_str);
    match model_type.and_then(|t| table().get(t)?.as_object()) {
        Some(defaults) => filled_from(given, defaults),
        None => given.clone(),
    }
}

/// `given`, and what it lacks of `defaults`.
fn filled_from(given: &Map<String, Value>, defaults: &Map<String, Value>) -> Map<String, Value> {
    let mut all = given.clone();
    for (alias, key) in defaults.get(ALIASES).and_then(Value::as_object).into_iter().flatten() {
        if let (Some(value), Some(key)) = (given.get(alias), key.as_str())
            && !all.contains_key(key)
        {
            all.insert(key.to_string(), value.clone());
        }
    }
    let own = || defaults.iter().filter(|(key, _)| ![ALIASES, SECTIONS].contains(&key.as_str()));
    let follows = |value: &Value| value.get("as").is_some() || value.get("quotient").is_some();
    for (key, value) in own().filter(|(_, value)| !follows(value)) {
        if !all.contains_key(key) {
            all.insert(key.clone(), value.clone());
        }
    }
    // What follows from other keys comes last.
    for (key, value) in own().filter(|(_, value)| follows(value)) {
        if all.get(key).is_none_or(Value::is_null)
            && let Some(value) = derived(value, &all)
        {
            all.insert(key.clone(), value);
        }
    }
    all
}

/// Other names of keys, in the table.
pub const ALIASES: &str = "aliases";

fn derived(rule: &Value, all: &Map<String, Value>) -> Option<Value> {
    if let Some(key) = rule.get("as") {
        return all.get(key.as_str()?).cloned();
    }
    let of = |i: usize| all.get(rule.get("quotient")?.get(i)?.as_str()?)?.as_u64();
    let (a, b) = (of(0)?, of(1)?);
    (b > 0 && a.is_multiple_of(b)).then(|| (a / b).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_is_read() {
        assert!(table().len() > 1 && table().values().all(Value::is_object));
    }

    #[test]
    fn another_name_of_a_key_counts_and_a_null_is_told() {
        let given = json!({"model_type": "qwen3_moe", "num_experts": 4, "intermediate_size": null});
        let all = filled(given.as_object().unwrap());
        assert_eq!((&all["num_local_experts"], &all["intermediate_size"]), (&json!(4), &json!(null)));
    }

    #[test]
    fn what_follows_from_other_keys_follows_from_those_that_are_given() {
        let given = json!({"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4});
        let all = filled(given.as_object().unwrap());
        assert_eq!((&all["num_key_value_heads"], &all["head_dim"]), (&json!(4), &json!(16)));
        assert_eq!(all["rope_theta"], json!(10000.0));
    }
}
