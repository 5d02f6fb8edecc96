//! A `vocab.json` with a `merges.txt`, and no `tokenizer.json`: the one that transformers makes of them, where
//! `tokenizer_config.json` names a class that says how texts are split and normalized. Serves `files`.
//! Specification: `GPT2Tokenizer` and `Qwen2Tokenizer` of transformers 5.23.

use ggraft_formats::{Checkpoint, Error, Result};
use serde_json::{Map, Value, json};

pub const VOCAB: &str = "vocab.json";
pub const MERGES: &str = "merges.txt";

/// A class of transformers, also with `Fast` at its end.
struct Class {
    name: &'static str,
    /// The special tokens that it has unless it is told others.
    named: &'static [&'static str],
    normalizer: Option<&'static str>,
    /// What splits texts before their bytes do; none where those do it themselves.
    split: Option<&'static str>,
}

const CLASSES: &[Class] = &[
    Class {
        name: "GPT2Tokenizer",
        named: &["bos_token", "eos_token", "unk_token"],
        normalizer: None,
        split: None,
    },
    Class {
        name: "Qwen2Tokenizer",
        named: &["eos_token", "unk_token", "pad_token"],
        normalizer: Some("NFC"),
        split: Some(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
    },
];

/// The special token of both.
const END: &str = "<|endoftext|>";

/// Whether the two files lie there.
pub fn is_there(checkpoint: &Checkpoint) -> bool {
    checkpoint.has(VOCAB) && checkpoint.has(MERGES)
}

/// The classes of which the two files are read.
pub fn classes() -> String {
    CLASSES.iter().map(|class| class.name).collect::<Vec<_>>().join(" or ")
}

/// The `tokenizer.json`; none where the class says not how it is.
///
/// # Errors
/// A file is malformed.
pub fn built(checkpoint: &Checkpoint, config: Option<&Value>) -> Result<Option<Value>> {
    let told = |key: &str| config?.get(key);
    let named = told("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
    let name = named.strip_suffix("Fast").unwrap_or(named);
    let Some(class) = CLASSES.iter().find(|class| class.name == name) else { return Ok(None) };
    let (Some(Value::Object(vocab)), Some(merges)) = (checkpoint.json(VOCAB)?, checkpoint.bytes(MERGES)?)
    else {
        let error = Error::invalid("the vocabulary has the wrong form").file(&checkpoint.dir.join(VOCAB));
        return Err(error
            .expected("an object of token: id")
            .hint("take the file from the model's repository again"));
    };
    let merges = merges_of(merges.bytes()).map_err(|e| e.file(&checkpoint.dir.join(MERGES)))?;
    let has_own = class.named.iter().any(|key| told(key).is_none());
    let added = if has_own { vec![special(&vocab)] } else { Vec::new() };
    let prefix = told("add_prefix_space").and_then(Value::as_bool).unwrap_or(false);
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true,
        "use_regex": class.split.is_none()});
    let splits = match class.split {
        None => bytes,
        Some(pattern) => json!({"type": "Sequence", "pretokenizers": [{"type": "Split",
            "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false}, bytes]}),
    };
    Ok(Some(json!({
        "version": "1.0", "added_tokens": added, "normalizer": class.normalizer.map(|kind| json!({"type": kind})),
        "pre_tokenizer": splits, "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "",
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": merges}
    })))
}

/// The special token, where it stands or behind all.
fn special(vocab: &Map<String, Value>) -> Value {
    let id = vocab.get(END).cloned().unwrap_or_else(|| json!(vocab.len()));
    json!({"id": id, "content": END, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": true})
}

/// The pairs, a line each; a first line that begins with `#version` is none.
fn merges_of(bytes: &[u8]) -> Result<Vec<[&str; 2]>> {
    let wrong = |line: usize, found: &str| {
        let error = Error::invalid(format!("line {} is no merge", line + 1))
            .expected("two tokens and a space between");
        error
            .found(format!("{:?}", found.chars().take(60).collect::<String>()))
            .hint("take the file from the model's repository again")
    };
    let text = std::str::from_utf8(bytes).map_err(|e| wrong(0, &e.to_string()))?;
    let lines = text.lines().enumerate();
    let lines =
        lines.filter(|(i, line)| !(line.trim().is_empty() || *i == 0 && line.starts_with("#version")));
    lines
        .map(|(i, line)| match line.split_once(' ') {
            Some((one, other)) if !one.is_empty() && !other.is_empty() && !other.contains(' ') => {
                Ok([one, other])
            }
            _ => Err(wrong(i, line)),
        })
        .collect()
}
