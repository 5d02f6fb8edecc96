//! The tokenizer files of a Hugging Face checkpoint as the `tokenizer.*` metadata of GGUF, equal to what
//! `convert_hf_to_gguf.py` (llama.cpp v0.5.0) writes, but for what `spm` and `template` say they do better.
//! Serves `arch` (conversion) and `merge` (comparing vocabularies). The source is what transformers would use: a
//! `tokenizer.json` (for the scores a SentencePiece `tokenizer.model` of the same pieces), else `tokenizer.model`.

mod added;
mod back;
mod bpe;
pub mod check;
mod codes;
mod fallback;
mod family;
mod files;
pub(crate) mod kinds;
mod layers;
mod pair;
mod plamo;
mod pre;
mod qwen;
mod rwkv;
mod shapes;
mod special;
pub mod spm;
mod table;
mod tekken;
mod tell;
mod template;
mod tokens;
mod unigram;
mod wordpiece;

pub use added::looks_special;
pub use back::{Regained, files as regained};
pub use codes::VOICED;
pub use family::ends_turns;
pub use layers::library_ids;
pub use table::filler;
pub use tokens::{Kind, Tokens, kind};

use added::Added;
use bstr::ByteSlice;
use files::Files;
use ggraft_formats::{Checkpoint, Error, Metadata, Result};
use serde_json::Value;
use shapes::BEGINS;
use special::Special;
use spm::ModelProto;
use table::Table;

/// What a user may decide about a vocabulary.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `tokenizer.ggml.pre` of a byte-level BPE vocabulary, instead of detecting it.
    pub pre: Option<String>,
}

/// The metadata of a vocabulary, and what a user should know about it.
#[derive(Debug)]
pub struct Tokenizer {
    /// All `tokenizer.*` keys, in the order in which the converter writes them.
    pub metadata: Metadata,
    /// What was ignored, replaced or chosen, a sentence each.
    pub warnings: Vec<String>,
}

/// The model classes that the converter treats as llama; these read `add_prefix_space` and know two quirks.
const LLAMA: [&str; 25] = [
    "CogVLMForCausalLM",
    "LLaMAForCausalLM",
    "LlamaForCausalLM",
    "LlamaModel",
    "MistralForCausalLM",
    "MixtralForCausalLM",
    "VLlama3ForCausalLM",
    "LlavaForConditionalGeneration",
    "VoxtralForConditionalGeneration",
    "IQuestCoderForCausalLM",
    "SmolLM3ForCausalLM",
    "Mistral3ForConditionalGeneration",
    "Ministral3ForCausalLM",
    "GraniteForCausalLM",
    "GraniteMoeForCausalLM",
    "GraniteMoeSharedForCausalLM",
    "ArceeForCausalLM",
    "ApertusForCausalLM",
    "AfmoeForCausalLM",
    "GraniteSWAForCausalLM",
    "LlamaBidirectionalModel",
    "NanbeigeForCausalLM",
    "GraniteMoeSWAForCausalLM",
    "JanusForConditionalGeneration",
    "Sarashina2VisionForCausalLM",
];

/// Code Llama's vocabulary, and the end-of-turn token that only it has.
const CODE_LLAMA: (usize, u32, &str) = (32016, 32010, "<EOT>");
/// The vocabulary of the small Granite code models, whose BOS must not be added.
const GRANITE_SMALL: usize = 49152;

/// The vocabulary of `checkpoint`, whose `config.json` is `config`.
///
/// # Errors
/// Missing or malformed tokenizer files, more tokens than `vocab_size`, an unknown pre-tokenizer; each names
/// the file, the key and the hint.
pub fn tokenizer(checkpoint: &Checkpoint, config: &Value, options: &Options) -> Result<Tokenizer> {
    if let Some(pre) = &options.pre {
        pre::check(pre)?;
    }
    let files = Files::open(checkpoint)?;
    let mut out = Tokenizer { metadata: Metadata::new(), warnings: Vec::new() };
    let size = vocab_size(config, checkpoint)?.map(|size| family::padded(config, size));
    if tekken::is_alone(&files) {
        tekken::write(&files, options, size, &mut out)?;
        return Ok(out);
    }
    if plamo::is_alone(&files) {
        plamo::write(&files, size, &mut out)?;
        return Ok(out);
    }
    if qwen::is_alone(&files) {
        qwen::write(&files, config, options, size, &mut out)?;
        return Ok(out);
    }
    if rwkv::is_alone(&files) {
        rwkv::write(&files, config, size, &mut out)?;
        return Ok(out);
    }
    if codes::begins_sounds(class(config).unwrap_or_default()) {
        codes::write(&files, config, size.unwrap_or_default(), &mut out)?;
        return Ok(out);
    }
    let llama = is_llama(config);
    if let Some(prefix) = files.config("add_prefix_space").and_then(Value::as_bool).filter(|_| llama) {
        out.metadata.set(SPACE_PREFIX, prefix);
    }
    let mut special = table(&files, config, options, size, &mut out)?;
    let class = class(config).unwrap_or_default();
    family::specials(class, &mut special, &out.metadata, &mut out.warnings)?;
    special.write(&mut out.metadata, &mut out.warnings);
    template::write(&files, &mut out)?;
    special.write_normalizer(&mut out.metadata);
    if llama {
        quirks(size, &mut out.metadata)?;
    }
    family::last(class, config, &files, &mut out.metadata)?;
    Ok(out)
}

const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";

/// Where the tokens come from.
enum Source<'a> {
    SentencePiece(ModelProto),
    /// A `tokenizer.json` of a SentencePiece model.
    Fallback(&'a Value),
    /// A `tokenizer.json` of byte-level BPE.
    Bytes(&'a Value),
    /// A `tokenizer.json` of WordPiece.
    WordPiece(&'a Value),
    /// Unigram, in whichever file.
    Unigram,
}

/// `tokenizer.json` decides, as in transformers; a `tokenizer.model` beside it is read if it has the same pieces.
fn source<'a>(files: &'a Files, class: &str, warnings: &mut Vec<String>) -> Result<Source<'a>> {
    if family::reads_unigram(class) && files.tokenizer.as_ref().is_some_and(unigram::is_unigram) {
        return Ok(Source::Unigram);
    }
    if let Some(json) = files.tokenizer.as_ref().filter(|json| wordpiece::is_wordpiece(json)) {
        return Ok(Source::WordPiece(json));
    }
    let file = files.checkpoint.bytes(files::MODEL)?;
    let ignored = |why: &str| {
        format!("{} is ignored, as transformers ignores it: {} {why}", files::MODEL, files::TOKENIZER)
    };
    match (&files.tokenizer, file) {
        (None, None) => Err(missing(files)),
        (None, Some(model)) => Ok(Source::SentencePiece(spm::read(files, model.bytes())?)),
        (Some(json), Some(model)) if fallback::is_byte_fallback(json) => {
            let model = spm::read(files, model.bytes())?;
            if bpe::vocab(files, json)? == spm::vocab(&model) {
                return Ok(Source::SentencePiece(model));
            }
            warnings.push(ignored("has other tokens"));
            Ok(Source::Fallback(json))
        }
        (Some(json), Some(model)) if !bpe::is_byte_level(json) => {
            Ok(Source::SentencePiece(spm::read(files, model.bytes())?))
        }
        (Some(json), model) => {
            bpe::check(files, json)?;
            if model.is_some() {
                warnings.push(ignored("is byte-level BPE"));
            }
            Ok(if fallback::is_byte_fallback(json) { Source::Fallback(json) } else { Source::Bytes(json) })
        }
    }
}

/// Writes the tokens, and reads the special tokens that fit them.
fn table(
    files: &Files,
    config: &Value,
    options: &Options,
    size: Option<usize>,
    out: &mut Tokenizer,
) -> Result<Special> {
    let Tokenizer { metadata, warnings } = out;
    let source = source(files, class(config).unwrap_or_default(), warnings)?;
    if let (Source::SentencePiece(_) | Source::Fallback(_), Some(_)) = (&source, &options.pre) {
        warnings.push("--pre is ignored: a SentencePiece vocabulary has no pre-tokenizer".into());
    }
    match source {
        Source::SentencePiece(model) => {
            let json = files.tokenizer.as_ref().filter(|json| fallback::is_byte_fallback(json));
            let added = layers::read(files, &spm::vocab(&model), warnings)?;
            let mut table = spm::table(files, &model, &added, size, warnings)?;
            for code in codes::names(config, files)? {
                table.push(code, kinds::CONTROL, 0.0);
            }
            if let Some(json) = json {
                tell::spaces(json, warnings);
            }
            let special = scored(files, config, table, &added, out);
            family::pieces(class(config).unwrap_or_default(), &model, files, &mut out.metadata)?;
            Ok(special)
        }
        Source::Fallback(json) if family::keeps_merges(class(config).unwrap_or_default()) => {
            let vocab = bpe::vocab(files, json)?;
            let added = layers::read(files, &vocab, warnings)?;
            let table = fallback::merged(files, &vocab, &added, size)?;
            table.write_as("gemma4", metadata);
            let merges = bpe::merges(files, json, &vocab, warnings)?;
            metadata.set("tokenizer.ggml.merges", merges);
            Ok(Special::read(files, config, &added, None, false, warnings))
        }
        Source::Fallback(json) | Source::Bytes(json)
            if family::is_bare(class(config).unwrap_or_default()) =>
        {
            let vocab = bpe::vocab(files, json)?;
            let added = layers::read(files, &vocab, warnings)?;
            let table = fallback::bare(files, &vocab, &added, size)?;
            let n = table.len();
            table.write("llama", "default", metadata);
            Ok(Special::read(files, config, &added, Some(n), false, warnings))
        }
        Source::Fallback(json) => {
            if !fallback::prepends_space(json) && metadata.get(SPACE_PREFIX).is_none() {
                metadata.set(SPACE_PREFIX, false);
            }
            let vocab = bpe::vocab(files, json)?;
            let added = layers::read(files, &vocab, warnings)?;
            let table = fallback::table(files, json, &vocab, &added, size, warnings)?;
            tell::spaces(json, warnings);
            Ok(scored(files, config, table, &added, out))
        }
        Source::WordPiece(json) => {
            let vocab = bpe::vocab(files, json)?;
            let added = layers::read(files, &vocab, warnings)?;
            let table = wordpiece::table(files, &vocab, &added, size)?;
            let n = table.len();
            let pre = options.pre.as_deref().unwrap_or(wordpiece::PRE);
            table.write("bert", pre, metadata);
            let special = Special::read(files, config, &added, Some(n), false, warnings);
            warnings.extend(wordpiece::of_hangul(&vocab, special.strips_accents()));
            Ok(special)
        }
        Source::Unigram => {
            let pieces = files.tokenizer.as_ref().map(unigram::vocab).unwrap_or_default();
            let added = layers::read(files, &pieces, warnings)?;
            let types = family::token_types(config);
            let n = unigram::write(files, &added, size, types, metadata)?;
            Ok(Special::read(files, config, &layers::stated(files)?, Some(n), false, warnings))
        }
        Source::Bytes(json) => {
            let vocab = bpe::vocab(files, json)?;
            let added = layers::read(files, &vocab, warnings)?;
            let pre = match &options.pre {
                Some(pre) => pre.clone(),
                None => pre::detect(files, json, &added, warnings)?,
            };
            let (mut table, merges) = bpe::table(files, json, &vocab, &added, size, warnings)?;
            for code in codes::names(config, files)? {
                table.push(code, kinds::CONTROL, 0.0);
            }
            table.write("gpt2", &pre, metadata);
            if !merges.is_empty() {
                metadata.set("tokenizer.ggml.merges", merges);
            }
            let begins = BEGINS.contains(&pre.as_str());
            Ok(Special::read(files, config, &added, None, begins, warnings))
        }
    }
}

/// Writes a table with scores, which the runtime's "llama" tokenizer merges by.
fn scored(files: &Files, config: &Value, table: Table, added: &[Added], out: &mut Tokenizer) -> Special {
    let n = table.len();
    table.write("llama", "default", &mut out.metadata);
    Special::read(files, config, added, Some(n), true, &mut out.warnings)
}

fn class(config: &Value) -> Option<&str> {
    config.get("architectures")?.get(0)?.as_str()
}

fn is_llama(config: &Value) -> bool {
    class(config).is_some_and(|class| LLAMA.contains(&class))
}

/// What the converter knows by the size of a vocabulary alone; here the tokens and flags are asked first.
fn quirks(size: Option<usize>, metadata: &mut Metadata) -> Result<()> {
    let (code_llama, id, text) = CODE_LLAMA;
    let token = Tokens::of(metadata)?.and_then(|tokens| tokens.tokens.get(id as usize).cloned());
    let is_end = |token: &[u8]| token.to_str().is_ok_and(|t| t.trim_start_matches(['\u{2581}', ' ']) == text);
    if size == Some(code_llama) && token.is_some_and(|token| is_end(&token)) {
        metadata.set("tokenizer.ggml.eot_token_id", id);
    }
    if size == Some(GRANITE_SMALL) && metadata.get(ADD_BOS).is_none() {
        metadata.set(ADD_BOS, false);
    }
    Ok(())
}

/// Where a model that sees or hears keeps what it says of its text model.
const TEXT: &[&[&str]] = &[
    &["text_config"],
    &["thinker_config", "text_config"],
    &["language_config"],
    &["llm_config"],
    &["lm_config"],
    &["lfm"],
    &["talker_config"],
];

/// What `config.json` says of the text model under `key`.
fn told<'a>(config: &'a Value, key: &str) -> Option<&'a Value> {
    let at = |path: &&[&str]| path.iter().try_fold(config, |section, key| section.get(key));
    let inner = TEXT.iter().find_map(at).and_then(|text| text.get(key)).filter(|v| !v.is_null());
    inner.or_else(|| config.get(key)).filter(|v| !v.is_null())
}

/// The number of embedding rows that `config.json` declares; `None` if it does not.
fn vocab_size(config: &Value, checkpoint: &Checkpoint) -> Result<Option<usize>> {
    // Where that counts the codes of sound, another key counts the tokens of text.
    let rows = told(config, "text_vocab_size").or_else(|| told(config, "vocab_size"));
    let Some(value) = rows else { return Ok(None) };
    // Ids are i32 in the runtime, and every id up to the size costs memory here.
    match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
        Some(0) => Ok(None),
        Some(n) if n <= table::MAX_TOKENS => Ok(Some(n)),
        _ => Err(Error::invalid("`vocab_size` is not a plausible number of tokens")
            .file(&checkpoint.dir.join("config.json"))
            .expected(format!("an integer up to {}", table::MAX_TOKENS))
            .found(value)
            .hint("take config.json from the model's repository")),
    }
}

fn missing(files: &Files) -> Error {
    let (checkpoint, class) = (files.checkpoint, files.config("tokenizer_class").and_then(Value::as_str));
    if pair::is_there(checkpoint) {
        let error = Error::unsupported("the tokenizer is kept as vocab.json and merges.txt only");
        return error.file(&checkpoint.dir.join(pair::VOCAB)).expected(format!("'tokenizer_class' in {} to be {}", files::CONFIG, pair::classes()))
            .found(class.unwrap_or("another, or none"))
            .hint("make a tokenizer.json of them: python -c \"from transformers import AutoTokenizer as T; T.from_pretrained('DIR').save_pretrained('DIR')\"");
    }
    Error::invalid("no tokenizer files")
        .file(&checkpoint.dir)
        .expected("tokenizer.model or tokenizer.json")
        .found("neither")
        .hint(
            "copy tokenizer.model or tokenizer.json (and tokenizer_config.json) from the model's repository",
        )
}

#[cfg(test)]
mod tests;
