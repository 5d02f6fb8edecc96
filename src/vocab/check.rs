//! Whether llama.cpp takes the vocabulary of a GGUF: its arrays, their types and sizes, every text once, and a row of the
//! embedding for each token. Serves `verify`.
//! Specification: `llama_vocab::impl::load` of llama.cpp v0.5.0, and the shapes that its models ask for.

use super::shapes::NAMES;
use super::table;
use crate::version::{self, SPLITTING};
use bstr::BString;
use ggraft_formats::{Array, Error, Kind, Metadata, Tensor, Value};
use std::collections::HashMap;

const PREFIX: &str = "tokenizer.ggml.";
/// Models of a tokenizer.
const MODELS: [&str; 11] = [
    "llama",
    "gpt2",
    "bert",
    "t5",
    "rwkv",
    "plamo2",
    "no_vocab",
    "none",
    "hybriddna",
    "whitespace",
    "gemma4",
];

/// All that llama.cpp would not take; nothing for a model without a vocabulary.
pub fn problems(metadata: &Metadata, tensors: &[Tensor]) -> Vec<Error> {
    let mut found = Vec::new();
    let Some(model) = metadata.get("tokenizer.ggml.model") else { return found };
    let wrong = |key: &str, expected: &str, value: &Value| {
        Error::new(Kind::Verification, format!("`{PREFIX}{key}` is not what llama.cpp takes"))
            .expected(expected)
            .found(shown(value))
    };
    match model.as_str() {
        None => found.push(wrong("model", "a string", model)),
        Some(name) if !MODELS.contains(&name) && !version::knows_tokenizer(name) => {
            found.push(wrong("model", "a tokenizer that it knows", model))
        }
        Some("no_vocab" | "none") => return found,
        Some(_) => {}
    }
    let paired = model.as_str().is_some_and(|name| SPLITTING.contains(&name));
    if let Some(pre) = metadata.get("tokenizer.ggml.pre").filter(|_| model.as_str() == Some("gpt2"))
        && !pre.as_str().is_some_and(|name| NAMES.contains(&name) || version::knows_pre_tokenizer(name))
    {
        found.push(wrong("pre", "a pre-tokenizer that it knows", pre));
    }
    let Some(value) = metadata.get("tokenizer.ggml.tokens") else {
        found.push(
            Error::new(Kind::Verification, "`tokenizer.ggml.tokens` is missing")
                .expected("an array of strings"),
        );
        return found;
    };
    let Some(Array::Str(tokens)) = value.as_array() else {
        found.push(wrong("tokens", "an array of strings", value));
        return found;
    };
    let n = tokens.len();
    let array = |key: &str, fits: &dyn Fn(&Array) -> bool, expected: String| {
        let value = metadata.get(&format!("{PREFIX}{key}"))?;
        (!value.as_array().is_some_and(fits)).then(|| wrong(key, &expected, value))
    };
    found.extend(array(
        "token_type",
        &|a| matches!(a, Array::I32(types) if types.len() >= n),
        format!("an i32 array of at least {n}, one a token"),
    ));
    found.extend(array(
        "scores",
        &|a| match a {
            Array::F32(scores) => scores.len() >= n,
            Array::I32(scores) => scores.len() >= n,
            _ => false,
        },
        format!("an f32 array of at least {n}, one a token"),
    ));
    found.extend(array("merges", &|a| matches!(a, Array::Str(_)), String::from("an array of strings")));
    if paired
        && metadata.get("tokenizer.ggml.merges").is_none()
        && metadata.str("tokenizer.ggml.pre") != Some("kimi-k2")
    {
        found.push(
            Error::new(Kind::Verification, "`tokenizer.ggml.merges` is missing")
                .expected("an array of strings"),
        );
    }
    found.extend(repeated(tokens));
    found.extend(rows(tensors, n));
    found
}

/// A text under two ids; llama.cpp stops at it. It names a token without a text by its id.
fn repeated(tokens: &[BString]) -> Option<Error> {
    let mut seen: HashMap<BString, usize> = HashMap::with_capacity(tokens.len());
    let text = |id: usize, text: &BString| match text.is_empty() {
        true => BString::from(format!("[EMPTY_{id}]")),
        false => text.clone(),
    };
    tokens.iter().enumerate().find_map(|(id, token)| {
        let first = seen.insert(text(id, token), id)?;
        Some(table::twice(token, first, id).verification())
    })
}

/// Tables that have not as many rows as there are tokens.
fn rows(tensors: &[Tensor], n: usize) -> Vec<Error> {
    let tables = ["token_embd.weight", "output.weight"];
    let other = tensors.iter().filter(|t| tables.contains(&t.name.as_str()) && t.shape().rows() != n as u64);
    let error = |t: &Tensor| {
        Error::new(Kind::Verification, "the table has not one row for each token, as llama.cpp asks for")
            .tensor(&t.name)
            .expected(format!("{n} rows"))
            .found(t.shape().rows())
    };
    other.map(error).collect()
}

fn shown(value: &Value) -> String {
    match value.as_array() {
        Some(array) => format!("{} of {}", value.type_name(), array.len()),
        None => format!("{value:?}").chars().take(60).collect(),
    }
}
