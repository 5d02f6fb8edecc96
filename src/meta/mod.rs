//! Edits of a GGUF's metadata, and what of them would break the file: some keys are never edited, and what no reader
//! expects (another type, another length of the vocabulary) is done only when it is asked for twice.
//! `override_kv` reads and spells values as `--override-kv` has them, for recipes too; `known` the types of keys, `finite` the
//! numbers that are none.
//! Specification: ggml `docs/gguf.md`; what llama.cpp v0.5.0 refuses to load.

mod finite;
mod known;
mod override_kv;

pub use finite::not_finite;
pub use known::Setting;
pub use override_kv::{Override, Spelled};

use crate::nearest::nearest;
use crate::predicting;
use ggraft_formats::{Error, Metadata, Model, Result, Value};

/// Where the model's chat template stands.
pub const CHAT_TEMPLATE: &str = "tokenizer.chat_template";

/// Keys whose arrays have an entry for each token.
const PER_TOKEN: [&str; 3] = ["tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type"];

/// Places every tensor.
const ALIGNMENT: &str = "general.alignment";

/// The longest key that GGUF allows.
const LONGEST_KEY: usize = 65535;

/// One edit.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    Set(Override),
    Unset(String),
}

/// What becomes of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub key: String,
    pub from: Option<Value>,
    pub to: Option<Value>,
}

/// The metadata after `edits`, and what changes, a key once. With `force` only what no reader can read is refused.
///
/// # Errors
/// All edits that are refused, as one.
pub fn apply(metadata: &Metadata, edits: &[Edit], force: bool) -> Result<(Metadata, Vec<Change>)> {
    let mut edited = metadata.clone();
    let mut problems = Vec::new();
    for edit in edits {
        let (key, to) = match edit {
            Edit::Set(Override { key, value }) => (key, Some(value)),
            Edit::Unset(key) => (key, None),
        };
        if let Some(problem) = never(key, metadata, to) {
            problems.push(problem);
            continue;
        }
        if !force && let Some(problem) = doubtful(key, &edited, to) {
            problems.push(problem.hint("give --force if that is meant"));
        }
        match to {
            Some(value) => edited.set(key, value.clone()),
            None => _ = edited.remove(key),
        }
    }
    match Error::all(problems) {
        Some(problem) => Err(problem),
        None => Ok((edited.clone(), changes(metadata, &edited, edits))),
    }
}

fn changes(before: &Metadata, after: &Metadata, edits: &[Edit]) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for edit in edits {
        let (Edit::Set(Override { key, .. }) | Edit::Unset(key)) = edit;
        let (from, to) = (before.get(key).cloned(), after.get(key).cloned());
        if from != to && changes.iter().all(|change| change.key != *key) {
            changes.push(Change { key: key.clone(), from, to });
        }
    }
    changes
}

/// The error for a key that is not there.
pub fn missing(key: &str, metadata: &Metadata) -> Error {
    let hint = match nearest(key, metadata.iter().map(|(key, _)| key)) {
        Some(near) => format!("did you mean {near}?"),
        None => String::from("`ggraft meta get FILE` lists the keys"),
    };
    Error::usage("there is no such key").found(format!("'{key}'")).hint(hint)
}

/// Why this edit is always refused.
fn never(key: &str, metadata: &Metadata, to: Option<&Value>) -> Option<Error> {
    let refused = |why: &str, hint: &str| Some(Error::usage(format!("{key} {why}")).hint(hint));
    if key.is_empty() || key.len() > LONGEST_KEY {
        let found = format!("{} bytes", key.len());
        return Some(Error::usage("the key has a wrong length").expected("1 to 65535 bytes").found(found));
    }
    if key.starts_with("split.") {
        return refused("tells how the model is split", "use `ggraft split` or `ggraft join`");
    }
    if key.starts_with("GGUF.") {
        return refused("is counted by the file itself and is no key of the metadata", "leave it out");
    }
    if key == ALIGNMENT {
        return refused(
            "places every tensor and is not edited",
            "write the model anew: ggraft quantize IN.gguf OUT.gguf COPY --override-kv general.alignment=u32:64",
        );
    }
    (to.is_none() && metadata.get(key).is_none()).then(|| missing(key, metadata))
}

/// Whether an output of `model` can have these values. Other than an edit of a file, they may place the tensors anew, and give
/// a value for each layer where there was one for all.
///
/// # Errors
/// All values that no reader of the output expects, as one.
pub fn check_overrides(model: &Model, overrides: &[(String, Value)]) -> Result<()> {
    let mut metadata = model.metadata.clone();
    let mut problems = Vec::new();
    for (key, value) in overrides {
        problems.extend(overriding(&metadata, key, value));
        metadata.set(key, value.clone());
    }
    let counts = |(key, _): &(String, Value)| key.ends_with(".block_count");
    if problems.is_empty() && overrides.iter().any(counts) {
        problems.extend(predicting::problem(&metadata, &model.tensors));
    }
    Error::all(problems).map_or(Ok(()), Err)
}

fn overriding(metadata: &Metadata, key: &str, value: &Value) -> Option<Error> {
    let of_one = |value: &Value| value.type_name().trim_matches(['[', ']']);
    let is_hparam = !key.starts_with("general.") && !key.starts_with("tokenizer.");
    let reshapes = |from: &Value| is_hparam && of_one(from) == of_one(value);
    if key == ALIGNMENT || metadata.get(key).is_some_and(reshapes) {
        return None;
    }
    let problem = never(key, metadata, Some(value)).or_else(|| doubtful(key, metadata, Some(value)))?;
    Some(problem.or_hint("leave out this --override-kv, or edit the output: ggraft meta set --force"))
}

/// What about this edit readers of the file would stumble over.
fn doubtful(key: &str, metadata: &Metadata, to: Option<&Value>) -> Option<Error> {
    let doubt = |what: &str| Error::usage(format!("{key}: {what}"));
    let from = metadata.get(key);
    if key == "general.architecture" && from.is_some() && from != to {
        return Some(doubt(
            "no reader loads the file without the architecture that its other keys are named by",
        ));
    }
    if PER_TOKEN.contains(&key) && to.is_none() {
        return Some(doubt("no reader can tokenize without it"));
    }
    let to = to?;
    if let Some(from) = from.filter(|from| from.type_name() != to.type_name()) {
        return Some(doubt("the value has another type").expected(from.type_name()).found(to.type_name()));
    }
    let tokens = metadata.get(PER_TOKEN[0]).and_then(Value::as_array).map(|tokens| tokens.len());
    let length = to.as_array().map(|array| array.len());
    if let (true, Some(tokens), Some(length)) = (PER_TOKEN.contains(&key), tokens, length)
        && tokens != length
    {
        return Some(doubt("there must be a value for each token").expected(tokens).found(length));
    }
    if finite::is_wild(key, to) {
        return Some(doubt("no reader computes with what is no number").expected("finite numbers"));
    }
    match (tokens, to.as_u64()) {
        (Some(tokens), Some(id)) if key.ends_with("_token_id") && id >= tokens as u64 => {
            Some(doubt("there is no such token").expected(format!("an id below {tokens}")).found(id))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        let mut metadata = Metadata::new();
        metadata.set("general.architecture", "llama");
        metadata.set("general.name", "old");
        metadata.set("llama.block_count", 3u32);
        metadata.set("tokenizer.ggml.tokens", vec!["a".to_string(), "b".to_string()]);
        metadata
    }

    fn set(text: &str) -> Edit {
        Edit::Set(text.parse().unwrap())
    }

    #[test]
    fn a_key_keeps_its_place_and_is_told_once() {
        let edits = [set("general.name=str:x"), set("a.b=u8:1"), set("general.name=str:new")];
        let (after, changes) = apply(&metadata(), &edits, false).unwrap();
        let keys: Vec<&str> = after.iter().map(|(key, _)| key).collect();
        assert_eq!(keys[1..], ["general.name", "llama.block_count", "tokenizer.ggml.tokens", "a.b"]);
        let change = |key: &str, from: Option<&str>, to: Value| Change {
            key: key.to_string(),
            from: from.map(Value::from),
            to: Some(to),
        };
        assert_eq!(
            changes,
            [change("general.name", Some("old"), "new".into()), change("a.b", None, Value::U8(1))]
        );
    }

    #[test]
    fn what_changes_nothing_is_no_change() {
        let (after, changes) = apply(&metadata(), &[set("llama.block_count=u32:3")], false).unwrap();
        assert_eq!((after, changes.len()), (metadata(), 0));
    }

    #[test]
    fn some_keys_are_never_edited() {
        let unset = |key: &str| Edit::Unset(key.to_string());
        for (edit, said) in [
            (set("split.count=u16:2"), "use `ggraft split` or `ggraft join`"),
            (set("GGUF.tensor_count=u64:2"), "no key of the metadata"),
            (set("general.alignment=u32:64"), "COPY --override-kv general.alignment=u32:64"),
            (unset("general.nam"), "did you mean general.name?"),
            (unset("other"), "lists the keys"),
        ] {
            let error = apply(&metadata(), &[edit], true).unwrap_err();
            assert!(error.kind().exit_code() == 2 && error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn what_readers_stumble_over_needs_force() {
        for (edit, said) in [
            (set("llama.block_count=str:3"), "the value has another type: expected u32, found str"),
            (set("general.architecture=str:qwen2"), "no reader loads the file"),
            (Edit::Unset("general.architecture".into()), "no reader loads the file"),
            (set("tokenizer.ggml.tokens=[str]:a"), "a value for each token: expected 2, found 1"),
            (set("tokenizer.ggml.eos_token_id=u32:2"), "expected an id below 2, found 2"),
            (set("llama.rope.freq_base=f32:nan"), "no reader computes with what is no number"),
        ] {
            let error = apply(&metadata(), std::slice::from_ref(&edit), false).unwrap_err().to_string();
            assert!(error.contains(said) && error.ends_with("give --force if that is meant"), "{error}");
            assert_eq!(apply(&metadata(), &[edit], true).unwrap().1.len(), 1);
        }
    }

    #[test]
    fn an_output_has_what_readers_expect() {
        let model = Model { metadata: metadata(), ..Model::default() };
        let check = |text: &str| {
            let one: Override = text.parse().unwrap();
            check_overrides(&model, &[(one.key, one.value)])
        };
        for text in
            ["general.alignment=u32:64", "llama.block_count=[u32]:3,3,3", "a.b=int:-1", "general.name=str:x"]
        {
            check(text).unwrap();
        }
        for (text, said) in [
            ("split.count=int:3", "tells how the model is split"),
            ("llama.block_count=int:-1", "another type: expected u32, found i32"),
            ("general.architecture=str:foo", "no reader loads the file"),
            ("tokenizer.ggml.tokens=str:x", "another type: expected [str], found str"),
        ] {
            let error = check(text).unwrap_err().to_string();
            let ways = ["leave out this --override-kv", "`ggraft split`"];
            assert!(error.contains(said) && ways.iter().any(|way| error.contains(way)), "{error}");
        }
    }
}
