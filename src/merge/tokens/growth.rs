//! Tokens that only the chat model has: the template cannot be written without them, so CP's vocabulary grows by
//! them when that is asked for, and the merge is refused otherwise. Each takes the row whose number transformers gives
//! to the token, so that GGUF and directory agree: rows of padding first. A text is never there twice.

use super::matching::Matching;
use super::tables::{HEAD, TABLES, TOKEN_BIAS, has_rows_of_tokens, table_of, tokens_of};
use super::template::Chosen;
use super::token_rows::grown;
use crate::merge::Vector;
use crate::vocab::kinds::UNUSED;
use crate::vocab::{self, Kind};
use bstr::BString;
use ggraft_formats::{Array, Error, Metadata, Model, Result, Shape, Tensor, Value};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The converter's score of an added token.
const SCORE: f32 = -1000.0;

/// A token of a chat model that CP lacks.
struct Stranger {
    vector: usize,
    id: usize,
    text: BString,
    /// `llama_token_type`.
    kind: i32,
}

/// Gives `onto` the special tokens that only chat has, if `add`; otherwise refuses those that the template needs.
/// Gives the tokens and their rows.
pub(crate) fn grow(
    onto: &mut Model,
    vectors: &[Vector],
    matchings: &[Matching],
    needed: &[String],
    chosen: &Chosen,
    add: bool,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<usize, String>> {
    let strangers = strangers(vectors, matchings)?;
    if add {
        if strangers.is_empty() {
            notes.push(String::from("--add-chat-tokens adds nothing: onto has every special token of chat"));
            return Ok(BTreeMap::new());
        }
        let rows = rows(onto, &strangers, notes)?;
        place(onto, vectors, &rows)?;
        return Ok(rows.into_iter().map(|(row, s)| (row, s.text.to_string())).collect());
    }
    let (lost, unused): (Vec<&Stranger>, Vec<&Stranger>) =
        strangers.iter().partition(|s| needed.iter().any(|n| n.as_bytes() == s.text.as_slice()));
    if !lost.is_empty() {
        return Err(refusal(&lost, vectors, chosen));
    }
    if !unused.is_empty() {
        let names: Vec<String> = unused.iter().map(|s| format!("'{}'", s.text)).collect();
        notes.push(format!(
            "warning: special tokens of chat that onto lacks are left out, their rows with them: {}",
            brief(&names)
        ));
    }
    Ok(BTreeMap::new())
}

fn refusal(lost: &[&Stranger], vectors: &[Vector], chosen: &Chosen) -> Error {
    let names: Vec<String> = lost.iter().map(|s| format!("'{}' (id {})", s.text, s.id)).collect();
    let e = Error::invalid(format!(
        "the chat template ({}) needs tokens that only the chat model has: their trained rows would be lost",
        chosen.whose()
    ))
    .expected("these tokens in onto's vocabulary")
    .found(format!("in chat alone: {}", brief(&names)))
    .hint("give --add-chat-tokens to append them to onto, or choose a template of onto's own tokens with --chat-template");
    match lost.first().and_then(|s| vectors.get(s.vector)?.chat.containers.first()) {
        Some(file) => e.file(file.path()),
        None => e,
    }
}

/// The first few names, and how many more there are.
pub(crate) fn brief(names: &[String]) -> String {
    const FEW: usize = 12;
    match names.len().checked_sub(FEW) {
        Some(more) if more > 0 => format!("{} and {more} more", names[..FEW].join(" ")),
        _ => names.join(" "),
    }
}

/// The special tokens of the chat models that CP lacks, each once.
fn strangers(vectors: &[Vector], matchings: &[Matching]) -> Result<Vec<Stranger>> {
    let mut all: Vec<Stranger> = Vec::new();
    for (vector, (v, m)) in vectors.iter().zip(matchings).enumerate() {
        let Some(table) = tokens_of(&v.chat)? else { continue };
        for id in m.chat_only.iter().map(|id| *id as usize) {
            let Some((text, Kind::Special)) = table.token(id) else { continue };
            if !all.iter().any(|s| s.text == *text) {
                let kind = table.tokens.types.get(id).copied().unwrap_or_default();
                all.push(Stranger { vector, id, text: text.clone(), kind });
            }
        }
    }
    Ok(all)
}

/// The row of each token: that of CP's token of this text, if it has one; else the next that has no token, as
/// transformers counts on.
fn rows<'a>(
    onto: &Model,
    strangers: &'a [Stranger],
    notes: &mut Vec<String>,
) -> Result<BTreeMap<usize, &'a Stranger>> {
    let Some(cp) = tokens_of(onto)? else { return Ok(BTreeMap::new()) };
    if cp.tokens.len() > cp.rows {
        return Err(Error::invalid("onto has more tokens than rows, so that no row is free for another")
            .tensor(TABLES[0])
            .expected(format!("{} rows, one a token", cp.tokens.len()))
            .found(cp.rows)
            .hint("take the tokenizer that belongs to these weights"));
    }
    let held: HashMap<&[u8], usize> =
        (0..cp.rows).rev().filter_map(|row| Some((cp.token(row)?.0.as_slice(), row))).collect();
    let mut next = (0..cp.rows).rev().find(|row| cp.token(*row).is_some()).map_or(0, |last| last + 1);
    let (mut rows, mut ordinary, mut padded) = (BTreeMap::new(), Vec::new(), 0);
    for s in strangers {
        let row = match held.get(s.text.as_slice()) {
            Some(row) => {
                ordinary.push(format!("'{}' ({row})", s.text));
                *row
            }
            None => {
                padded += usize::from(next < cp.rows);
                next += 1;
                next - 1
            }
        };
        rows.insert(row, s);
    }
    if !ordinary.is_empty() {
        notes.push(format!(
            "onto has special tokens of chat as ordinary ones: they become special, with chat's rows: {}",
            brief(&ordinary)
        ));
    }
    if padded > 0 {
        notes.push(format!(
            "{padded} of chat's tokens take rows of padding, which are the next that transformers gives to a token"
        ));
    }
    Ok(rows)
}

/// Gives the tokens to every tensor with a place for each token, and to the vocabulary.
fn place(onto: &mut Model, vectors: &[Vector], rows: &BTreeMap<usize, &Stranger>) -> Result<()> {
    let count = table_of(onto, TABLES[0]).map_or(0, |t| t.shape().rows());
    let strangers: Vec<&Stranger> = rows.values().copied().collect();
    if !onto.tensors.iter().any(|t| t.name == HEAD) {
        untied(vectors, &strangers)?;
    }
    for tensor in &mut onto.tensors {
        let of_chat = |s: &Stranger, fits: &dyn Fn(&Tensor) -> bool| {
            let table = table_of(&vectors[s.vector].chat, &tensor.name).filter(|t| fits(t));
            let lacking = || {
                Error::invalid("chat has no rows for this tensor, or rows of another length")
                    .tensor(&tensor.name)
            };
            table.cloned().ok_or_else(lacking)
        };
        if has_rows_of_tokens(tensor, count) {
            let width = tensor.shape().row();
            let one = |(row, s): (&usize, &&Stranger)| {
                Ok((*row, (of_chat(s, &|t| t.shape().row() == width)?, s.id)))
            };
            *tensor = grown(tensor, rows.iter().map(one).collect::<Result<_>>()?)?;
        } else if tensor.name == TOKEN_BIAS && tensor.shape().elements() == count {
            let one = |(row, s): (&usize, &&Stranger)| {
                Ok((*row, (of_chat(s, &|t| t.shape().elements() > s.id as u64)?, s.id)))
            };
            *tensor = longer(tensor, rows.iter().map(one).collect::<Result<_>>()?)?;
        }
    }
    extend(&mut onto.metadata, rows, count)
}

/// A vector with a value for each token, with the values of `more` in their places.
fn longer(vector: &Tensor, more: BTreeMap<usize, (Tensor, usize)>) -> Result<Tensor> {
    let read = |t: &Tensor| -> Result<Vec<f32>> {
        let rows = usize::try_from(t.shape().rows()).unwrap_or(usize::MAX);
        let mut values = vec![0.0; rows.saturating_mul(t.row_elements()?)];
        t.decode_rows(0..rows, &mut values)?;
        Ok(values)
    };
    let mut values = read(vector)?;
    values.resize(values.len().max(more.keys().max().map_or(0, |last| last + 1)), 0.0);
    for (row, (source, id)) in &more {
        values[*row] = read(source)?.get(*id).copied().unwrap_or_default();
    }
    let shape = Shape::new(&[values.len() as u64]).ok_or_else(|| Error::invalid("too many tokens"))?;
    Tensor::in_memory(&vector.name, shape, &values)
}

/// A tied CP has one row for both tables, so chat's must be one too.
fn untied(vectors: &[Vector], strangers: &[&Stranger]) -> Result<()> {
    let untied = |s: &&&Stranger| vectors[s.vector].chat.tensors.iter().any(|t| t.name == HEAD);
    match strangers.iter().find(untied) {
        None => Ok(()),
        Some(s) => Err(Error::invalid(format!(
            "'{}' cannot be appended: onto's head is its embedding, chat's is not",
            s.text
        ))
        .tensor(HEAD)
        .hint("choose a template of onto's own tokens with --chat-template")),
    }
}

/// Puts the tokens into the vocabulary: texts, types and scores; byte-level merges make no special token. Rows that
/// are still without one get the converter's fillers, so that ids and rows stay together.
fn extend(metadata: &mut Metadata, placed: &BTreeMap<usize, &Stranger>, rows: u64) -> Result<()> {
    let wrong =
        |key: &str| Error::invalid(format!("`{key}` has the wrong form")).hint("convert the model again");
    let mut change = |key: &str, change: &mut dyn FnMut(&mut Array) -> bool| -> Result<()> {
        let Some(mut value) = metadata.get(key).cloned() else { return Ok(()) };
        let done = match &mut value {
            Value::Array(array) => change(array),
            _ => false,
        };
        if !done {
            return Err(wrong(key));
        }
        metadata.set(key, value);
        Ok(())
    };
    let last = placed.keys().max().map_or(0, |last| last + 1);
    let n = usize::try_from(rows).unwrap_or(usize::MAX).max(last);
    change("tokenizer.ggml.tokens", &mut |array| match array {
        Array::Str(tokens) => {
            let held: HashSet<BString> =
                tokens.iter().chain(placed.values().map(|s| &s.text)).cloned().collect();
            tokens.extend((tokens.len()..n).map(|id| vocab::filler(id, |text| held.contains(text))));
            placed.iter().for_each(|(row, s)| tokens[*row].clone_from(&s.text));
            true
        }
        _ => false,
    })?;
    change("tokenizer.ggml.token_type", &mut |array| match array {
        Array::I32(types) => {
            types.resize(n.max(types.len()), UNUSED);
            placed.iter().for_each(|(row, s)| types[*row] = s.kind);
            true
        }
        _ => false,
    })?;
    change("tokenizer.ggml.scores", &mut |array| match array {
        Array::F32(scores) => {
            scores.resize(n.max(scores.len()), SCORE);
            placed.keys().for_each(|row| scores[*row] = SCORE);
            true
        }
        _ => false,
    })?;
    if let Some(key) = metadata.str("general.architecture").map(|a| format!("{a}.vocab_size"))
        && metadata.get(&key).is_some()
    {
        metadata.set(&key, u32::try_from(n).map_err(|_| wrong(&key))?);
    }
    Ok(())
}
