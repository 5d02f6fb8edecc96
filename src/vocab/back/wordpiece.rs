//! A "bert" vocabulary as a `tokenizer.json` of WordPiece: what begins a word loses its U+2581, what goes on gets its `##`.
//! Specification: `WordPiece`, `BertNormalizer`, `BertPreTokenizer` of the `tokenizers` library.

use super::{Regained, Words, processor};
use crate::vocab::files::TOKENIZER;
use crate::vocab::kinds;
use ggraft_formats::Result;
use serde_json::{Map, Value, json};

pub fn write(words: &Words<'_>, config: &mut Map<String, Value>, out: &mut Regained) -> Result<()> {
    let mut vocab = Map::new();
    for id in (0..words.tokens.len()).filter(|id| words.kind(*id) != kinds::UNUSED) {
        let text = words.text(id)?;
        let own = match (words.kind(id), text.strip_prefix('\u{2581}')) {
            (kinds::CONTROL, _) => text.to_string(),
            (_, Some(begins)) => begins.to_string(),
            (_, None) => format!("##{text}"),
        };
        vocab.insert(own, json!(id));
    }
    let unknown = words.id("unknown_token_id").map_or(Ok("[UNK]"), |id| words.text(id))?;
    let (first, last) =
        (words.id("bos_token_id"), words.id("seperator_token_id").or(words.id("eos_token_id")));
    let adds = words.flag("add_bos_token").unwrap_or(true);
    let ends: Vec<usize> = last.filter(|_| adds).into_iter().collect();
    let (lower, accents) = (words.flag("normalizer.lowercase"), words.flag("normalizer.strip_accents"));
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": words.added_tokens(words.whole())?,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": accents, "lowercase": lower.unwrap_or(true)},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": processor::between(words, first.filter(|_| adds), &ends, last.filter(|_| adds))?,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab},
    });
    out.put(TOKENIZER, &json);
    config.insert("tokenizer_class".into(), json!("BertTokenizer"));
    if let Some(id) = first {
        config.insert("cls_token".into(), json!(words.text(id)?));
    }
    if lower.is_none() {
        out.notes.push(String::from("whether text is lowercased is not told: the tokenizer does it"));
    }
    Ok(())
}
