//! The table of a vocabulary while it is made: text, score and type of every id. Serves `spm`, `fallback`
//! and `bpe`. Specification: `tokenizer.ggml.{tokens, scores, token_type}` of ggml `docs/gguf.md`.

use super::added::{Added, Origin};
use super::kinds::UNUSED;
use bstr::{BString, ByteSlice};
use ggraft_formats::{Error, Metadata, Result};
use std::collections::HashMap;
use std::path::Path;

/// Far above every vocabulary there is (the largest have about 300,000 tokens).
pub const MAX_TOKENS: usize = 1 << 22;

/// The converter's scores of ids without a piece, and of added tokens.
pub const HOLE: f32 = -10000.0;
pub const ADDED: f32 = -1000.0;

/// The rows of a model, `size`, or `usual` where it does not tell, that hold the `held` tokens of the file `path`.
///
/// # Errors
/// They are fewer.
pub fn rows(size: Option<usize>, usual: usize, held: usize, path: &Path) -> Result<usize> {
    let rows = size.unwrap_or(usual);
    if rows >= held {
        return Ok(rows);
    }
    Err(Error::invalid("the tokenizer has more tokens than the model has embeddings")
        .file(path)
        .expected(format!("at most {rows}, `vocab_size` of the config"))
        .found(held)
        .hint("use the tokenizer that belongs to these weights"))
}

/// The text of an id without a piece, as the converter writes it, unless that is `taken`.
pub fn filler(id: usize, taken: impl Fn(&BString) -> bool) -> BString {
    let mut text = BString::from(format!("[PAD{id}]"));
    for n in 1.. {
        if !taken(&text) {
            break;
        }
        text = format!("[PAD{id}{}]", "_".repeat(n)).into();
    }
    text
}

/// The error of a text that stands under two ids.
pub fn twice(text: &BString, first: usize, second: usize) -> Error {
    Error::invalid("two tokens have one text, and the runtime loads no such vocabulary")
        .expected("every text once")
        .found(format!("'{text}' with the ids {first} and {second}"))
        .hint("use tokenizer files of one repository, or give one of the two another text")
}

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
            tokens: (0..n).map(|id| filler(id, |_| false)).collect(),
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

    /// Adds a row below the others.
    pub fn push(&mut self, text: impl Into<BString>, kind: i32, score: f32) {
        self.tokens.push(text.into());
        self.types.push(kind);
        self.scores.iter_mut().for_each(|scores| scores.push(score));
    }

    /// Gives the row of `id` another text, if it has no piece.
    pub fn respell(&mut self, id: usize, text: impl Fn(&str) -> String) {
        if self.types.get(id) == Some(&UNUSED)
            && let Some(own) = self.tokens.get_mut(id)
        {
            *own = text(&own.to_str_lossy()).into();
        }
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

    /// Refuses a text under two ids, which the runtime does not load. A filler that has the text of a token gets
    /// another one.
    pub fn finish(&mut self, file: &Path) -> Result<()> {
        let filled = |id: &usize| self.types[*id] == UNUSED && self.tokens[*id] == filler(*id, |_| false);
        let fillers: Vec<usize> = (0..self.len()).filter(filled).collect();
        let mut seen: HashMap<&BString, usize> = HashMap::with_capacity(self.len());
        let mut rest = fillers.iter().peekable();
        for (id, text) in self.tokens.iter().enumerate() {
            if rest.next_if(|filler| **filler == id).is_some() {
                continue;
            }
            if let Some(first) = seen.insert(text, id) {
                return Err(twice(text, first, id).file(file));
            }
        }
        let renamed: Vec<(usize, BString)> = fillers
            .iter()
            .filter(|id| seen.contains_key(&self.tokens[**id]))
            .map(|id| (*id, filler(*id, |text| seen.contains_key(text))))
            .collect();
        for (id, text) in renamed {
            self.tokens[id] = text;
        }
        Ok(())
    }

    /// Writes tokens and types, and between them scores that say nothing: zeros, which the converter writes as whole numbers.
    pub fn write_unscored(self, metadata: &mut Metadata) {
        let none = vec![0i32; self.len()];
        metadata.set("tokenizer.ggml.tokens", self.tokens);
        metadata.set("tokenizer.ggml.scores", none);
        metadata.set("tokenizer.ggml.token_type", self.types);
    }

    /// Writes tokens, scores and types.
    fn write_rows(self, metadata: &mut Metadata) {
        metadata.set("tokenizer.ggml.tokens", self.tokens);
        if let Some(scores) = self.scores {
            metadata.set("tokenizer.ggml.scores", scores);
        }
        metadata.set("tokenizer.ggml.token_type", self.types);
    }

    /// Writes model, tokens, scores and types, for a tokenizer of the runtime that has no pre-tokenizer.
    pub fn write_as(self, model: &str, metadata: &mut Metadata) {
        metadata.set("tokenizer.ggml.model", model);
        self.write_rows(metadata);
    }

    /// Writes model, pre, tokens, scores and types in the converter's order.
    pub fn write(self, model: &str, pre: &str, metadata: &mut Metadata) {
        metadata.set("tokenizer.ggml.model", model);
        metadata.set("tokenizer.ggml.pre", pre);
        self.write_rows(metadata);
    }
}
