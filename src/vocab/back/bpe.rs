//! A "gpt2" vocabulary as a byte-level `tokenizer.json`, and Gemma 4's, which has merges but no letters for bytes.
//! Specification: `BPE`, `ByteLevel`, `Split`, `Digits`, `Punctuation` of the `tokenizers` library.

use super::{Regained, Words, processor};
use crate::vocab::files::TOKENIZER;
use crate::vocab::kinds;
use crate::vocab::pre;
use crate::vocab::shapes::WHOLE_WORDS;
use bstr::ByteSlice;
use ggraft_formats::{Array, Error, Result};
use serde_json::{Map, Value, json};

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
        "model": model(words, false, WHOLE_WORDS.contains(&pre))?,
    });
    out.put(TOKENIZER, &json);
    config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
    Ok(())
}

/// Pieces of SentencePiece with their merges.
pub fn write_pieces(words: &Words<'_>, config: &mut Map<String, Value>, out: &mut Regained) -> Result<()> {
    let added = words.added_tokens(words.whole())?;
    let space = json!({"String": " "});
    let back = json!({"String": "\u{2581}"});
    let mut model = model(words, true, false)?;
    model["unk_token"] = json!("<unk>");
    model["fuse_unk"] = json!(true);
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": space, "content": "\u{2581}"},
        "pre_tokenizer": {"type": "Split", "pattern": space, "behavior": "MergedWithPrevious", "invert": false},
        "post_processor": processor::template(words)?,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": back, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": model,
    });
    out.put(TOKENIZER, &json);
    config.insert("tokenizer_class".into(), json!("GemmaTokenizer"));
    config.insert("additional_special_tokens".into(), words.controls()?);
    Ok(())
}

/// `model`: every token by its id but those of rows without one, and the merges.
fn model(words: &Words<'_>, byte_fallback: bool, whole_words: bool) -> Result<Value> {
    let mut vocab = Map::new();
    for id in (0..words.tokens.len()).filter(|id| words.kind(*id) != kinds::UNUSED) {
        vocab.insert(words.text(id)?.into(), json!(id));
    }
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
    let merges: Vec<Value> = merges.iter().map(|m| pair(m).ok_or_else(|| wrong(m))).collect::<Result<_>>()?;
    Ok(json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": byte_fallback,
        "ignore_merges": whole_words, "vocab": vocab, "merges": merges}))
}
