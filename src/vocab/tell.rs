//! What the runtime does otherwise than transformers with the tokens of a checkpoint, a line a kind. GGUF cannot say it,
//! so it can only be told. Serves `layers`, `fallback` and `pre`.
//! Specification: `AddedToken`, `Metaspace` and `Prepend` of the `tokenizers` library; llama.cpp's
//! `tokenizer_st_partition`, which looks for the longest tokens first, in the raw text.

use super::added::Added;
use super::files::{self, Files};
use serde_json::Value;
use std::collections::HashMap;

/// Says of these tokens what the runtime does otherwise.
fn tell(which: &[&Added], what: &str, warnings: &mut Vec<String>) {
    if let Some(first) = which.first() {
        let n = which.len();
        warnings
            .push(format!("{n} added tokens {what}, unlike transformers; the first is '{}'", first.content));
    }
}

/// Tokens whose text GGUF keeps as the decoder would print it.
pub fn respelled(tokens: &[&Added], warnings: &mut Vec<String>) {
    tell(tokens, "are found as the decoder prints them, not as they are spelled", warnings);
}

/// How added tokens are found in a text.
pub fn matching(files: &Files, tokens: &[Added], warnings: &mut Vec<String>) {
    let mut tell = |which: Vec<&Added>, what: &str| tell(&which, what, warnings);
    tell(
        tokens.iter().filter(|t| t.reaches).collect(),
        "take no spaces beside them along and are found inside words too (lstrip, rstrip, single_word)",
    );
    let normalizer = files.tokenizer.as_ref().and_then(|json| json.get("normalizer"));
    let changes = |t: &&Added| t.normalized && normalizer.is_some_and(|n| !keeps(n, &t.content));
    tell(
        tokens.iter().filter(changes).collect(),
        "are found in the text as it is, not as the normalizer leaves it (normalized)",
    );
    tell(overlapping(tokens), "may overlap others in a text, and then the longer is taken, not the earlier");
}

/// Whether a normalizer leaves this text as it is, wherever it stands.
fn keeps(normalizer: &Value, text: &str) -> bool {
    let part = |key: &str| normalizer.get(key).and_then(Value::as_str);
    match part("type") {
        None => normalizer.is_null(),
        Some("NFC" | "NFKC" | "NFD" | "NFKD" | "Nmt") => text.is_ascii(),
        Some("Replace") => {
            let pattern = normalizer.get("pattern").and_then(|p| p.get("String")).and_then(Value::as_str);
            pattern.is_some_and(|pattern| !pattern.is_empty() && !text.contains(pattern))
        }
        Some("Sequence") => {
            let all = normalizer.get("normalizers").and_then(Value::as_array);
            all.is_some_and(|all| all.iter().all(|one| keeps(one, text)))
        }
        Some(_) => false,
    }
}

/// Tokens that begin inside a longer one that begins later in some text, or that a token found in an earlier pass cuts up.
fn overlapping(tokens: &[Added]) -> Vec<&Added> {
    const LONGEST: usize = 64;
    let uniform = |t: &str| t.chars().next().is_none_or(|first| t.chars().all(|c| c == first));
    let odd: Vec<&Added> =
        tokens.iter().filter(|t| t.content.len() <= LONGEST && !uniform(&t.content)).collect();
    // For each beginning of a token the length of the longest that begins so.
    let mut beginnings: HashMap<&str, usize> = HashMap::new();
    for t in &odd {
        for (end, _) in t.content.char_indices().skip(1) {
            let longest = beginnings.entry(&t.content[..end]).or_default();
            *longest = (*longest).max(t.content.len());
        }
    }
    let later = |t: &Added| {
        let mut suffixes = t.content.char_indices().skip(1).map(|(at, _)| &t.content[at..]);
        suffixes.any(|s| beginnings.get(s).is_some_and(|n| *n > t.content.len()))
    };
    let raw: HashMap<&str, bool> = tokens.iter().map(|t| (t.content.as_str(), t.normalized)).collect();
    let cut = |t: &Added| {
        let ends: Vec<usize> = t.content.char_indices().map(|(at, _)| at).chain([t.content.len()]).collect();
        let inner = |from: usize, to: usize| {
            to - from < t.content.len() && raw.get(&t.content[from..to]) == Some(&false)
        };
        t.normalized
            && ends.iter().enumerate().any(|(i, from)| ends[i + 1..].iter().any(|to| inner(*from, *to)))
    };
    odd.into_iter().filter(|t| later(t) || cut(t)).collect()
}

/// Where spaces are put before a text: the runtime puts one after every special token, too.
pub fn spaces(json: &Value, warnings: &mut Vec<String>) {
    fn first_only(of: &Value) -> bool {
        let parts =
            |key: &str| of.get(key).and_then(Value::as_array).is_some_and(|l| l.iter().any(first_only));
        match of.get("type").and_then(Value::as_str) {
            Some("Metaspace") => of.get("prepend_scheme").is_some_and(|scheme| scheme == "first"),
            Some("Sequence") => parts("normalizers") || parts("pretokenizers"),
            _ => false,
        }
    }
    if ["normalizer", "pre_tokenizer"].into_iter().filter_map(|key| json.get(key)).any(first_only) {
        warnings.push(format!(
            "{}: the runtime puts a space after every special token, unlike transformers, which puts one at the beginning of a text only (prepend_scheme first)",
            files::TOKENIZER
        ));
    }
}

/// What changes the merges of a byte-level BPE in a way that no pre-tokenizer of the runtime can say.
pub fn merging(json: &Value, warnings: &mut Vec<String>) {
    let model = json.get("model").unwrap_or(&Value::Null);
    for key in ["continuing_subword_prefix", "end_of_word_suffix", "dropout"] {
        let set = model.get(key).is_some_and(|v| !v.is_null() && v != "" && v != 0.0);
        if set {
            warnings.push(format!("{}: `model.{key}` is ignored, unlike transformers", files::TOKENIZER));
        }
    }
}
