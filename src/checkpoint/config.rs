//! `config.json` and `generation_config.json` of an output: CP's, with the sizes and ids of the output.

use super::{Source, json_file, without_paths};
use crate::adapter::whole;
use ggraft_formats::error::Result;
use ggraft_formats::{DType, Metadata};
use serde_json::{Value, json};

const CONFIG: &str = "config.json";
const GENERATION: &str = "generation_config.json";

/// Tokens that both files name: the key, and the metadata that tell its id.
const TOKENS: [(&str, &str); 2] =
    [("bos_token_id", "tokenizer.ggml.bos_token_id"), ("eos_token_id", "tokenizer.ggml.eos_token_id")];

/// Ends of a turn beside `eos_token_id`, at which generation stops too.
const TURN_ENDS: [&str; 2] = ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

/// Sampling defaults: the name in `generation_config.json`, and in `general.sampling.*`.
const SAMPLING: [(&str, &str); 5] = [
    ("temperature", "temp"),
    ("top_k", "top_k"),
    ("top_p", "top_p"),
    ("min_p", "min_p"),
    ("repetition_penalty", "penalty_repeat"),
];

/// `config.json` of a model with so many `rows` of tokens, all of whose weights are `dtype`.
pub fn config(
    source: &Source,
    metadata: &Metadata,
    rows: Option<u64>,
    dtype: Option<DType>,
) -> Result<(String, Vec<u8>)> {
    let old = source.checkpoint.required_json(CONFIG)?;
    let mut new = old.clone();
    without_paths(&mut new);
    without_packing(&mut new);
    if let Some(rows) = rows {
        set(section(&mut new, "vocab_size"), "vocab_size", json!(rows));
    }
    for (key, told) in TOKENS {
        let place = section(&mut new, key);
        if let Some(id) = metadata.u64(told).filter(|id| !names(&place[key], *id)) {
            set(place, key, json!(id));
        }
    }
    if let Some(of) = metadata.str(whole::TOLD) {
        set(&mut new, whole::MARK, json!(of));
    }
    if let Some(name) = dtype.and_then(torch) {
        // transformers 5 calls it `dtype`.
        let keys: Vec<&str> =
            ["dtype", "torch_dtype"].into_iter().filter(|key| new.get(*key).is_some()).collect();
        for key in if keys.is_empty() { vec!["torch_dtype"] } else { keys } {
            set(&mut new, key, json!(name));
        }
    }
    let bytes = source.checkpoint.bytes(CONFIG)?;
    Ok(json_file(CONFIG, &new, bytes.as_ref().map(|b| (&old, b.bytes()))))
}

/// Without the keys that say how weights are packed: what is written is plain floats, and they would be obeyed.
fn without_packing(config: &mut Value) {
    if let Some(object) = config.as_object_mut() {
        for key in ["quantization_config", "compression_config", "quantization"] {
            object.shift_remove(key);
        }
        object.values_mut().filter(|v| v.get("quantization_config").is_some()).for_each(without_packing);
    }
}

/// Where the config says `key`: models with several parts have a section for text.
fn section<'a>(config: &'a mut Value, key: &str) -> &'a mut Value {
    const TEXT: &str = "text_config";
    let inside = config.get(key).is_none() && config.get(TEXT).is_some_and(|text| text.get(key).is_some());
    if inside { &mut config[TEXT] } else { config }
}

/// `generation_config.json`, which also says what ends a turn and how the model likes to be sampled.
pub fn generation(source: &Source, metadata: &Metadata) -> Result<(String, Vec<u8>)> {
    let old = source.checkpoint.json(GENERATION)?.filter(Value::is_object);
    let mut new = old.clone().unwrap_or_else(|| json!({}));
    without_paths(&mut new);
    for (key, told) in TOKENS {
        if let Some(id) = metadata.u64(told).filter(|id| !names(&new[key], *id)) {
            set(&mut new, key, json!(id));
        }
    }
    for id in TURN_ENDS.iter().filter_map(|key| metadata.u64(key)) {
        if !names(&new["eos_token_id"], id) {
            let mut all = match new["eos_token_id"].take() {
                Value::Array(all) => all,
                Value::Null => Vec::new(),
                one => vec![one],
            };
            all.push(json!(id));
            set(&mut new, "eos_token_id", Value::Array(all));
        }
    }
    for (key, told) in SAMPLING {
        let told = format!("general.sampling.{told}");
        if metadata.get(&told) != source.metadata.get(&told)
            && let Some(value) = metadata.get(&told)
        {
            let integer = value.as_u64().map(|n| json!(n));
            // The shortest number that is this f32.
            let float =
                value.as_f64().and_then(|x| (x as f32).to_string().parse::<f64>().ok()).map(|x| json!(x));
            if let Some(value) = integer.or(float) {
                set(&mut new, key, value);
                set(&mut new, "do_sample", json!(true));
            }
        }
    }
    let bytes = source.checkpoint.bytes(GENERATION)?;
    Ok(json_file(GENERATION, &new, old.as_ref().zip(bytes.as_ref().map(|b| b.bytes()))))
}

/// Whether `value` is this id, or a list that holds it.
fn names(value: &Value, id: u64) -> bool {
    match value {
        Value::Array(all) => all.iter().any(|v| v.as_u64() == Some(id)),
        one => one.as_u64() == Some(id),
    }
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_string(), value);
    }
}

/// What PyTorch calls a dtype.
fn torch(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::F32 => Some("float32"),
        DType::F16 => Some("float16"),
        DType::BF16 => Some("bfloat16"),
        _ => None,
    }
}
