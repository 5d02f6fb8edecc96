//! A "gpt2" vocabulary as a byte-level `tokenizer.json`; Gemma 4's, which has merges but no letters for bytes, and XVERSE's,
//! of which a GGUF tells no merges either.
//! Specification: `BPE`, `ByteLevel`, `Split`, `Digits`, `Punctuation` of the `tokenizers` library.

use super::{Regained, Words, processor};
use crate::vocab::files::TOKENIZER;
use crate::vocab::kinds;
use crate::vocab::pre;
use crate::vocab::shapes::WHOLE_WORDS;
use bstr::ByteSlice;
use ggraft_formats::{Array, Error, Result};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

pub fn write(words: &Words<'_>, config: &mut Map<String, Value>, out: &mut Regained) -> Result<()> {
    let pre = words.metadata.str("tokenizer.ggml.pre").unwrap_or("default");
    let splits = pre::splits(pre).ok_or_else(|| {
        Error::unsupported("how the runtime splits text here cannot be said in a tokenizer.json")
            .expected("tokenizer.ggml.pre to name splits of the tokenizers library")
            .found(format!("'{pre}'"))
            .hint("give the Hugging Face directory that it was converted from, or choose a GGUF --type")
    })?;
    let added = words.added_tokens(words.whole())?;
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": splits,
        "post_processor": processor::template(words)?,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": model(words, told(words)?, false, WHOLE_WORDS.contains(&pre))?,
    });
    out.put(TOKENIZER, &json);
    config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
    Ok(())
}

/// Pieces of SentencePiece with their merges.
pub fn write_pieces(words: &Words<'_>, config: &mut Map<String, Value>, out: &mut Regained) -> Result<()> {
    let space = json!({"String": " "});
    let replace = json!({"type": "Replace", "pattern": space, "content": "\u{2581}"});
    let split = json!({"type": "Split", "pattern": space, "behavior": "MergedWithPrevious", "invert": false});
    put_pieces(words, told(words)?, replace, split, out)?;
    config.insert("tokenizer_class".into(), json!("GemmaTokenizer"));
    config.insert("additional_special_tokens".into(), words.controls()?);
    Ok(())
}

/// Pieces of SentencePiece of which a GGUF tells neither scores nor merges.
pub fn write_unscored(words: &Words<'_>, config: &mut Map<String, Value>, out: &mut Regained) -> Result<()> {
    let mut normalizers = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"})];
    if words.flag("add_space_prefix").unwrap_or(true) {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": "\u{2581}"}));
    }
    let normalizer = json!({"type": "Sequence", "normalizers": normalizers});
    put_pieces(words, unions(words)?, normalizer, Value::Null, out)?;
    config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
    out.notes.push(String::from(
        "the GGUF tells neither scores nor merges of its tokens: the merges of tokenizer.json go by the order of the ids",
    ));
    Ok(())
}

/// A `tokenizer.json` of pieces.
fn put_pieces(
    words: &Words<'_>,
    merges: Vec<Value>,
    normalizer: Value,
    splits: Value,
    out: &mut Regained,
) -> Result<()> {
    let added = words.added_tokens(words.whole())?;
    let mut model = model(words, merges, true, false)?;
    model["unk_token"] = json!("<unk>");
    model["fuse_unk"] = json!(true);
    let space = json!({"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "});
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": splits,
        "post_processor": processor::template(words)?,
        "decoder": {"type": "Sequence", "decoders": [space, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": model,
    });
    out.put(TOKENIZER, &json);
    Ok(())
}

/// `model`: every token by its id but those of rows without one, and the merges.
fn model(words: &Words<'_>, merges: Vec<Value>, byte_fallback: bool, whole_words: bool) -> Result<Value> {
    let mut vocab = Map::new();
    for id in (0..words.tokens.len()).filter(|id| words.kind(*id) != kinds::UNUSED) {
        let text = match words.text(id)? {
            // No token of the runtime is a NUL alone, so a GGUF has it so.
            "<\0>" => "\0",
            text => text,
        };
        vocab.insert(text.into(), json!(id));
    }
    Ok(json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": byte_fallback,
        "ignore_merges": whole_words, "vocab": vocab, "merges": merges}))
}

/// The merges that the GGUF tells.
fn told(words: &Words<'_>) -> Result<Vec<Value>> {
    let merges = match words.metadata.get("tokenizer.ggml.merges").and_then(|v| v.as_array()) {
        Some(Array::Str(merges)) => merges.as_slice(),
        _ => &[],
    };
    let wrong = |merge: &bstr::BString| {
        Error::invalid("a merge is not two parts with a space between").found(format!("'{merge}'"))
    };
    let pair = |merge: &bstr::BString| {
        let (left, right) = merge.to_str().ok()?.split_once(' ')?;
        Some(json!([left, right]))
    };
    merges.iter().map(|m| pair(m).ok_or_else(|| wrong(m))).collect()
}

/// Bytes of the longest token that is taken apart; trainers stop at 16 characters.
const LONGEST: usize = 256;

/// The merges of a trainer that numbers its tokens as it makes them: by the ids of the unions, then of their parts.
fn unions(words: &Words<'_>) -> Result<Vec<Value>> {
    let mut ids: HashMap<&str, usize> = HashMap::new();
    for id in (0..words.tokens.len()).filter(|id| words.kind(*id) == kinds::NORMAL) {
        ids.insert(words.text(id)?, id);
    }
    let mut merges = Vec::new();
    for (text, id) in ids.iter().filter(|(text, _)| text.len() <= LONGEST) {
        let parts = text.char_indices().skip(1).map(|(at, _)| text.split_at(at));
        merges.extend(
            parts.filter_map(|(left, right)| Some((*id, *ids.get(left)?, *ids.get(right)?, left, right))),
        );
    }
    merges.sort_unstable();
    Ok(merges.into_iter().map(|(.., left, right)| json!([left, right])).collect())
}
