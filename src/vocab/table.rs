//! The table of a vocabulary while it is made: text, score and type of every id. Serves `spm`, `fallback`
//! and `bpe`. Specification: `tokenizer.ggml.{tokens, scores, token_type}` of ggml `docs/gguf.md`.

use super::added::{Added, Origin};
use bstr::{BString, ByteSlice};
use ggraft_formats::Metadata;
use std::collections::HashMap;

/// Far above every vocabulary there is (the largest have about 300,000 tokens).
pub const MAX_TOKENS: usize = 1 << 22;

/// `llama_token_type`.
pub const NORMAL: i32 = 1;
pub const UNKNOWN: i32 = 2;
pub const CONTROL: i32 = 3;
pub const USER_DEFINED: i32 = 4;
pub const UNUSED: i32 = 5;
pub const BYTE: i32 = 6;

/// The converter's scores of ids without a piece, and of added tokens.
const HOLE: f32 = -10000.0;
const ADDED: f32 = -1000.0;

/// One row an id, from 0. Only SentencePiece vocabularies have scores.
pub struct Table {
    tokens: Vec<BString>,
    types: Vec<i32>,
    scores: Option<Vec<f32>>,
}

impl Table {
    /// `n` ids without a piece: `[PAD{id}]`, unused.
    pub fn holes(n: usize, scores: bool) -> Table {
        Table {
            tokens: (0..n).map(|id| format!("[PAD{id}]").into()).collect(),
            types: vec![UNUSED; n],
            scores: scores.then(|| vec![HOLE; n]),
        }
    }

    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Fills the row of `id`; `false` if there is no such row.
    pub fn set(&mut self, id: usize, text: impl Into<BString>, kind: i32, score: f32) -> bool {
        let (Some(token), Some(of)) = (self.tokens.get_mut(id), self.types.get_mut(id)) else { return false };
        (*token, *of) = (text.into(), kind);
        if let Some(slot) = self.scores.as_mut().and_then(|s| s.get_mut(id)) {
            *slot = score;
        }
        true
    }

    /// Lays an added token over its row, or says that its id lies outside the table.
    pub fn overlay(&mut self, added: &Added, warnings: &mut Vec<String>) {
        let id = added.id as usize;
        let (Some(old), Some(&kind)) = (self.tokens.get(id), self.types.get(id)) else {
            let (text, origin, n) = (&added.content, added.origin.file(), self.len());
            warnings.push(format!(
                "{origin}: token '{text}' is ignored: its id {id} is not below vocab_size {n}"
            ));
            return;
        };
        if added.origin == Origin::Decoder && kind != UNUSED && *old != added.content.as_bytes() {
            let (text, origin) = (&added.content, added.origin.file());
            warnings.push(format!("{origin}: id {id} is '{text}' now, in place of '{}'", old.as_bstr()));
        }
        let (text, kind) = added.text_and_type();
        self.set(id, text, kind, ADDED);
    }

    /// Says once if a text stands under two ids: the runtime finds one of them only.
    pub fn warn_duplicates(&self, warnings: &mut Vec<String>) {
        let mut seen = HashMap::with_capacity(self.len());
        let twice = |(id, text)| seen.insert(text, id).map(|first| (first, id, text));
        let twice: Vec<(usize, usize, &BString)> = self.tokens.iter().enumerate().filter_map(twice).collect();
        if let Some((first, second, text)) = twice.first() {
            let n = twice.len();
            warnings.push(format!(
                "{n} tokens repeat the text of another id, the first is '{text}' ({first} and {second}); the runtime finds one id of a text"
            ));
        }
    }

    /// Writes model, pre, tokens, scores and types in the converter's order.
    pub fn write(self, model: &str, pre: &str, metadata: &mut Metadata) {
        metadata.set("tokenizer.ggml.model", model);
        metadata.set("tokenizer.ggml.pre", pre);
        metadata.set("tokenizer.ggml.tokens", self.tokens);
        if let Some(scores) = self.scores {
            metadata.set("tokenizer.ggml.scores", scores);
        }
        metadata.set("tokenizer.ggml.token_type", self.types);
    }
}
