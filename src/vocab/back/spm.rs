//! A "llama" vocabulary as SentencePiece's `tokenizer.model`. Tokens with the score of added ones are added again by
//! `tokenizer_config.json`.

use super::{Regained, Words};
use crate::vocab::files::MODEL;
use crate::vocab::spm::{BPE, ModelProto, NormalizerSpec, Piece, TrainerSpec};
use crate::vocab::{kinds, table};
use ggraft_formats::Result;
use prost::Message;
use serde_json::{Map, Value, json};

/// Names that `LlamaTokenizer` has by itself.
const USUAL: [(&str, &str); 3] = [("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")];

pub fn write(words: &Words<'_>, config: &mut Map<String, Value>, out: &mut Regained) -> Result<()> {
    let is_added = |id: usize| {
        [kinds::CONTROL, kinds::USER_DEFINED].contains(&words.kind(id)) && words.score(id) == table::ADDED
    };
    let is_piece = |id: &usize| !is_added(*id) && words.kind(*id) != kinds::UNUSED;
    let len = (0..words.tokens.len()).rev().find(is_piece).map_or(0, |last| last + 1);
    // A row without a token keeps its place before one that is added.
    let last = (0..words.tokens.len()).rev().find(|id| is_added(*id)).unwrap_or(0);
    let hole = (len..last).rev().find(|id| words.kind(*id) == kinds::UNUSED);
    let len = hole.map_or(len, |hole| hole + 1);
    let unknown = unknown(words, len);
    let mut pieces = Vec::with_capacity(len);
    for id in 0..len {
        pieces.push(piece(words, id, Some(id) == unknown)?);
    }
    let bytes = pieces.iter().any(|piece| piece.r#type == Some(kinds::BYTE));
    let number = |id: Option<usize>| Some(id.and_then(|id| i32::try_from(id).ok()).unwrap_or(-1));
    let name = |key: &str| words.id(key).map(|id| words.text(id).map(String::from)).transpose();
    let trainer = TrainerSpec {
        model_type: Some(BPE),
        vocab_size: i32::try_from(len).ok(),
        byte_fallback: Some(bytes),
        unk_id: number(unknown),
        bos_id: number(words.id("bos_token_id")),
        eos_id: number(words.id("eos_token_id")),
        pad_id: number(words.id("padding_token_id")),
        unk_piece: unknown.map(|id| words.text(id).map(String::from)).transpose()?,
        bos_piece: name("bos_token_id")?,
        eos_piece: name("eos_token_id")?,
    };
    let prefix = words.flag("add_space_prefix");
    let normalizer = NormalizerSpec {
        name: Some(String::from("identity")),
        precompiled_charsmap: None,
        add_dummy_prefix: Some(prefix.unwrap_or(true)),
        remove_extra_whitespaces: Some(false),
    };
    let model = ModelProto { pieces, trainer_spec: Some(trainer), normalizer_spec: Some(normalizer) };
    out.files.push((MODEL.into(), model.encode_to_vec()));
    config.insert("tokenizer_class".into(), json!("LlamaTokenizer"));
    if let Some(prefix) = prefix {
        config.insert("add_prefix_space".into(), json!(prefix));
    }
    // A name makes a token an added one, which these are not.
    let added = |text: &str| (0..words.tokens.len()).any(|id| is_added(id) && words.is(id, text));
    config.retain(|key, value| match value.as_str() {
        Some(text) => !USUAL.contains(&(key.as_str(), text)) || added(text),
        None => true,
    });
    let mut decoder = Map::new();
    for id in (0..words.tokens.len()).filter(|id| is_added(*id)) {
        decoder.insert(id.to_string(), Value::Object(words.added(id)?));
    }
    config.insert("added_tokens_decoder".into(), Value::Object(decoder));
    Ok(())
}

/// The piece that stands for what no other does: every model has one.
fn unknown(words: &Words<'_>, len: usize) -> Option<usize> {
    let kind = (0..len).find(|id| words.kind(*id) == kinds::UNKNOWN);
    let named = || words.id("unknown_token_id").filter(|id| *id < len);
    let usual = || (0..len).find(|id| words.is(*id, "<unk>"));
    kind.or_else(named).or_else(usual)
}

fn piece(words: &Words<'_>, id: usize, is_unknown: bool) -> Result<Piece> {
    let (text, kind, score) = (words.text(id)?, words.kind(id), words.score(id));
    let (text, kind, score) = match kind {
        _ if is_unknown && kind == kinds::CONTROL => (text.to_string(), kinds::UNKNOWN, 0.0),
        kinds::USER_DEFINED => (text.replace(' ', "\u{2581}"), kind, score),
        kinds::CONTROL if score == table::ADDED => (text.to_string(), kind, 0.0),
        _ => (text.to_string(), kind, score),
    };
    Ok(Piece { piece: Some(text.into_bytes()), score: Some(score), r#type: Some(kind) })
}
