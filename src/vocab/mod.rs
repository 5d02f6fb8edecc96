//! The tokenizer files of a Hugging Face checkpoint as the `tokenizer.*` metadata of GGUF, equal to what
//! `convert_hf_to_gguf.py` (llama.cpp v0.5.0) writes, but for what `spm` and `template` say they do better.
//! Serves `arch` (conversion) and `merge` (comparing vocabularies). The source is the first of: the
//! SentencePiece `tokenizer.model`, a `tokenizer.json` with byte fallback, a byte-level BPE `tokenizer.json`.

mod added;
mod bpe;
mod fallback;
mod family;
mod files;
mod pre;
mod shapes;
mod special;
pub mod spm;
mod table;
mod template;
mod tokens;

pub use added::looks_special;
pub use tokens::{Kind, Tokens, kind};

use files::Files;
use ggraft_formats::{Checkpoint, Error, Metadata, Result};
use serde_json::Value;
use special::Special;

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
const LLAMA: [&str; 15] = [
    "LLaMAForCausalLM",
    "LlamaForCausalLM",
    "LlamaModel",
    "MistralForCausalLM",
    "MixtralForCausalLM",
    "VLlama3ForCausalLM",
    "LlavaForConditionalGeneration",
    "VoxtralForConditionalGeneration",
    "IQuestCoderForCausalLM",
    "Mistral3ForConditionalGeneration",
    "Ministral3ForCausalLM",
    "GraniteForCausalLM",
    "GraniteMoeForCausalLM",
    "GraniteMoeSharedForCausalLM",
    "ArceeForCausalLM",
];

/// Code Llama's vocabulary, and the end-of-turn token that only it has.
const CODE_LLAMA: (u64, u32) = (32016, 32010);
/// The vocabulary of the small Granite code models, whose BOS must not be added.
const GRANITE_SMALL: u64 = 49152;

/// The vocabulary of `checkpoint`, whose `config.json` is `config`.
///
/// # Errors
/// Missing or malformed tokenizer files, more tokens than `vocab_size`, an unknown pre-tokenizer; each names
/// the file, the key and the mend.
pub fn tokenizer(checkpoint: &Checkpoint, config: &Value, options: &Options) -> Result<Tokenizer> {
    if let Some(pre) = &options.pre {
        pre::check(pre)?;
    }
    let files = Files::open(checkpoint)?;
    let mut out = Tokenizer { metadata: Metadata::new(), warnings: Vec::new() };
    let size = vocab_size(config, checkpoint)?;
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
        quirks(size, &mut out.metadata);
    }
    family::last(class, config, &files, &mut out.metadata)?;
    Ok(out)
}

const SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";

/// Writes the tokens from the first source that is there, and reads the special tokens that fit it.
fn table(
    files: &Files,
    config: &Value,
    options: &Options,
    size: Option<usize>,
    out: &mut Tokenizer,
) -> Result<Special> {
    let Tokenizer { metadata, warnings } = out;
    let spm = match (files.checkpoint.bytes("tokenizer.model")?, &files.tokenizer) {
        (Some(model), _) => Some(spm::table(files, model.bytes(), size, warnings)?),
        (None, Some(json)) if fallback::is_byte_fallback(json) => {
            if !fallback::prepends_space(json) && metadata.get(SPACE_PREFIX).is_none() {
                metadata.set(SPACE_PREFIX, false);
            }
            Some(fallback::table(files, json, size, warnings)?)
        }
        _ => None,
    };
    if let Some(table) = spm {
        if options.pre.is_some() {
            warnings.push("--pre is ignored: a SentencePiece vocabulary has no pre-tokenizer".into());
        }
        let n = table.len();
        table.write("llama", "default", metadata);
        return Special::read(files, config, Some(n), warnings);
    }
    let json = files.tokenizer.as_ref().ok_or_else(|| missing(files.checkpoint))?;
    let pre = match &options.pre {
        Some(pre) => pre.clone(),
        None => pre::detect(files, json, warnings)?,
    };
    let (table, merges) = bpe::table(files, json, size, warnings)?;
    table.write("gpt2", &pre, metadata);
    metadata.set("tokenizer.ggml.merges", merges);
    Special::read(files, config, None, warnings)
}

fn class(config: &Value) -> Option<&str> {
    config.get("architectures")?.get(0)?.as_str()
}

fn is_llama(config: &Value) -> bool {
    class(config).is_some_and(|class| LLAMA.contains(&class))
}

fn quirks(size: Option<usize>, metadata: &mut Metadata) {
    let size = size.map(|n| n as u64);
    if size == Some(CODE_LLAMA.0) {
        metadata.set("tokenizer.ggml.eot_token_id", CODE_LLAMA.1);
    }
    if size == Some(GRANITE_SMALL) {
        metadata.set("tokenizer.ggml.add_bos_token", false);
    }
}

/// The number of embedding rows that `config.json` declares; `None` if it does not.
fn vocab_size(config: &Value, checkpoint: &Checkpoint) -> Result<Option<usize>> {
    let inner = config.get("text_config").and_then(|text| text.get("vocab_size"));
    let Some(value) = inner.or_else(|| config.get("vocab_size")).filter(|v| !v.is_null()) else {
        return Ok(None);
    };
    // Ids are i32 in the runtime, and every id up to the size costs memory here.
    match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
        Some(0) => Ok(None),
        Some(n) if n <= table::MAX_TOKENS => Ok(Some(n)),
        _ => Err(Error::invalid("`vocab_size` is not a plausible number of tokens")
            .file(&checkpoint.dir.join("config.json"))
            .expected(format!("an integer up to {}", table::MAX_TOKENS))
            .found(value)
            .mend("take config.json from the model's repository")),
    }
}

fn missing(checkpoint: &Checkpoint) -> Error {
    let there = |name: &str| checkpoint.dir.join(name).is_file();
    if there("tekken.json") {
        return Error::unsupported("the only tokenizer here is Mistral's tekken.json")
            .file(&checkpoint.dir.join("tekken.json"))
            .mend("add the tokenizer.json of the model's Hugging Face repository");
    }
    if there("vocab.json") && there("merges.txt") {
        return Error::unsupported("the tokenizer is kept as vocab.json and merges.txt only")
            .file(&checkpoint.dir.join("vocab.json"))
            .mend("save it as tokenizer.json: AutoTokenizer.from_pretrained(dir).save_pretrained(dir)");
    }
    Error::invalid("no tokenizer files")
        .file(&checkpoint.dir)
        .expected("tokenizer.model or tokenizer.json")
        .found("neither")
        .mend(
            "copy tokenizer.model or tokenizer.json (and tokenizer_config.json) from the model's repository",
        )
}

#[cfg(test)]
mod tests;
