//! The vocabularies of models that speak: Qwen 3 TTS, whose codes of sound are tokens below those of the text, and Pocket TTS,
//! whose SentencePiece model is one of unigrams, with the tokens below it that begin a voice and a sound.
//! Specification: `Qwen3TTSTalkerModel._codec_token_names`, `PocketTTSModel.set_vocab` of llama.cpp's converter.

use super::files::{self, Files};
use super::table;
use super::unigram::UNIGRAM;
use super::{SPACE_PREFIX, Tokenizer, class, kinds, layers, spm};
use ggraft_formats::{Array, Error, Result, Value as Told};
use serde_json::Value;

/// The section of `config.json` that tells the codes.
const SECTION: &str = "talker_config";

/// The codes of a model that speaks, each by its number or by the name of the key that tells it; none of another model.
///
/// # Errors
/// The config does not tell how many there are, or names one that is not there.
pub fn names(config: &Value, files: &Files) -> Result<Vec<String>> {
    if class(config) != Some("Qwen3TTSForConditionalGeneration") {
        return Ok(Vec::new());
    }
    let section = config.get(SECTION).unwrap_or(&Value::Null);
    let wrong = |key: &str, expected: &str, found: &Value| {
        files.wrong("config.json", &format!("{SECTION}.{key}"), expected, found)
    };
    let told = section.get("vocab_size").unwrap_or(&Value::Null);
    let count = told.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= table::MAX_TOKENS);
    let count = count.ok_or_else(|| wrong("vocab_size", "the number of codes", told))?;
    let mut names: Vec<String> = (0..count).map(|n| format!("<|codec_{n}|>")).collect();
    let mut name = |key: &str, id: &Value, text: String| {
        let slot = id.as_u64().and_then(|id| names.get_mut(usize::try_from(id).ok()?));
        slot.map(|slot| *slot = text).ok_or_else(|| wrong(key, &format!("a number below {count}"), id))
    };
    for (key, value) in section.as_object().into_iter().flatten() {
        let Some(stem) = key.strip_suffix("_id") else { continue };
        match value {
            Value::Number(_) => name(key, value, format!("<|{stem}|>"))?,
            Value::Object(all) => {
                for (own, id) in all {
                    name(key, id, format!("<|{stem}_{own}|>"))?;
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// The key that says whether a vector begins a voice.
pub const VOICED: &str = "insert_bos_before_voice";

/// Whether a model of this class has a vocabulary of unigrams with what begins a voice and a sound.
pub fn begins_sounds(class: &str) -> bool {
    class == "PocketTTSModel"
}

/// Writes that vocabulary, of `size` tokens: the last are no pieces.
///
/// # Errors
/// There is no SentencePiece model of unigrams, or it has as many pieces as the model has tokens.
pub fn write(files: &Files, config: &Value, size: usize, out: &mut Tokenizer) -> Result<()> {
    let Tokenizer { metadata, warnings } = out;
    let bytes = files.checkpoint.bytes(files::MODEL)?.ok_or_else(|| {
        let error = Error::invalid("the tokenizer is missing").file(&files.path(files::MODEL));
        error.hint("copy tokenizer.model from the model's repository")
    })?;
    let model = spm::read(files, bytes.bytes())?;
    let kind = model.trainer_spec.clone().unwrap_or_default().model_type();
    let wrong = |what: &str| Error::unsupported(what).file(&files.path(files::MODEL));
    if kind != UNIGRAM {
        return Err(wrong("the tokenizer is no unigram model").expected("model type 1").found(kind));
    }
    let mut own = vec!["<|pad|>", "<|audio_bos|>"];
    if config.get(VOICED) == Some(&Value::Bool(true)) {
        own.insert(1, "<|bos_before_voice|>");
    }
    let first = size.saturating_sub(own.len());
    if model.pieces.len() > first {
        let expected = format!("at most {first} pieces, for the last tokens are {}", own.join(", "));
        let error = wrong("the tokenizer has more pieces than the model has rows for").expected(expected);
        return Err(error.found(model.pieces.len()).hint("use the tokenizer that belongs to these weights"));
    }
    let added = layers::read(files, &spm::vocab(&model), warnings)?;
    let mut table = spm::table(files, &model, &added, Some(size), warnings)?;
    for (id, text) in (first..).zip(own) {
        table.set(id, text, kinds::CONTROL, table::ADDED);
    }
    table.write("t5", "default", metadata);
    let normalizer = model.normalizer_spec.unwrap_or_default();
    metadata.set(SPACE_PREFIX, normalizer.add_dummy_prefix());
    metadata.set("tokenizer.ggml.remove_extra_whitespaces", normalizer.remove_extra_whitespaces());
    if let Some(map) = normalizer.precompiled_charsmap.filter(|map| !map.is_empty()) {
        metadata.set("tokenizer.ggml.precompiled_charsmap", Told::Array(Array::U8(map)));
    }
    metadata.set(super::ADD_BOS, false);
    metadata.set("tokenizer.ggml.add_eos_token", false);
    Ok(())
}
