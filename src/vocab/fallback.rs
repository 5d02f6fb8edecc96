//! A SentencePiece-style BPE `tokenizer.json` (byte fallback) without its `tokenizer.model` -> the table of a
//! "llama" vocabulary. Serves the door. Unlike convert_hf_to_gguf, which gives every token the score -1000 and
//! so loses the order of the merges, the scores here are SentencePiece's: the runtime merges the neighbours
//! whose union scores highest, so the n-th union of `merges` has the score -n.
//! Specification: `tokenizer.json` of the `tokenizers` library; `BPE` scores of SentencePiece's trainer.

use super::added::{Added, respelled};
use super::bpe;
use super::files::{self, Files};
use super::kinds;
use super::layers;
use super::table::{self, Table};
use super::tell;
use crate::arrange::Arrange;
use ggraft_formats::Result;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// A BPE model whose unknown characters become bytes, and whose decoder puts them together again.
pub fn is_byte_fallback(json: &Value) -> bool {
    let model = json.get("model");
    let bpe = model.and_then(|m| m.get("type")).is_none_or(|kind| kind == "BPE");
    let flag = model.and_then(|m| m.get("byte_fallback")).and_then(Value::as_bool);
    let decoder = json.get("decoder").and_then(|d| d.get("type"));
    bpe && flag == Some(true) && decoder.is_some_and(|kind| kind == "Sequence")
}

/// Whether a space is put before a text, as the runtime does unless `add_space_prefix` forbids it.
pub fn prepends_space(json: &Value) -> bool {
    fn any(of: &Value) -> bool {
        let parts = |key: &str| of.get(key).and_then(Value::as_array).is_some_and(|l| l.iter().any(any));
        match of.get("type").and_then(Value::as_str) {
            Some("Prepend") => true,
            // Files older than `prepend_scheme` say `add_prefix_space`, which is true by default.
            Some("Metaspace") => match of.get("prepend_scheme").and_then(Value::as_str) {
                Some(scheme) => scheme != "never",
                None => of.get("add_prefix_space").and_then(Value::as_bool).unwrap_or(true),
            },
            Some("Sequence") => parts("normalizers") || parts("pretokenizers"),
            _ => false,
        }
    }
    ["normalizer", "pre_tokenizer"].into_iter().filter_map(|key| json.get(key)).any(any)
}

/// The table of `vocab`, padded to `size` ids, with the `added` tokens laid over it.
pub fn table(
    files: &Files,
    json: &Value,
    vocab: &bpe::Vocab,
    added: &[Added],
    size: Option<usize>,
    warnings: &mut Vec<String>,
) -> Result<Table> {
    let merges = bpe::merge_pairs(files, json)?;
    bpe::check_merges(files, vocab, &merges)?;
    let n = bpe::table_len(files, vocab, added, size)?;

    let mut table = Table::holes(n, true);
    let is_added: HashSet<&str> = added.iter().map(|t| t.content.as_str()).collect();
    let unknown = json.get("model").and_then(|m| m.get("unk_token")).and_then(Value::as_str);
    let mut normal: Vec<(&str, u32)> = Vec::with_capacity(vocab.len());
    for (&text, &id) in vocab {
        if is_byte(text) {
            table.set(id as usize, text, kinds::BYTE, 0.0);
        } else if Some(text) == unknown {
            table.set(id as usize, text, kinds::UNKNOWN, 0.0);
        } else if !is_added.contains(text) {
            normal.push((text, id));
        }
    }
    rank(&mut normal, &merges);
    for (rank, &(text, id)) in normal.iter().enumerate() {
        table.set(id as usize, text, kinds::NORMAL, -(rank as f32));
    }
    say_unlisted_unions(&normal, &merges, warnings);
    for token in added {
        table.overlay(token, warnings);
    }
    tell::respelled(&respelled(added), warnings);
    table.finish(&files.path(files::TOKENIZER))?;
    Ok(table)
}

/// The table of a vocabulary that the runtime merges by its list of merges (Gemma 4): scores mean nothing, and only special
/// tokens are not ordinary. Some of them are printed all the same, for programs that read a chat.
pub fn merged(files: &Files, vocab: &bpe::Vocab, added: &[Added], size: Option<usize>) -> Result<Table> {
    const VISIBLE: [&str; 7] = [
        "<|channel>",
        "<channel|>",
        "<|tool_call>",
        "<tool_call|>",
        "<|tool_response>",
        "<tool_response|>",
        "<|\"|>",
    ];
    let n = bpe::table_len(files, vocab, added, size)?;
    let mut table = Table::holes(n, true);
    let mut special: HashSet<String> = layers::special(files)?;
    // The names that its class has by itself.
    special.extend(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"].map(String::from));
    let kind = |text: &str, otherwise: i32| match text {
        visible if VISIBLE.contains(&visible) => kinds::USER_DEFINED,
        byte if is_byte(byte) => kinds::BYTE,
        control if special.contains(control) => kinds::CONTROL,
        _ => otherwise,
    };
    for (&text, &id) in vocab {
        table.set(id as usize, text, kind(text, kinds::NORMAL), table::ADDED);
    }
    for token in added.iter().filter(|token| !vocab.contains_key(token.content.as_str())) {
        let text = token.content.as_str();
        table.set(token.id as usize, text, kind(text, kinds::USER_DEFINED), table::ADDED);
    }
    table.finish(&files.path(files::TOKENIZER))?;
    Ok(table)
}

/// The table of a vocabulary of which neither scores nor merges are written (XVERSE).
pub fn bare(files: &Files, vocab: &bpe::Vocab, added: &[Added], size: Option<usize>) -> Result<Table> {
    let n = bpe::table_len(files, vocab, added, size)?;
    let mut table = Table::holes(n, false);
    for (&text, &id) in vocab {
        // No token of the runtime is a NUL alone.
        let (text, kind) = match text {
            "\0" => ("<\0>", kinds::BYTE),
            byte if is_byte(byte) => (byte, kinds::BYTE),
            text => (text, kinds::NORMAL),
        };
        table.set(id as usize, text, kind, 0.0);
    }
    for token in added {
        let kind = if token.special { kinds::CONTROL } else { kinds::USER_DEFINED };
        table.set(token.id as usize, token.content.as_str(), kind, 0.0);
    }
    table.finish(&files.path(files::TOKENIZER))?;
    Ok(table)
}

/// Bytes of the longest piece whose splits are all looked at; trainers stop at 16 characters.
const LONGEST_WORD: usize = 256;

/// Orders pieces by the first merge that makes them; a trainer gives out ids in that order, and then pieces that
/// no merge makes (characters) keep the place that their id has, as in SentencePiece.
fn rank(normal: &mut [(&str, u32)], merges: &[(&str, &str)]) {
    normal.arrange_by_key(|&(_, id)| id);
    let mut first: HashMap<String, usize> = HashMap::with_capacity(merges.len());
    for (rank, (left, right)) in merges.iter().enumerate() {
        first.entry(format!("{left}{right}")).or_insert(rank);
    }
    let ranks: Vec<usize> = normal.iter().filter_map(|(text, _)| first.get(*text).copied()).collect();
    if !ranks.is_sorted() {
        normal.arrange_by_key(|&(text, id)| (first.get(text).copied().unwrap_or(usize::MAX), id));
    }
}

/// The runtime joins any two pieces whose union is a piece; a `tokenizer.json` that was not made from a
/// SentencePiece model may list fewer merges, and then text can be split differently.
fn say_unlisted_unions(normal: &[(&str, u32)], merges: &[(&str, &str)], warnings: &mut Vec<String>) {
    let pieces: HashSet<&str> = normal.iter().map(|(text, _)| *text).collect();
    let listed: HashSet<(&str, &str)> = merges.iter().copied().collect();
    let splits = |text| str::char_indices(text).skip(1).map(move |(at, _)| text.split_at(at));
    let unlisted =
        |(l, r): &(&str, &str)| pieces.contains(l) && pieces.contains(r) && !listed.contains(&(*l, *r));
    let words = normal.iter().filter(|(text, _)| text.len() <= LONGEST_WORD);
    let mut unlisted = words.flat_map(|&(text, _)| splits(text)).filter(unlisted);
    if let Some((left, right)) = unlisted.next() {
        let n = unlisted.count() + 1;
        warnings.push(format!(
            "{}: the runtime also joins {n} pairs that `merges` does not list, the first '{left}' and '{right}': unlike transformers; a tokenizer.model would tell the scores",
            files::TOKENIZER
        ));
    }
}

/// `<0x00>` to `<0xFF>`.
fn is_byte(text: &str) -> bool {
    let hex = text.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
    hex.is_some_and(|hex| hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}
