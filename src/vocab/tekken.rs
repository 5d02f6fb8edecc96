//! Mistral's `tekken.json` -> the tokens and merges of a "gpt2" vocabulary: byte-level BPE whose merges follow from the
//! ranks of the tokens, with special tokens in front. Serves the door.
//! Specification: `Tekkenizer` of mistral-common; `_set_vocab_mistral` of llama.cpp's converter.

use super::files::{self, Files};
use super::pre;
use super::table::{self, Table};
use super::{ADD_BOS, Options, Tokenizer, bpe, kinds, template};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bstr::BString;
use ggraft_formats::{Error, Result};
use serde_json::{Value, json};
use std::collections::HashMap;

pub const FILE: &str = "tekken.json";

/// The special tokens of files that do not list theirs.
const SPECIAL: [&str; 20] = [
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
];

/// The names under which the runtime knows the templates of early versions.
const TEMPLATES: &[(&str, &str)] = &[("v3", "mistral-v3-tekken"), ("v7", "mistral-v7-tekken")];

/// What the file tells.
struct Tekken {
    special: Vec<String>,
    /// The bytes of the other tokens, by rank.
    tokens: Vec<Vec<u8>>,
    pattern: String,
    version: String,
}

/// Whether it is the only tokenizer there.
pub fn is_alone(files: &Files) -> bool {
    let has = |name: &str| files.checkpoint.has(name);
    files.tokenizer.is_none() && !has(files::MODEL) && has(FILE)
}

/// Writes the vocabulary, for a model of so many rows.
pub fn write(files: &Files, options: &Options, size: Option<usize>, out: &mut Tokenizer) -> Result<()> {
    let tekken = read(files)?;
    let held = tekken.special.len() + tekken.tokens.len();
    let rows = table::rows(size, held, held, &files.path(FILE))?;
    let mut table = Table::holes(rows, false);
    for (id, text) in tekken.special.iter().enumerate() {
        table.set(id, text.as_str(), kinds::CONTROL, 0.0);
    }
    let first = tekken.special.len();
    for (rank, bytes) in tekken.tokens.iter().enumerate() {
        table.set(first + rank, bpe::letters(bytes), kinds::NORMAL, 0.0);
    }
    table.finish(&files.path(FILE))?;
    let pre = match &options.pre {
        Some(pre) => pre.clone(),
        None => detected(files, &tekken, &mut out.warnings)?,
    };
    let metadata = &mut out.metadata;
    metadata.set("tokenizer.ggml.model", "gpt2");
    metadata.set("tokenizer.ggml.pre", pre);
    metadata.set("tokenizer.ggml.merges", merges(files, &tekken.tokens)?);
    let id = |text: &str| tekken.special.iter().position(|one| one == text).map(|id| id as u32);
    let end = id("</s>");
    for (key, id) in
        [("bos", id("<s>")), ("eos", end), ("unknown", id("<unk>")), ("padding", id("<pad>").or(end))]
    {
        if let Some(id) = id {
            metadata.set(&format!("tokenizer.ggml.{key}_token_id"), id);
        }
    }
    table.write_unscored(metadata);
    metadata.set(ADD_BOS, true);
    metadata.set("tokenizer.ggml.add_eos_token", false);
    template::write(files, out)?;
    if out.metadata.get("tokenizer.chat_template").is_none() {
        match TEMPLATES.iter().find(|(version, _)| *version == tekken.version) {
            Some((_, name)) => out.metadata.set("tokenizer.chat_template", *name),
            None => out.warnings.push(format!(
                "{FILE}: there is no chat template, and none is built in for its version {}: give the file one \
                 (ggraft meta --chat-template), or put chat_template.jinja beside it",
                tekken.version
            )),
        }
    }
    Ok(())
}

fn read(files: &Files) -> Result<Tekken> {
    let json = files.checkpoint.required_json(FILE)?;
    let wrong = |key: &str, expected: &str| {
        let found = json.pointer(&format!("/{}", key.replace('.', "/"))).unwrap_or(&Value::Null);
        files.wrong(FILE, key, expected, found)
    };
    let config = json.get("config").unwrap_or(&Value::Null);
    let text = |key: &str| config.get(key).and_then(Value::as_str).map(String::from);
    let count = |key: &str| {
        let told = config.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let told = told.filter(|n| *n <= super::table::MAX_TOKENS);
        told.ok_or_else(|| wrong(&format!("config.{key}"), "a number of tokens"))
    };
    let (all, special) = (count("default_vocab_size")?, count("default_num_special_tokens")?);
    let plain = all
        .checked_sub(special)
        .ok_or_else(|| wrong("config.default_num_special_tokens", "fewer than tokens"))?;
    let vocab = json.get("vocab").and_then(Value::as_array).filter(|vocab| vocab.len() >= plain);
    let vocab = vocab.ok_or_else(|| wrong("vocab", &format!("a list of at least {plain} tokens")))?;
    let mut tokens = Vec::with_capacity(plain);
    for (rank, token) in vocab.iter().take(plain).enumerate() {
        let bytes =
            token.get("token_bytes").and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
        let in_order = token.get("rank").and_then(Value::as_u64) == Some(rank as u64);
        match bytes
            .filter(|bytes| in_order && bytes.len() <= LONGEST && (rank >= 256 || *bytes == [rank as u8]))
        {
            Some(bytes) => tokens.push(bytes),
            None => {
                return Err(files.wrong(
                    FILE,
                    &format!("vocab.{rank}"),
                    "token_bytes in base64, in order of rank",
                    token,
                ));
            }
        }
    }
    let mut names: Vec<String> = match json.get("special_tokens").filter(|list| !list.is_null()) {
        None => SPECIAL.iter().take(special).map(ToString::to_string).collect(),
        Some(list) => {
            let of = |(id, token): (usize, &Value)| {
                let in_order = token.get("rank").is_none_or(|rank| rank.as_u64() == Some(id as u64));
                token.get("token_str").and_then(Value::as_str).filter(|_| in_order).map(String::from)
            };
            let list =
                list.as_array().map(|list| list.iter().enumerate().map(of).collect::<Option<Vec<_>>>());
            let list = list.flatten().filter(|list| list.len() <= special);
            list.ok_or_else(|| {
                wrong("special_tokens", &format!("a list of at most {special} tokens, in order of rank"))
            })?
        }
    };
    names.extend((names.len()..special).map(|id| format!("<SPECIAL_{id}>")));
    let pattern = text("pattern").ok_or_else(|| wrong("config.pattern", "a regular expression"))?;
    Ok(Tekken { special: names, tokens, pattern, version: text("version").unwrap_or_default() })
}

/// The pre-tokenizer of the runtime that splits as the pattern does.
fn detected(files: &Files, tekken: &Tekken, warnings: &mut Vec<String>) -> Result<String> {
    let vocab: serde_json::Map<String, Value> =
        tekken.special.iter().enumerate().map(|(id, text)| (text.clone(), id.into())).collect();
    let split = json!({"type": "Split", "pattern": {"Regex": tekken.pattern}, "behavior": "Isolated", "invert": false});
    let bytes =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let json = json!({"model": {"type": "BPE", "vocab": vocab, "ignore_merges": true}, "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, bytes]}});
    pre::detect(files, &json, &[], warnings)
}

/// Bytes of the longest token that may be: every cut of a token is looked at.
const LONGEST: usize = 4096;

/// Every way in which two tokens make a third, in the order of ranks: of the third, the left, the right.
fn merges(files: &Files, tokens: &[Vec<u8>]) -> Result<Vec<BString>> {
    let ranks: HashMap<&[u8], usize> =
        tokens.iter().enumerate().map(|(rank, t)| (t.as_slice(), rank)).collect();
    let mut all = Vec::new();
    for (rank, token) in tokens.iter().enumerate().skip(256) {
        let halves = (1..token.len()).filter_map(|at| {
            let (left, right) = token.split_at(at);
            Some((*ranks.get(left)?, *ranks.get(right)?, at))
        });
        let mut halves: Vec<(usize, usize, usize)> = halves.collect();
        if halves.is_empty() {
            return Err(Error::invalid("no two tokens make this one, which no text becomes then")
                .file(&files.path(FILE))
                .found(format!("the token of rank {rank}"))
                .hint("take the file from the model's repository again"));
        }
        halves.sort_unstable();
        all.extend(halves.into_iter().map(|(_, _, at)| {
            let (left, right) = token.split_at(at);
            BString::from(format!("{} {}", bpe::letters(left), bpe::letters(right)))
        }));
    }
    Ok(all)
}
