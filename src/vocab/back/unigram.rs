//! A "t5" vocabulary as a `tokenizer.json` of Unigram.
//! Specification: `Unigram`, `Precompiled`, `Metaspace` of the `tokenizers` library.

use super::{Regained, Words, processor};
use crate::vocab::files::TOKENIZER;
use crate::vocab::kinds;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ggraft_formats::{Array, Result};
use serde_json::{Map, Value, json};

pub fn write(words: &Words<'_>, config: &mut Map<String, Value>, out: &mut Regained) -> Result<()> {
    let mut vocab = Vec::new();
    let used = |id: &usize| words.kind(*id) != kinds::UNUSED;
    let len = (0..words.tokens.len()).rev().find(used).map_or(0, |last| last + 1);
    for id in 0..len {
        vocab.push(json!([words.text(id)?, f64::from(words.score(id))]));
    }
    let unknown = (0..words.tokens.len()).find(|id| words.kind(*id) == kinds::UNKNOWN);
    let prefix = words.flag("add_space_prefix").unwrap_or(true);
    let spaces = words.flag("remove_extra_whitespaces").unwrap_or(true);
    let mut normalizers = Vec::new();
    if let Some(Array::U8(map)) =
        words.metadata.get("tokenizer.ggml.precompiled_charsmap").and_then(|v| v.as_array())
    {
        normalizers.push(json!({"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(map)}));
    }
    if spaces {
        normalizers.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
    }
    let scheme = if prefix { "always" } else { "never" };
    let space =
        json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": true});
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": words.added_tokens(words.whole())?,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": space,
        "post_processor": processor::template(words)?,
        "decoder": space,
        "model": {"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": false},
    });
    out.put(TOKENIZER, &json);
    config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
    config.insert("additional_special_tokens".into(), words.controls()?);
    config.insert("add_prefix_space".into(), json!(prefix));
    config.insert("clean_up_tokenization_spaces".into(), json!(spaces));
    Ok(())
}
