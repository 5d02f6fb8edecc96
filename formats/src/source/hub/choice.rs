//! Which file of a repository, or of a folder in a store, is the model, where none is named; and what must be there to read
//! it.

use super::cache::{beside, parts};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// The usual names, the most wanted first.
const USUAL: [&str; 4] = [
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
];
/// What is read beside weights.
const BESIDE: [&str; 8] = ["json", "jsonl", "txt", "model", "jinja", "md", "tiktoken", "vocab"];
/// What lists modules of sentence-transformers, whose folders have numbers, and the weights of one.
const MODULES: (&str, &str) = ("modules.json", "model.safetensors");
/// The most names that an error lists.
const MOST_TOLD: usize = 8;

/// The file by which a model is opened: `asked`, or the one that its repository holds.
///
/// # Errors
/// There is none, or several.
pub fn chosen(files: &BTreeSet<String>, asked: Option<&str>, shown: &Path) -> Result<String> {
    if let Some(asked) = asked {
        return match files.contains(asked) {
            true => Ok(asked.to_string()),
            false => Err(Error::new(crate::Kind::Io, "the model has no such file")
                .file(&shown.join(asked))
                .found(list(files.iter().filter(|name| is_weights(name))))),
        };
    }
    if let Some(usual) = USUAL.iter().find(|name| files.contains(**name)) {
        return Ok(usual.to_string());
    }
    let alone = |name: &&String| {
        name.ends_with(".safetensors") && !name.contains('/') && !name.starts_with("adapter_")
    };
    let only: Vec<&String> = files.iter().filter(alone).collect();
    if let [only] = only.as_slice() {
        return Ok((*only).clone());
    }
    let whole = |name: &&String| {
        let is_later = name.contains("-of-") && parts(name).is_none();
        name.ends_with(".gguf") && !is_later && !name.contains("mmproj")
    };
    let ggufs: Vec<&String> = files.iter().filter(whole).collect();
    let none = || Error::invalid("there is no model here that can be told apart").file(shown);
    match ggufs.as_slice() {
        [only] => Ok((*only).clone()),
        [] if files.contains("adapter_config.json") => Err(none()
            .found("an adapter (adapter_config.json)")
            .hint("merge the adapter into its base model first: ggraft merge --onto MODEL --adapter DIR")),
        [] => Err(none()
            .expected("model.safetensors, its index, or a GGUF")
            .found(list(files.iter().filter(|name| is_weights(name))))),
        several => Err(Error::usage("there are several GGUFs here")
            .file(shown)
            .found(list(several.iter().copied()))
            .hint(format!("name one, as {}/{}", shown.display(), several[0]))),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    match names.len() {
        0 => String::from("no weights"),
        n if n > MOST_TOLD => format!("{} and {} more", names[..MOST_TOLD].join(", "), n - MOST_TOLD),
        _ => names.join(", "),
    }
}

fn is_weights(name: &str) -> bool {
    [".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".h5", ".msgpack"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

/// The files that are read of a model which is opened by `name`, beside its weights.
pub fn small<'a>(files: &'a BTreeSet<String>, name: &str) -> Vec<&'a String> {
    if name.ends_with(".gguf") {
        return Vec::new();
    }
    let wanted = |file: &&String| {
        let ending = file.rsplit_once('.').map(|(_, ending)| ending);
        ending.is_some_and(|ending| BESIDE.contains(&ending)) && !file.ends_with(".index.json")
    };
    let of_module = |file: &&String| {
        let (folder, name) = file.split_once('/').unwrap_or_default();
        files.contains(MODULES.0) && name == MODULES.1 && folder.starts_with(|c: char| c.is_ascii_digit())
    };
    let mut all: Vec<&String> = files.iter().filter(|file| wanted(file) || of_module(file)).collect();
    all.extend(files.get(name).filter(|name| name.ends_with(".index.json")));
    all
}

/// The files of weights, where `name` is no index.
pub fn weights(name: &str) -> Vec<String> {
    parts(name).unwrap_or_else(|| vec![name.to_string()])
}

/// Those of an index.
pub fn shards(name: &str, index: &serde_json::Value) -> Vec<String> {
    super::cache::shards_of(index).iter().map(|shard| beside(name, shard)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(files: &[&str]) -> Result<String, String> {
        let files = files.iter().map(|f| f.to_string()).collect();
        chosen(&files, None, Path::new("hf://a/b")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_repository_names_its_model_by_what_it_holds() {
        let index = "model.safetensors.index.json";
        assert_eq!(choose(&["pytorch_model.bin", index, "x.gguf"]).unwrap(), index);
        assert_eq!(choose(&["a.safetensors", "config.json"]).unwrap(), "a.safetensors");
        assert_eq!(
            choose(&["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]).unwrap(),
            "m-00001-of-00002.gguf"
        );
        assert!(choose(&["a-Q4_K_M.gguf", "a-Q8_0.gguf"]).unwrap_err().contains("hf://a/b/a-Q4_K_M.gguf"));
        assert!(
            choose(&["adapter_config.json", "adapter_model.safetensors"]).unwrap_err().contains("adapter")
        );
        assert!(choose(&["README.md"]).unwrap_err().contains("no weights"));
    }

    #[test]
    fn what_is_read_beside_weights_has_the_modules_and_every_tokenizer() {
        let read = |files: &[&str]| {
            let files: BTreeSet<String> = files.iter().map(|f| f.to_string()).collect();
            small(&files, "model.safetensors").into_iter().cloned().collect::<Vec<_>>()
        };
        let dense = ["2_Dense/config.json", "2_Dense/model.safetensors", "onnx/model.safetensors"];
        assert_eq!(read(&dense), ["2_Dense/config.json"]);
        assert_eq!(read(&[&dense[..], &["modules.json"]].concat()).len(), 3);
        assert_eq!(read(&["model.safetensors", "tokenizer.jsonl", "x.bin"]), ["tokenizer.jsonl"]);
    }
}
