//! Unigram models (T5, XLM-RoBERTa): SentencePiece's file or, where there is none, `tokenizer.json` -> the table of a "t5"
//! vocabulary, with what the runtime must know of its normalizer. Serves the door.
//! Specification: `T5Model.set_vocab`, `BertModel._xlmroberta_set_vocab` of llama.cpp's converter.

use super::added::Added;
use super::bpe::Vocab;
use super::files::{self, Files};
use super::kinds;
use super::spm::{self, ModelProto};
use super::table::{self, Table};
use super::{SPACE_PREFIX, layers};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ggraft_formats::{Array, Error, Metadata, Result, Value as Told};
use serde_json::Value;
use std::collections::HashSet;

const FILES: [&str; 3] = ["spiece.model", files::MODEL, "sentencepiece.bpe.model"];
pub const UNIGRAM: i32 = 1;

/// Whose ids are fairseq's: four tokens of its own come first.
pub const REALIGNED: &str = "sentencepiece.bpe.model";
const FIRST: [(&str, i32); 4] =
    [("<s>", kinds::CONTROL), ("<pad>", kinds::CONTROL), ("</s>", kinds::CONTROL), ("<unk>", kinds::UNKNOWN)];

pub fn is_unigram(json: &Value) -> bool {
    json.get("model").and_then(|m| m.get("type")).is_some_and(|kind| kind == "Unigram")
}

/// The pieces of a `tokenizer.json` and their ids.
pub fn vocab(json: &Value) -> Vocab<'_> {
    let list = json.get("model").and_then(|m| m.get("vocab")).and_then(Value::as_array);
    let texts = list.into_iter().flatten().map(|entry| entry.get(0).and_then(Value::as_str));
    (0..).zip(texts).filter_map(|(id, text)| text.map(|text| (text, id))).collect()
}

/// Writes the table; `types` is the number of types of tokens, which encoders with realigned ids write in its midst.
pub fn write(
    files: &Files,
    added: &[Added],
    size: Option<usize>,
    types: Option<u32>,
    metadata: &mut Metadata,
) -> Result<usize> {
    let mut found = None;
    for name in FILES.into_iter().filter(|name| types.is_some() == (*name == REALIGNED)) {
        found = found.or(files.checkpoint.bytes(name)?.map(|bytes| (name, bytes)));
    }
    let (table, prefix, spaces, charsmap) = match found {
        Some((name, bytes)) => {
            let model = spm::read(files, bytes.bytes())?;
            let kind = model.trainer_spec.clone().unwrap_or_default().model_type();
            if kind != UNIGRAM {
                return Err(Error::unsupported("the tokenizer is no unigram model")
                    .file(&files.path(name))
                    .expected("model type 1")
                    .found(kind));
            }
            let table = of_model(&model, files, size, name == REALIGNED)?;
            let normalizer = model.normalizer_spec.unwrap_or_default();
            let (prefix, spaces) = (normalizer.add_dummy_prefix(), normalizer.remove_extra_whitespaces());
            (table, prefix, spaces, normalizer.precompiled_charsmap.unwrap_or_default())
        }
        None => of_json(files, added, size)?,
    };
    let n = table.len();
    table.write("t5", "default", metadata);
    metadata.set(SPACE_PREFIX, prefix);
    if let Some(types) = types {
        metadata.set("tokenizer.ggml.token_type_count", types);
    }
    metadata.set("tokenizer.ggml.remove_extra_whitespaces", spaces);
    if !charsmap.is_empty() {
        metadata.set("tokenizer.ggml.precompiled_charsmap", Told::Array(Array::U8(charsmap)));
    }
    Ok(n)
}

/// The pieces of SentencePiece, padded to `size` ids; as fairseq counts them, if they are realigned.
fn of_model(model: &ModelProto, files: &Files, size: Option<usize>, realigned: bool) -> Result<Table> {
    let held = model.pieces.len();
    let n = if realigned { size.unwrap_or(0).max(held) } else { size.unwrap_or(held) };
    let mut all = Table::holes(n, true);
    if !realigned {
        for (id, piece) in model.pieces.iter().take(n).enumerate() {
            all.set(id, spm::text(piece).unwrap_or_default(), spm::kind(piece), piece.score.unwrap_or(0.0));
        }
        if let Some(json) = files.checkpoint.json(files::ADDED)?.as_ref().and_then(Value::as_object) {
            for (text, id) in json {
                let id = id.as_u64().and_then(|id| usize::try_from(id).ok()).unwrap_or(usize::MAX);
                all.set(id, text.as_str(), kinds::USER_DEFINED, table::ADDED);
            }
        }
        return Ok(all);
    }
    for (id, (text, kind)) in FIRST.into_iter().enumerate() {
        all.set(id, text, kind, 0.0);
    }
    for id in 4..n {
        match model.pieces.get(id - 1) {
            Some(piece) => {
                all.set(
                    id,
                    spm::text(piece).unwrap_or_default(),
                    spm::kind(piece),
                    piece.score.unwrap_or(0.0),
                );
            }
            None => {
                all.set(id, format!("[PAD{}]", id - 1), kinds::UNUSED, table::HOLE);
            }
        }
    }
    Ok(all)
}

/// The pieces of a `tokenizer.json`, and what it says of spaces and letters.
fn of_json(files: &Files, added: &[Added], size: Option<usize>) -> Result<(Table, bool, bool, Vec<u8>)> {
    let json = files.tokenizer.as_ref().unwrap_or(&Value::Null);
    let model = json.get("model").unwrap_or(&Value::Null);
    let wrong =
        |found: &Value| files.wrong(files::TOKENIZER, "model.vocab", "a list of [piece, score]", found);
    let list = model.get("vocab").unwrap_or(&Value::Null);
    let list = list.as_array().ok_or_else(|| wrong(list))?;
    let n = size.unwrap_or(0).max(list.len());
    let unknown = model.get("unk_id").and_then(Value::as_u64).unwrap_or(3);
    let special: HashSet<String> = layers::special(files)?;
    let mut all = Table::holes(n, true);
    for (id, entry) in list.iter().enumerate() {
        let pair = (entry.get(0).and_then(Value::as_str), entry.get(1).and_then(Value::as_f64));
        let (Some(text), Some(score)) = pair else { return Err(wrong(entry)) };
        let kind = match () {
            () if id as u64 == unknown => kinds::UNKNOWN,
            () if special.contains(text) => kinds::CONTROL,
            () if added.iter().any(|token| token.id as usize == id) => kinds::USER_DEFINED,
            () => kinds::NORMAL,
        };
        all.set(id, text, kind, score as f32);
    }
    let flag = |key: &str| files.config(key).and_then(Value::as_bool).unwrap_or(true);
    let charsmap = json.get("normalizer").and_then(charsmap);
    let charsmap = charsmap.map(|text| STANDARD.decode(text).map_err(|_| wrong(&Value::Null))).transpose()?;
    Ok((all, flag("add_prefix_space"), flag("clean_up_tokenization_spaces"), charsmap.unwrap_or_default()))
}

/// SentencePiece's map of letters, wherever a normalizer has it.
fn charsmap(normalizer: &Value) -> Option<&str> {
    let own = normalizer.get("precompiled_charsmap").and_then(Value::as_str);
    own.or_else(|| normalizer.get("normalizers")?.as_array()?.iter().find_map(charsmap))
}
