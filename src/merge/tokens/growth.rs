//! Tokens that only the chat model has: the template cannot be written without them, so CP's vocabulary grows by
//! them when that is asked for, and the merge is refused otherwise.

use super::matching::Matching;
use super::tables::{HEAD, TABLES, table_of, tokens_of};
use super::template::Chosen;
use super::token_rows::stacked;
use crate::merge::Vector;
use crate::vocab::Kind;
use bstr::BString;
use ggraft_formats::{Array, Error, Metadata, Model, Result, Tensor, Value};

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

/// Appends to `onto` the special tokens that only chat has, if `add`; otherwise refuses those that the template
/// needs. Gives the texts of the appended tokens.
pub(crate) fn grow(
    onto: &mut Model,
    vectors: &[Vector],
    matchings: &[Matching],
    needed: &[String],
    chosen: &Chosen,
    add: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<String>> {
    let strangers = strangers(vectors, matchings)?;
    if add {
        let names: Vec<String> = strangers.iter().map(|s| s.text.to_string()).collect();
        match names.is_empty() {
            true => {
                notes.push(String::from("--add-chat-tokens adds nothing: CP has every special token of chat"))
            }
            false => append(onto, vectors, &strangers)?,
        }
        return Ok(names);
    }
    let (lost, unused): (Vec<&Stranger>, Vec<&Stranger>) =
        strangers.iter().partition(|s| needed.iter().any(|n| n.as_bytes() == s.text.as_slice()));
    if !lost.is_empty() {
        return Err(refusal(&lost, vectors, chosen));
    }
    if !unused.is_empty() {
        let names: Vec<String> = unused.iter().map(|s| format!("'{}'", s.text)).collect();
        notes.push(format!(
            "warning: special tokens of chat that CP lacks are left out, their rows with them: {}",
            brief(&names)
        ));
    }
    Ok(Vec::new())
}

fn refusal(lost: &[&Stranger], vectors: &[Vector], chosen: &Chosen) -> Error {
    let names: Vec<String> = lost.iter().map(|s| format!("'{}' (id {})", s.text, s.id)).collect();
    let e = Error::invalid(format!(
        "the chat template ({}) needs tokens that only the chat model has: their trained rows would be lost",
        chosen.whose()
    ))
    .expected("these tokens in CP's vocabulary")
    .found(format!("in chat alone: {}", brief(&names)))
    .mend("give --add-chat-tokens to append them to CP, or choose a template of CP's own tokens with --chat-template");
    match lost.first().and_then(|s| vectors.get(s.vector)?.chat.containers.first()) {
        Some(file) => e.file(file),
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

fn append(onto: &mut Model, vectors: &[Vector], strangers: &[Stranger]) -> Result<()> {
    for name in TABLES {
        let Some(at) = onto.tensors.iter().position(|t| t.name == name) else { continue };
        let row = |s: &Stranger| -> Result<(Tensor, usize)> {
            let table = table_of(&vectors[s.vector].chat, name);
            let table = table.filter(|t| t.shape().row() == onto.tensors[at].shape().row());
            let lacking =
                || Error::invalid("chat has no rows for this tensor, or rows of another length").tensor(name);
            Ok((table.ok_or_else(lacking)?.clone(), s.id))
        };
        onto.tensors[at] = stacked(&onto.tensors[at], strangers.iter().map(row).collect::<Result<_>>()?)?;
    }
    if !onto.tensors.iter().any(|t| t.name == HEAD) {
        untied(vectors, strangers)?;
    }
    let rows = table_of(onto, TABLES[0]).map_or(0, |t| t.shape().rows());
    extend(&mut onto.metadata, strangers, rows)
}

/// A tied CP has one row for both tables, so chat's must be one too.
fn untied(vectors: &[Vector], strangers: &[Stranger]) -> Result<()> {
    let untied = |s: &&Stranger| vectors[s.vector].chat.tensors.iter().any(|t| t.name == HEAD);
    match strangers.iter().find(untied) {
        None => Ok(()),
        Some(s) => Err(Error::invalid(format!(
            "'{}' cannot be appended: CP's head is its embedding, chat's is not",
            s.text
        ))
        .tensor(HEAD)
        .mend("choose a template of CP's own tokens with --chat-template")),
    }
}

/// Appends the tokens to the vocabulary: texts, types and scores; byte-level merges make no special token.
fn extend(metadata: &mut Metadata, strangers: &[Stranger], rows: u64) -> Result<()> {
    let wrong =
        |key: &str| Error::invalid(format!("`{key}` has the wrong form")).mend("convert the model again");
    let mut take = |key: &str, add: &mut dyn FnMut(&mut Array) -> bool| -> Result<()> {
        let Some(mut value) = metadata.get(key).cloned() else { return Ok(()) };
        let added = match &mut value {
            Value::Array(array) => add(array),
            _ => false,
        };
        if !added {
            return Err(wrong(key));
        }
        metadata.set(key, value);
        Ok(())
    };
    let filler = usize::try_from(rows).unwrap_or(usize::MAX).saturating_sub(strangers.len());
    take("tokenizer.ggml.tokens", &mut |array| match array {
        Array::Str(tokens) => {
            // Rows beyond the tokens get the converter's fillers, so that ids and rows stay together.
            tokens.extend((tokens.len()..filler).map(|id| BString::from(format!("[PAD{id}]"))));
            tokens.extend(strangers.iter().map(|s| s.text.clone()));
            true
        }
        _ => false,
    })?;
    take("tokenizer.ggml.token_type", &mut |array| match array {
        Array::I32(types) => {
            types.resize(filler.max(types.len()), UNUSED);
            types.extend(strangers.iter().map(|s| s.kind));
            true
        }
        _ => false,
    })?;
    take("tokenizer.ggml.scores", &mut |array| match array {
        Array::F32(scores) => {
            scores.resize(filler.max(scores.len()) + strangers.len(), SCORE);
            true
        }
        _ => false,
    })?;
    if let Some(key) = metadata.str("general.architecture").map(|a| format!("{a}.vocab_size"))
        && metadata.get(&key).is_some()
    {
        metadata.set(&key, u32::try_from(rows).map_err(|_| wrong(&key))?);
    }
    Ok(())
}

/// `llama_token_type` of a filler.
const UNUSED: i32 = 5;
