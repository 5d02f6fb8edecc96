//! A "t5" vocabulary as a `tokenizer.json` of Unigram.
//! Specification: `Unigram`, `Precompiled`, `Metaspace` of the `tokenizers` library.

use super::{Regained, Words, processor};
use crate::vocab::files::TOKENIZER;
use crate::vocab::kinds;
use crate::vocab::spm::{ModelProto, NormalizerSpec, Piece, TrainerSpec};
use crate::vocab::unigram::{REALIGNED, UNIGRAM};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ggraft_formats::{Array, Result};
use prost::Message;
use serde_json::{Map, Value, json};

/// What XLM-RoBERTa calls the token in whose place a GGUF has none.
const MASK: &str = "<mask>";

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
    let mut beside: Vec<usize> = words.whole().chain(unknown).collect();
    beside.sort_unstable();
    let mut added = words.added_tokens(beside.into_iter())?;
    if let Some((id, list)) = hidden(words).zip(added.as_array_mut()) {
        list.push(json!({"id": id, "content": MASK, "lstrip": true, "normalized": false, "rstrip": false,
            "single_word": false, "special": true}));
        config.insert("mask_token".into(), json!(MASK));
        out.files.push((REALIGNED.into(), realigned(words, len)?));
    }
    let scheme = if prefix { "always" } else { "never" };
    let space =
        json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": true});
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
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

/// The id of a mask that is named where the vocabulary has no token: fairseq adds it to SentencePiece's.
fn hidden(words: &Words<'_>) -> Option<usize> {
    words.id("mask_token_id").filter(|id| words.kind(*id) == kinds::UNUSED)
}

/// SentencePiece's own file, which has its pieces of the first `len` tokens in the places before fairseq counted anew.
fn realigned(words: &Words<'_>, len: usize) -> Result<Vec<u8>> {
    let first = [("<unk>", kinds::UNKNOWN), ("<s>", kinds::CONTROL), ("</s>", kinds::CONTROL)];
    let piece = |text: &str, kind: i32, score: f32| Piece {
        piece: Some(text.as_bytes().to_vec()),
        score: Some(score),
        r#type: Some(kind),
    };
    let mut pieces: Vec<Piece> = first.iter().map(|(text, kind)| piece(text, *kind, 0.0)).collect();
    for id in 4..len {
        pieces.push(piece(words.text(id)?, words.kind(id), words.score(id)));
    }
    let charsmap = match words.metadata.get("tokenizer.ggml.precompiled_charsmap").and_then(|v| v.as_array())
    {
        Some(Array::U8(map)) => Some(map.clone()),
        _ => None,
    };
    let trainer = TrainerSpec {
        model_type: Some(UNIGRAM),
        vocab_size: i32::try_from(pieces.len()).ok(),
        ..TrainerSpec::default()
    };
    let normalizer = NormalizerSpec {
        name: None,
        precompiled_charsmap: charsmap,
        add_dummy_prefix: words.flag("add_space_prefix"),
        remove_extra_whitespaces: words.flag("remove_extra_whitespaces"),
    };
    let model = ModelProto { pieces, trainer_spec: Some(trainer), normalizer_spec: Some(normalizer) };
    Ok(model.encode_to_vec())
}
