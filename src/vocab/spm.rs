//! SentencePiece's `tokenizer.model` -> the table of a "llama" vocabulary. Serves the door, and tests that
//! write a model. Specification: `sentencepiece_model.proto` (proto2; only the fields used here are declared),
//! convert_hf_to_gguf `_create_vocab_sentencepiece`, but that user-defined pieces are matched whole unless a
//! tokenizer.json, which names such tokens, does not name them.

use super::added::{Added, respelled};
use super::bpe::Vocab;
use super::files::{self, Files};
use super::kinds;
use super::table::Table;
use super::tell;
use bstr::BString;
use ggraft_formats::{Error, Result};
use prost::Message;

/// A whole SentencePiece model.
#[derive(Clone, PartialEq, Message)]
pub struct ModelProto {
    /// One piece an id, from 0.
    #[prost(message, repeated, tag = "1")]
    pub pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    pub trainer_spec: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    pub normalizer_spec: Option<NormalizerSpec>,
}

/// One piece of text.
#[derive(Clone, PartialEq, Message)]
pub struct Piece {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub piece: Option<Vec<u8>>,
    /// Log probability (unigram), or minus the rank of the merge that makes the piece (BPE).
    #[prost(float, optional, tag = "2")]
    pub score: Option<f32>,
    /// `llama_token_type` has the same numbers. Normal if absent.
    #[prost(int32, optional, tag = "3")]
    pub r#type: Option<i32>,
}

/// How the model was trained.
#[derive(Clone, PartialEq, Message)]
pub struct TrainerSpec {
    /// 1 unigram (the default), 2 BPE, 3 word, 4 char.
    #[prost(int32, optional, tag = "3", default = "1")]
    pub model_type: Option<i32>,
    #[prost(int32, optional, tag = "4", default = "8000")]
    pub vocab_size: Option<i32>,
    #[prost(bool, optional, tag = "35")]
    pub byte_fallback: Option<bool>,
    #[prost(int32, optional, tag = "40", default = "0")]
    pub unk_id: Option<i32>,
    #[prost(int32, optional, tag = "41", default = "1")]
    pub bos_id: Option<i32>,
    #[prost(int32, optional, tag = "42", default = "2")]
    pub eos_id: Option<i32>,
    #[prost(int32, optional, tag = "43", default = "-1")]
    pub pad_id: Option<i32>,
    #[prost(string, optional, tag = "45")]
    pub unk_piece: Option<String>,
    #[prost(string, optional, tag = "46")]
    pub bos_piece: Option<String>,
    #[prost(string, optional, tag = "47")]
    pub eos_piece: Option<String>,
}

/// What happens to the text before it is split.
#[derive(Clone, PartialEq, Message)]
pub struct NormalizerSpec {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub precompiled_charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3", default = "true")]
    pub add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4", default = "true")]
    pub remove_extra_whitespaces: Option<bool>,
}

/// Its number in `model_type`.
pub const BPE: i32 = 2;

/// The model that the bytes of `tokenizer.model` hold.
pub fn read(files: &Files, model: &[u8]) -> Result<ModelProto> {
    let path = files.path(files::MODEL);
    let broken = |what: String| {
        Error::invalid(what)
            .file(&path)
            .expected("a SentencePiece model")
            .hint("take it from the model's repository again; if it is a tiktoken file, remove it, and tokenizer.json is used")
    };
    let model =
        ModelProto::decode(model).map_err(|e| broken(format!("this is not a SentencePiece model: {e}")))?;
    if model.pieces.is_empty() {
        return Err(broken("the model has no pieces".into()));
    }
    for (id, piece) in model.pieces.iter().enumerate() {
        if text(piece).is_none_or(str::is_empty) {
            return Err(Error::invalid(format!("piece {id} is empty or not UTF-8"))
                .file(&path)
                .found(BString::from(piece.piece.as_deref().unwrap_or_default()))
                .hint("take the file from the model's repository again"));
        }
    }
    Ok(model)
}

/// The ids of the pieces by their texts; of two pieces with one text the later.
pub fn vocab(model: &ModelProto) -> Vocab<'_> {
    let pieces = model.pieces.iter().enumerate();
    pieces.filter_map(|(id, piece)| Some((text(piece)?, u32::try_from(id).ok()?))).collect()
}

/// The table of `model`, padded or cut to `size` ids, with the `added` tokens laid over it.
pub fn table(
    files: &Files,
    model: &ModelProto,
    added: &[Added],
    size: Option<usize>,
    warnings: &mut Vec<String>,
) -> Result<Table> {
    say_what_the_runtime_ignores(model, files.config("add_prefix_space").is_some(), warnings);
    let highest = added.iter().map(|t| t.id as usize + 1).max().unwrap_or(0);
    let n = size.unwrap_or(model.pieces.len().max(highest));
    if let Some(more) = model.pieces.len().checked_sub(n).filter(|more| *more > 0) {
        warnings.push(format!("tokenizer.model: its last {more} pieces are dropped: vocab_size is {n}"));
    }
    let mut table = Table::holes(n, true);
    let mut whole = Vec::new();
    for (id, piece) in model.pieces.iter().take(n).enumerate() {
        let (text, score) = (text(piece).unwrap_or_default(), piece.score.unwrap_or_default());
        // Where a tokenizer.json is, it says which pieces are matched whole.
        if piece.r#type == Some(kinds::USER_DEFINED) && files.tokenizer.is_none() {
            whole.push(text);
            table.set(id, text.replace('\u{2581}', " "), kinds::USER_DEFINED, score);
        } else {
            table.set(id, text, kind(piece), score);
        }
    }
    for token in added {
        whole.retain(|text| *text != token.content);
        table.overlay(token, warnings);
    }
    tell::respelled(&respelled(added), warnings);
    if let Some(first) = whole.first() {
        warnings.push(format!(
            "tokenizer.model: {} user-defined pieces are matched whole, as SentencePiece matches them (convert_hf_to_gguf makes them ordinary ones); the first is '{first}'",
            whole.len()
        ));
    }
    table.finish(&files.path(files::MODEL))?;
    Ok(table)
}

pub fn text(piece: &Piece) -> Option<&str> {
    std::str::from_utf8(piece.piece.as_deref()?).ok()
}

pub fn kind(piece: &Piece) -> i32 {
    match piece.r#type {
        Some(kind @ (kinds::UNKNOWN | kinds::CONTROL | kinds::UNUSED | kinds::BYTE)) => kind,
        _ => kinds::NORMAL,
    }
}

/// The "llama" tokenizer of the runtime merges by score and adds a space before the text, whatever the model says.
fn say_what_the_runtime_ignores(model: &ModelProto, prefix_is_set: bool, warnings: &mut Vec<String>) {
    let trainer = model.trainer_spec.clone().unwrap_or_default();
    if trainer.model_type() != BPE {
        let kind = trainer.model_type();
        warnings.push(format!(
            "tokenizer.model: its model type is {kind}, not BPE (2): the runtime merges by score and may split text otherwise"
        ));
    }
    if !model.normalizer_spec.clone().unwrap_or_default().add_dummy_prefix() && !prefix_is_set {
        warnings.push(
            "tokenizer.model: it adds no space before the text, but the runtime does unless tokenizer.ggml.add_space_prefix is false".into(),
        );
    }
}
