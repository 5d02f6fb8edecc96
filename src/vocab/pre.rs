//! Which pre-tokenizer of the runtime splits text as a `tokenizer.json` does: `tokenizer.ggml.pre`. Serves the
//! door. convert_hf_to_gguf hashes the ids of a check text, which knows no vocabulary but the published ones;
//! here the chain of splits decides, so that a grown vocabulary keeps its name, and the tokens of a vocabulary
//! tell names of one chain apart. `shapes` is the table.

use super::added::Added;
use super::files::{self, Files};
use super::shapes::{ALIKE, Facts, NAMES, Row, SHAPES, Shape, Step, VOCABULARIES, WHOLE_WORDS};
use crate::arrange::Arrange;
use ggraft_formats::{Error, Result};
use serde_json::{Value, json};

/// Accepts a name that the runtime knows.
pub fn check(name: &str) -> Result<()> {
    if NAMES.contains(&name) {
        return Ok(());
    }
    let mut near: Vec<&str> = NAMES.into_iter().filter(|known| likeness(known, name) > 0).collect();
    near.arrange_by_key(|known| std::cmp::Reverse(likeness(known, name)));
    near.truncate(5);
    let list = if near.is_empty() { NAMES.join(", ") } else { near.join(", ") };
    Err(Error::usage("--pre names a pre-tokenizer that the runtime does not know")
        .expected(format!("a name such as {list}"))
        .found(name)
        .hint("take the name that llama.cpp gives to this family of tokenizers"))
}

/// How many leading characters two names share, if case and dashes do not count; more if one contains the other.
fn likeness(known: &str, name: &str) -> usize {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', '.'], "");
    let (known, name) = (plain(known), plain(name));
    let shared = known.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
    match shared {
        _ if name.is_empty() => 0,
        _ if known.contains(&name) || name.contains(&known) => 100 + shared,
        0..3 => 0,
        n => n,
    }
}

/// The name for `json`, or a refusal that says how to give one.
pub fn detect(files: &Files, json: &Value, added: &[Added], warnings: &mut Vec<String>) -> Result<String> {
    let facts = facts(json, added);
    let found = json.get("pre_tokenizer").unwrap_or(&Value::Null);
    let chain =
        normalizer_is_known(json.get("normalizer").unwrap_or(&Value::Null)).then(|| chain(found)).flatten();
    let shape = chain.and_then(|chain| SHAPES.iter().find(|shape| fits(shape.chain, &chain)));
    let own = VOCABULARIES.iter().find(|(holds, _)| holds(&facts)).map(|(_, name)| *name);
    let name = match (own, shape) {
        (Some(name), _) => name.to_string(),
        (None, Some(shape)) => name(shape, &facts, warnings).to_string(),
        (None, None) => return Err(refusal(files, json)),
    };
    if facts.whole_words != WHOLE_WORDS.contains(&name.as_str()) {
        let (runtime, trainer) = match facts.whole_words {
            true => ("merges it from its letters", "takes it whole (ignore_merges)"),
            false => ("takes it whole", "merges it from its letters"),
        };
        warnings.push(format!(
            "tokenizer.ggml.pre '{name}': of a word that is a token the runtime {runtime}, unlike transformers, which {trainer}"
        ));
    }
    Ok(name)
}

/// The splits of the pre-tokenizer of this name, as a `tokenizer.json` has them; none where no chain is known.
pub fn splits(name: &str) -> Option<Value> {
    let like = ALIKE.iter().find(|(_, names)| names.contains(&name)).map_or(name, |(like, _)| like);
    let has = |shape: &&Shape| shape.known.iter().chain(shape.stand_ins).any(|(_, of)| *of == like);
    let steps: Vec<Value> = SHAPES.iter().find(has)?.chain.iter().map(step).collect();
    match steps.as_slice() {
        [one] => Some(one.clone()),
        _ => Some(json!({"type": "Sequence", "pretokenizers": steps})),
    }
}

fn step(step: &Step) -> Value {
    let split = |regex: &str, behavior: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": false});
    match step {
        Step::Regex(regex) => split(regex, "Isolated"),
        Step::BeforeNext(regex) => split(regex, "MergedWithNext"),
        Step::Digits { each } => json!({"type": "Digits", "individual_digits": each}),
        Step::Punctuation => json!({"type": "Punctuation", "behavior": "Contiguous"}),
        Step::ByteLevel { words } => {
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": words})
        }
    }
}

/// What the tokenizer's files tell.
fn facts<'a>(json: &'a Value, added: &'a [Added]) -> Facts<'a> {
    let model = json.get("model");
    Facts {
        vocab: model.and_then(|m| m.get("vocab")).and_then(Value::as_object),
        added,
        whole_words: model.and_then(|m| m.get("ignore_merges")).and_then(Value::as_bool).unwrap_or(false),
    }
}

/// The name of the first known vocabulary that fits; else the one that stands for the chain.
fn name(shape: &Shape, facts: &Facts, warnings: &mut Vec<String>) -> &'static str {
    let first = |rows: &[Row]| rows.iter().find(|(holds, _)| holds(facts)).map(|(_, name)| *name);
    if let Some(name) = first(shape.known) {
        return name;
    }
    let name = first(shape.stand_ins).unwrap_or("default");
    warnings.push(format!(
        "tokenizer.ggml.pre is '{name}' by the splits in tokenizer.json (those of {}), not by a known vocabulary; --pre overrides it",
        shape.source
    ));
    name
}

/// The runtime normalizes nothing; NFC, which it leaves out, is the only difference that it tolerates.
fn normalizer_is_known(of: &Value) -> bool {
    match of.get("type").and_then(Value::as_str) {
        None => of.is_null(),
        Some("NFC") => true,
        Some("Sequence") => {
            of.get("normalizers").and_then(Value::as_array).is_some_and(|l| l.iter().all(normalizer_is_known))
        }
        Some(_) => false,
    }
}

fn refusal(files: &Files, json: &Value) -> Error {
    let part = |key| files::brief(json.get(key).unwrap_or(&Value::Null));
    let mut known: Vec<&str> =
        SHAPES.iter().flat_map(|shape| shape.stand_ins).map(|(_, name)| *name).collect();
    known.sort_unstable();
    known.dedup();
    Error::unsupported("no pre-tokenizer of the runtime is known to split text as this tokenizer does")
        .file(&files.path(files::TOKENIZER))
        .expected(format!("the splits of one of {}", known.join(", ")))
        .found(format!("pre_tokenizer {}, normalizer {}", part("pre_tokenizer"), part("normalizer")))
        .hint("if llama.cpp has a name for it, give it: --pre NAME")
}

/// One split that a `tokenizer.json` makes, its regex in the spelling of the table.
#[derive(Debug)]
enum Found {
    Regex { regex: String, behavior: String },
    Digits { each: bool },
    Punctuation,
    ByteLevel { words: bool },
}

/// The splits in order; `None` if one is of a kind that no pre-tokenizer of the runtime has.
fn chain(of: &Value) -> Option<Vec<Found>> {
    let flag = |key: &str, default: bool| of.get(key).map_or(Some(default), Value::as_bool);
    let step = match of.get("type")?.as_str()? {
        "Sequence" => {
            let parts: Option<Vec<Vec<Found>>> =
                of.get("pretokenizers")?.as_array()?.iter().map(chain).collect();
            return parts.map(|parts| parts.into_iter().flatten().collect());
        }
        "Split" => {
            let regex = spelled(of.get("pattern")?.get("Regex")?.as_str()?);
            let behavior = of.get("behavior")?.as_str()?;
            // Where a regex matches every character, keeping the matches and isolating them are the same.
            let behavior = match (behavior, flag("invert", false)?) {
                (behavior, false) => behavior,
                ("Removed", true) if regex.ends_with(r"|\s+") => "Isolated",
                _ => return None,
            };
            Found::Regex { regex, behavior: behavior.to_string() }
        }
        "Digits" => Found::Digits { each: flag("individual_digits", false)? },
        "Punctuation" if of.get("behavior")? == "Contiguous" => Found::Punctuation,
        "ByteLevel" if !flag("add_prefix_space", true)? => {
            Found::ByteLevel { words: flag("use_regex", true)? }
        }
        _ => return None,
    };
    Some(vec![step])
}

/// One spelling of what is written in several ways.
fn spelled(regex: &str) -> String {
    let contractions = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
    regex.replace('\r', r"\r").replace('\n', r"\n").replace(contractions, "(?i:'s|'t|'re|'ve|'m|'ll|'d)")
}

fn fits(chain: &[Step], found: &[Found]) -> bool {
    let same = |(step, found): (&Step, &Found)| match (step, found) {
        (Step::Regex(a), Found::Regex { regex, behavior }) => a == regex && behavior == "Isolated",
        (Step::BeforeNext(a), Found::Regex { regex, behavior }) => a == regex && behavior == "MergedWithNext",
        (Step::Digits { each: a }, Found::Digits { each: b }) => a == b,
        (Step::Punctuation, Found::Punctuation) => true,
        (Step::ByteLevel { words: a }, Found::ByteLevel { words: b }) => a == b,
        _ => false,
    };
    chain.len() == found.len() && chain.iter().zip(found).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(regex: &str) -> Value {
        json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false})
    }

    fn bytes(words: bool) -> Value {
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": words})
    }

    fn sequence(steps: &[Value]) -> Value {
        json!({"type": "Sequence", "pretokenizers": steps})
    }

    fn named(pre_tokenizer: &Value, tokens: &[&str], whole: bool) -> Option<&'static str> {
        let chain = chain(pre_tokenizer)?;
        let shape = SHAPES.iter().find(|shape| fits(shape.chain, &chain))?;
        let vocab = tokens.iter().map(|token| (token.to_string(), Value::Null)).collect();
        let facts = Facts { vocab: Some(&vocab), whole_words: whole, ..Facts::default() };
        Some(name(shape, &facts, &mut Vec::new()))
    }

    const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    #[test]
    fn the_published_chains_have_their_names() {
        let llama = sequence(&[split(WORDS), bytes(false)]);
        let start = ["<|begin_of_text|>"];
        assert_eq!(named(&llama, &start, true), Some("llama-bpe"), "whatever the post-processor adds");
        assert_eq!(named(&llama, &start, false), Some("smaug-bpe"), "words are merged from their letters");
        assert_eq!(
            named(&llama, &[], true),
            Some("llama-bpe"),
            "whole words are looked up first, as in Llama 3"
        );
        assert_eq!(named(&llama, &[], false), Some("dbrx"));
        let qwen = sequence(&[split(&WORDS.replace("{1,3}", "")), bytes(false)]);
        assert_eq!(named(&qwen, &["<|endoftext|>"], false), Some("qwen2"));
        assert_eq!(
            named(&qwen, &["<\u{ff5c}begin\u{2581}of\u{2581}sentence\u{ff5c}>"], false),
            Some("deepseek-r1-qwen")
        );
        assert_eq!(named(&bytes(true), &["<|endoftext|>"], false), Some("gpt-2"));
        let digits = json!({"type": "Digits", "individual_digits": false});
        let falcon = sequence(&[
            json!({"type": "Punctuation", "behavior": "Contiguous"}),
            bytes(true),
            digits,
            split("[0-9][0-9][0-9]"),
        ]);
        assert_eq!(named(&falcon, &[], false), Some("falcon"));
    }

    #[test]
    fn spellings_of_one_split_are_one() {
        let mut inverted = split(WORDS);
        inverted["behavior"] = "Removed".into();
        inverted["invert"] = true.into();
        assert_eq!(
            named(&sequence(&[inverted, bytes(false)]), &[], false),
            Some("dbrx"),
            "as Granite 4 has it"
        );
        let coder =
            [split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-\u{d7ff}]+")];
        let digits = json!({"type": "Digits", "individual_digits": true});
        let coder = sequence(&[&coder[..], &[digits, bytes(false)]].concat());
        assert_eq!(named(&coder, &[], false), Some("deepseek-coder"));
    }

    #[test]
    fn a_vocabulary_of_its_own_is_known_whatever_its_splits() {
        let known = |tokens: &[&str]| {
            let vocab = tokens.iter().map(|token| (token.to_string(), Value::Null)).collect();
            let facts = Facts { vocab: Some(&vocab), ..Facts::default() };
            VOCABULARIES.iter().find(|(holds, _)| holds(&facts)).map(|(_, name)| *name)
        };
        assert_eq!(known(&["[gMASK]", "<sop>"]), Some("glm4"));
        assert_eq!(known(&["<seed:bos>"]), Some("seed-coder"));
        assert_eq!(known(&["<|begin_of_text|>"]), None);
        VOCABULARIES.iter().for_each(|(_, name)| check(name).unwrap());
    }

    #[test]
    fn what_no_chain_fits_has_no_name() {
        assert_eq!(named(&sequence(&[split("x+"), bytes(false)]), &[], false), None);
        assert_eq!(named(&json!({"type": "Metaspace"}), &[], false), None);
        let prefixed = json!({"type": "ByteLevel", "add_prefix_space": true, "use_regex": true});
        assert_eq!(named(&prefixed, &[], false), None, "the runtime adds no space");
        assert!(!normalizer_is_known(&json!({"type": "NFKC"})));
        assert!(normalizer_is_known(&json!({"type": "Sequence", "normalizers": [{"type": "NFC"}]})));
    }

    #[test]
    fn every_name_of_the_table_is_one_that_the_runtime_knows() {
        for shape in SHAPES {
            for (_, name) in shape.known.iter().chain(shape.stand_ins) {
                check(name).unwrap();
            }
        }
    }

    #[test]
    fn a_wrong_name_is_told_what_is_near() {
        let error = check("llama3.1").unwrap_err();
        assert_eq!(error.kind(), ggraft_formats::Kind::Usage);
        assert!(error.to_string().contains("llama3"), "{error}");
        assert!(check("qwen").unwrap_err().to_string().contains("qwen2"));
    }
}
