//! The way back: the tokenizer's files of Hugging Face from the metadata of a GGUF. `spm` writes a `tokenizer.model`, `bpe`,
//! `wordpiece` and `unigram` a `tokenizer.json`, `plamo` its own file; `names` what all of them say in `tokenizer_config.json`. Whether they give
//! the same tokens is not believed: whoever asks for them reads them again and compares.
//! Specification: the files that `save_pretrained` of transformers 5 writes; `sentencepiece_model.proto`.

mod bpe;
mod names;
mod plamo;
mod processor;
mod rwkv;
mod spm;
mod unigram;
mod wordpiece;

use super::tokens::Tokens;
use super::{files, kinds};
use bstr::ByteSlice;
use ggraft_formats::{Array, Error, Metadata, Result};
use serde_json::{Map, Value, json};

/// The files of a tokenizer, and what a GGUF could not tell of it.
#[derive(Default)]
pub struct Regained {
    pub files: Vec<(String, Vec<u8>)>,
    pub notes: Vec<String>,
}

/// The tokenizer's files that say what `metadata` says.
///
/// # Errors
/// The vocabulary is of a kind that no file of Hugging Face's can hold, or a token is not UTF-8 where it must be.
pub fn files(metadata: &Metadata) -> Result<Regained> {
    let mut out = Regained::default();
    let model = metadata.str("tokenizer.ggml.model");
    let Some(words) = Words::of(metadata)?.filter(|_| model != Some("none")) else {
        return Err(Error::unsupported(
            "the GGUF has no vocabulary, and a checkpoint is none without a tokenizer",
        )
        .hint("choose a GGUF --type"));
    };
    let mut config = names::config(&words)?;
    match model {
        Some("llama") if words.scores.is_empty() => bpe::write_unscored(&words, &mut config, &mut out)?,
        Some("llama") => spm::write(&words, &mut config, &mut out)?,
        Some("gpt2") => bpe::write(&words, &mut config, &mut out)?,
        Some("gemma4") => bpe::write_pieces(&words, &mut config, &mut out)?,
        Some("bert") => wordpiece::write(&words, &mut config, &mut out)?,
        Some("plamo2") => plamo::write(&words, &mut config, &mut out)?,
        Some("rwkv") => rwkv::write(&words, &mut out)?,
        Some("t5") => unigram::write(&words, &mut config, &mut out)?,
        other => {
            return Err(Error::unsupported("no file of Hugging Face's holds such a tokenizer")
                .expected("tokenizer.ggml.model to be llama, gpt2, gemma4, bert, t5, plamo2 or rwkv")
                .found(other.unwrap_or("nothing"))
                .hint("choose a GGUF --type"));
        }
    }
    let special: Map<String, Value> = config
        .iter()
        .filter(|(key, _)| key.ends_with("_token") && !key.starts_with("add_"))
        .map(own)
        .collect();
    out.put(files::CONFIG, &Value::Object(config));
    out.put("special_tokens_map.json", &Value::Object(special));
    Ok(out)
}

fn own((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

impl Regained {
    fn put(&mut self, name: &str, json: &Value) {
        self.files.push((name.to_string(), format!("{json:#}\n").into_bytes()));
    }
}

/// The vocabulary of a GGUF.
struct Words<'a> {
    metadata: &'a Metadata,
    tokens: Tokens<'a>,
    scores: &'a [f32],
}

impl<'a> Words<'a> {
    fn of(metadata: &'a Metadata) -> Result<Option<Words<'a>>> {
        let Some(tokens) = Tokens::of(metadata)? else { return Ok(None) };
        let scores: &[f32] = match metadata.get("tokenizer.ggml.scores").and_then(|v| v.as_array()) {
            Some(Array::F32(scores)) if scores.len() == tokens.len() => scores,
            _ => &[],
        };
        Ok(Some(Words { metadata, tokens, scores }))
    }

    /// `llama_token_type`; ordinary, if the GGUF does not tell.
    fn kind(&self, id: usize) -> i32 {
        self.tokens.types.get(id).copied().unwrap_or(kinds::NORMAL)
    }

    fn score(&self, id: usize) -> f32 {
        self.scores.get(id).copied().unwrap_or(0.0)
    }

    fn text(&self, id: usize) -> Result<&'a str> {
        let text = self.tokens.tokens.get(id).map_or(&b""[..], |text| text.as_slice());
        text.to_str().map_err(|_| {
            Error::unsupported("a token is not UTF-8, which no file of Hugging Face's can say")
                .found(format!("'{}' with the id {id}", text.as_bstr()))
        })
    }

    fn is(&self, id: usize, text: &str) -> bool {
        self.tokens.tokens.get(id).is_some_and(|token| token == text)
    }

    /// The ids of tokens that stand beside the model proper: matched whole, before a text is split.
    fn whole(&self) -> impl Iterator<Item = usize> + '_ {
        let whole = |id: &usize| [kinds::CONTROL, kinds::USER_DEFINED].contains(&self.kind(*id));
        (0..self.tokens.len()).filter(whole)
    }

    /// The texts of control tokens, of which some tokenizers must be told.
    fn controls(&self) -> Result<Value> {
        let those = (0..self.tokens.len()).filter(|id| self.kind(*id) == kinds::CONTROL);
        those.map(|id| Ok(json!(self.text(id)?))).collect::<Result<_>>().map(Value::Array)
    }

    /// The id that a key of the GGUF gives, of a token that is there.
    fn id(&self, key: &str) -> Option<usize> {
        let id = usize::try_from(self.metadata.u64(&format!("tokenizer.ggml.{key}"))?).ok()?;
        (id < self.tokens.len()).then_some(id)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        match self.metadata.get(&format!("tokenizer.ggml.{key}")) {
            Some(ggraft_formats::Value::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// An added token as the files list it.
    fn added(&self, id: usize) -> Result<Map<String, Value>> {
        let special = self.kind(id) != kinds::USER_DEFINED;
        let token = json!({"content": self.text(id)?, "lstrip": false, "normalized": false, "rstrip": false,
            "single_word": false, "special": special});
        Ok(token.as_object().cloned().unwrap_or_default())
    }

    /// `added_tokens` of a `tokenizer.json`.
    fn added_tokens(&self, ids: impl Iterator<Item = usize>) -> Result<Value> {
        let one = |id: usize| {
            let with_id = [(String::from("id"), json!(id))].into_iter().chain(self.added(id)?);
            Ok(Value::Object(with_id.collect()))
        };
        ids.map(one).collect::<Result<_>>().map(Value::Array)
    }
}
