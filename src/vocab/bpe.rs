//! A byte-level BPE `tokenizer.json` -> the table and merges of a "gpt2" vocabulary. Serves the door and
//! `fallback`. Specification: `tokenizer.json` of the `tokenizers` library (`BPE`, `AddedToken`, `ByteLevel`);
//! convert_hf_to_gguf `get_vocab_base`; gguf-py `SpecialVocab` (merges).

use super::added::{Added, Origin};
use super::files::{self, Files};
use super::kinds;
use super::table::{self, Table};
use super::tell;
use bstr::BString;
use ggraft_formats::{Error, Result};
use serde_json::Value;
use std::collections::HashMap;

/// Text -> id of `model.vocab`, which has no two texts of one id.
pub type Vocab<'a> = HashMap<&'a str, u32>;

/// Whether text becomes GPT-2's letters for bytes before it is merged.
pub fn is_byte_level(json: &Value) -> bool {
    fn any(of: &Value) -> bool {
        let parts = |key: &str| of.get(key).and_then(Value::as_array).is_some_and(|l| l.iter().any(any));
        of.get("type").is_some_and(|kind| kind == "ByteLevel") || parts("pretokenizers") || parts("decoders")
    }
    ["pre_tokenizer", "decoder"].into_iter().filter_map(|key| json.get(key)).any(any)
}

/// Refuses a model that is not BPE, which no key of GGUF can make up for.
pub fn check(files: &Files, json: &Value) -> Result<()> {
    let kind = json.get("model").and_then(|m| m.get("type")).unwrap_or(&Value::Null);
    if kind.is_null() || kind == "BPE" {
        return Ok(());
    }
    let name = kind.as_str().map_or_else(|| files::brief(kind), str::to_string);
    Err(Error::unsupported(format!("the tokenizer is {name}, not BPE"))
        .file(&files.path(files::TOKENIZER))
        .expected("`model.type` BPE")
        .found(files::brief(kind))
        .hint("add the SentencePiece tokenizer.model of the model's repository"))
}

/// The table of `vocab` and the tokens added to it, padded to `size` ids, and `tokenizer.ggml.merges`.
pub fn table(
    files: &Files,
    json: &Value,
    vocab: &Vocab,
    added: &[Added],
    size: Option<usize>,
    warnings: &mut Vec<String>,
) -> Result<(Table, Vec<BString>)> {
    let n = table_len(files, vocab, added, size)?;
    let mut table = Table::holes(n, false);
    for (&text, &id) in vocab {
        table.set(id as usize, text, kinds::NORMAL, 0.0);
    }
    let mut respelled = Vec::new();
    for token in added {
        let plain = if token.normalized { token.clone() } else { decoded(token) };
        let (text, kind) = Added { origin: Origin::Tokenizer, ..plain }.text_and_type();
        respelled.extend((text != token.content).then_some(token));
        table.set(token.id as usize, text, kind, 0.0);
    }
    tell::respelled(&respelled, warnings);
    table.finish(&files.path(files::TOKENIZER))?;
    tell::merging(json, warnings);
    Ok((table, merges(files, json, vocab, warnings)?))
}

/// `model.vocab`.
pub fn vocab<'a>(files: &Files, json: &'a Value) -> Result<Vocab<'a>> {
    let found = json.get("model").and_then(|m| m.get("vocab")).unwrap_or(&Value::Null);
    let wrong = |found: &Value| files.wrong(files::TOKENIZER, "model.vocab", "an object of token: id", found);
    let map = found.as_object().filter(|map| !map.is_empty()).ok_or_else(|| wrong(found))?;
    let mut vocab = HashMap::with_capacity(map.len());
    let mut holder: HashMap<u32, &str> = HashMap::with_capacity(map.len());
    for (text, id) in map {
        let number = id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| wrong(id))?;
        if let Some(first) = holder.insert(number, text) {
            return Err(Error::invalid(format!("two tokens of `model.vocab` have the id {number}"))
                .file(&files.path(files::TOKENIZER))
                .expected("one token an id")
                .found(format!("'{first}' and '{text}'"))
                .hint("take the file from the model's repository again"));
        }
        vocab.insert(text.as_str(), number);
    }
    Ok(vocab)
}

/// The number of ids: `size`, or one more than the highest id. No id may reach `size`.
pub fn table_len(files: &Files, vocab: &Vocab, added: &[Added], size: Option<usize>) -> Result<usize> {
    let ids = vocab.iter().map(|(text, id)| (*id as usize, *text));
    let ids = ids.chain(added.iter().map(|t| (t.id as usize, t.content.as_str())));
    let (last, text) = ids.max().unwrap_or_default();
    let limit = size.unwrap_or(table::MAX_TOKENS);
    if last >= limit {
        return Err(Error::invalid("the tokenizer has more tokens than the model has embeddings")
            .file(&files.path(files::TOKENIZER))
            .expected(format!("ids below {limit}, `vocab_size` of config.json"))
            .found(format!("'{text}' with the id {last}"))
            .hint("use the tokenizer files that belong to these weights, or correct `vocab_size`"));
    }
    Ok(size.unwrap_or(last + 1))
}

/// The converter writes a token that is matched before normalization as the decoder would print it: where every
/// character stands for a byte, these bytes.
fn decoded(token: &Added) -> Added {
    let bytes: Option<Vec<u8>> = token.content.chars().map(byte_of).collect();
    match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(content) => Added { content, ..token.clone() },
        None => token.clone(),
    }
}

/// Bytes in GPT-2's alphabet.
pub fn letters(bytes: &[u8]) -> String {
    static ALPHABET: std::sync::OnceLock<[char; 256]> = std::sync::OnceLock::new();
    let alphabet = ALPHABET.get_or_init(|| {
        let mut all = ['\0'; 256];
        for c in (0u32..0x200).filter_map(char::from_u32) {
            if let Some(slot) = byte_of(c).and_then(|byte| all.get_mut(usize::from(byte))) {
                *slot = c;
            }
        }
        all
    });
    bytes.iter().map(|byte| alphabet[usize::from(*byte)]).collect()
}

/// The byte that a character of GPT-2's alphabet stands for: printable Latin-1 for itself, the 68 others in
/// order from U+0100.
fn byte_of(c: char) -> Option<u8> {
    let printable = |b: u8| matches!(b, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    match u32::from(c) {
        code @ 0..=0xFF => u8::try_from(code).ok().filter(|b| printable(*b)),
        code => (0..=0xFF).filter(|b| !printable(*b)).nth((code - 0x100) as usize),
    }
}

/// 'a b' each, with U+0120 for a space inside a part.
pub fn merges(
    files: &Files,
    json: &Value,
    vocab: &Vocab,
    warnings: &mut Vec<String>,
) -> Result<Vec<BString>> {
    let from_text;
    let pairs = match merge_pairs(files, json)? {
        pairs if !pairs.is_empty() => pairs,
        _ => {
            from_text = files.checkpoint.text("merges.txt")?.unwrap_or_default();
            from_text
                .lines()
                .filter(|l| !l.starts_with("#version"))
                .filter_map(|l| l.trim().split_once(' '))
                .collect()
        }
    };
    let listed = json.get("model").and_then(|m| m.get("merges")).is_some_and(Value::is_array);
    if pairs.is_empty() && listed {
        warnings.push(format!(
            "{}: `model.merges` is an empty list: each character is a token of its own, and no merges are written",
            files::TOKENIZER
        ));
        return Ok(Vec::new());
    }
    if pairs.is_empty() {
        return Err(Error::invalid("`model.merges` is missing or empty, and there is no merges.txt")
            .file(&files.path(files::TOKENIZER))
            .expected("a list of merges")
            .found("none")
            .hint("take the file from the model's repository again"));
    }
    check_merges(files, vocab, &pairs)?;
    let part = |text: &str| text.replace(' ', "\u{120}");
    Ok(pairs.iter().map(|(left, right)| format!("{} {}", part(left), part(right)).into()).collect())
}

/// `model.merges`, which is a list of 'a b' or of ['a', 'b'].
pub fn merge_pairs<'a>(files: &Files, json: &'a Value) -> Result<Vec<(&'a str, &'a str)>> {
    let found = json.get("model").and_then(|m| m.get("merges")).unwrap_or(&Value::Null);
    let wrong =
        |found: &Value| files.wrong(files::TOKENIZER, "model.merges", "a list of 'a b' or ['a', 'b']", found);
    let list = match found {
        Value::Null => return Ok(Vec::new()),
        found => found.as_array().ok_or_else(|| wrong(found))?,
    };
    let pair = |entry: &'a Value| match entry {
        Value::String(text) => text.split_once(' ').filter(|(_, right)| !right.contains(' ')),
        Value::Array(parts) => match parts.as_slice() {
            [left, right] => left.as_str().zip(right.as_str()),
            _ => None,
        },
        _ => None,
    };
    list.iter().map(|entry| pair(entry).ok_or_else(|| wrong(entry))).collect()
}

/// Every part of a merge, and their union, must be in the vocabulary.
pub fn check_merges(files: &Files, vocab: &Vocab, merges: &[(&str, &str)]) -> Result<()> {
    let mut union = String::new();
    for (rank, (left, right)) in merges.iter().enumerate() {
        union.clear();
        union.extend([*left, *right]);
        if let Some(part) = [*left, *right, &union].into_iter().find(|part| !vocab.contains_key(part)) {
            return Err(Error::invalid(format!(
                "merge {rank} ('{left}' and '{right}') names an unknown token"
            ))
            .file(&files.path(files::TOKENIZER))
            .expected("both parts and their union in `model.vocab`")
            .found(format!("no '{part}' there"))
            .hint("take the file from the model's repository again"));
        }
    }
    Ok(())
}
