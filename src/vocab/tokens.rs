//! A view of the tokens in a model's metadata, to compare two vocabularies by bytes and type. Serves `merge`.
//! Specification: `tokenizer.ggml.tokens` and `tokenizer.ggml.token_type` of ggml `docs/gguf.md`.

use super::kinds;
use bstr::BString;
use ggraft_formats::{Array, Error, Metadata, Result};

/// Text and type of every id, from 0.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    pub tokens: &'a [BString],
    /// `llama_token_type` of each; empty if the model does not keep types.
    pub types: &'a [i32],
}

impl<'a> Tokens<'a> {
    /// The vocabulary in `metadata`; `None` if it has none.
    ///
    /// # Errors
    /// Tokens that are not strings, types that are not i32 or not as many as the tokens.
    pub fn of(metadata: &'a Metadata) -> Result<Option<Tokens<'a>>> {
        let array = |key| metadata.get(key).map(|v| (v, v.as_array()));
        let wrong = |key: &str, expected: String, found: String| {
            Err(Error::invalid(format!("`{key}` has the wrong form"))
                .expected(expected)
                .found(found)
                .hint("convert the model again"))
        };
        let Some((value, found)) = array("tokenizer.ggml.tokens") else { return Ok(None) };
        let Some(Array::Str(tokens)) = found else {
            return wrong("tokenizer.ggml.tokens", "an array of strings".into(), shown(value.as_array()));
        };
        let types: &[i32] = match array("tokenizer.ggml.token_type") {
            None => &[],
            Some((_, Some(Array::I32(types)))) if types.len() == tokens.len() => types,
            Some((_, found)) => {
                let expected = format!("an i32 array of {}", tokens.len());
                return wrong("tokenizer.ggml.token_type", expected, shown(found));
            }
        };
        Ok(Some(Tokens { tokens, types }))
    }

    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whether both give every id the same bytes and the same type.
    pub fn same_as(&self, other: &Tokens) -> bool {
        self.tokens == other.tokens && self.types == other.types
    }
}

/// What sort of token it is, as far as it tells tokens apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Normal,
    Unknown,
    /// Control or user-defined: the type says only whether the runtime prints it.
    Special,
    Unused,
    Byte,
}

/// The sort of token `id`; normal if the model does not keep types.
pub fn kind(tokens: &Tokens, id: usize) -> Kind {
    match tokens.types.get(id).copied() {
        Some(kinds::UNKNOWN) => Kind::Unknown,
        Some(kinds::CONTROL | kinds::USER_DEFINED) => Kind::Special,
        Some(kinds::UNUSED) => Kind::Unused,
        Some(kinds::BYTE) => Kind::Byte,
        _ => Kind::Normal,
    }
}

fn shown(array: Option<&Array>) -> String {
    match array {
        None => "a single value".into(),
        Some(array) => {
            let name = match array {
                Array::Str(_) => "strings",
                Array::I32(_) => "i32",
                Array::U32(_) => "u32",
                _ => "another type",
            };
            format!("an array of {} {name}", array.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(tokens: &[&str], types: Vec<i32>) -> Metadata {
        let mut m = Metadata::new();
        m.set("tokenizer.ggml.tokens", tokens.iter().map(|t| BString::from(*t)).collect::<Vec<_>>());
        m.set("tokenizer.ggml.token_type", types);
        m
    }

    #[test]
    fn same_bytes_and_types_are_the_same_vocabulary() {
        let (a, b, c) =
            (model(&["a", "b"], vec![1, 3]), model(&["a", "b"], vec![1, 1]), model(&["a"], vec![1]));
        let of = |m| Tokens::of(m).unwrap().unwrap();
        assert!(of(&a).same_as(&of(&a)));
        assert!(!of(&a).same_as(&of(&b)), "types differ");
        assert!(!of(&a).same_as(&of(&c)), "lengths differ");
        assert_eq!((of(&a).len(), of(&a).is_empty()), (2, false));
        assert!(Tokens::of(&Metadata::new()).unwrap().is_none());
    }

    #[test]
    fn types_must_fit_the_tokens() {
        let error = Tokens::of(&model(&["a", "b"], vec![1])).unwrap_err().to_string();
        assert!(error.contains("expected an i32 array of 2, found an array of 1 i32"), "{error}");
    }
}
