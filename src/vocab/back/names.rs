//! What `tokenizer_config.json` says whatever the tokenizer is: the names of special tokens, and which are added to a text.

use super::Words;
use crate::vocab::kinds;
use ggraft_formats::Result;
use serde_json::{Map, Value, json};

/// The names of special tokens, and GGUF's keys of their ids.
const NAMES: [(&str, &str); 6] = [
    ("bos_token", "bos_token_id"),
    ("eos_token", "eos_token_id"),
    ("unk_token", "unknown_token_id"),
    ("sep_token", "seperator_token_id"),
    ("pad_token", "padding_token_id"),
    ("mask_token", "mask_token_id"),
];

const ADDED: [&str; 3] = ["add_bos_token", "add_eos_token", "add_sep_token"];

/// The part of the file that all tokenizers have.
pub fn config(words: &Words<'_>) -> Result<Map<String, Value>> {
    let mut config = Map::new();
    for key in ADDED {
        if let Some(flag) = words.flag(key) {
            config.insert(key.into(), json!(flag));
        }
    }
    // A name makes a token special; an ordinary one is told by its id in config.json.
    let pieces = words.metadata.str("tokenizer.ggml.model") == Some("llama");
    let is_named = |id: &usize| match words.kind(*id) {
        kinds::CONTROL | kinds::USER_DEFINED => true,
        // SentencePiece's own type says it.
        kinds::UNKNOWN => !pieces,
        _ => false,
    };
    for (name, key) in NAMES {
        if let Some(id) = words.id(key).filter(is_named) {
            config.insert(name.into(), json!(words.text(id)?));
        }
    }
    // Encoders call what begins a text so, too.
    let is_encoder = words.metadata.get("tokenizer.ggml.token_type_count").is_some();
    if let Some(first) = config.get("bos_token").filter(|_| is_encoder).cloned() {
        config.insert("cls_token".into(), first);
    }
    config.insert("clean_up_tokenization_spaces".into(), json!(false));
    let arch = words.metadata.str("general.architecture").unwrap_or_default();
    if let Some(length) = words.metadata.u64(&format!("{arch}.context_length")) {
        config.insert("model_max_length".into(), json!(length));
    }
    Ok(config)
}
