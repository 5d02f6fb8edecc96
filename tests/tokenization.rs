//! A converted vocabulary splits text as the model's own does: llama.cpp, given the file that we made of a
//! rebuilt checkpoint, answers with the ids that llama.cpp's own tests expect (`fixtures/vocab/*.inp`, `*.out`).

mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::{Array, Input, Value, open};
use run::ggraft;
use std::path::{Path, PathBuf};
use support::checkpoint::{Spec, Tokens};
use support::vocabulary::{Vocabulary, fixture};

#[test]
fn llama_spm() {
    same_ids("llama-spm", None);
}

#[test]
fn phi_3() {
    same_ids("phi-3", None);
}

#[test]
fn llama_bpe() {
    same_ids("llama-bpe", None);
}

#[test]
fn qwen2() {
    same_ids("qwen2", None);
}

#[test]
fn gpt_2() {
    same_ids("gpt-2", None);
}

#[test]
fn deepseek_llm_with_its_pre_tokenizer_named() {
    same_ids("deepseek-llm", Some("deepseek-llm"));
}

/// Rebuilds a checkpoint on the vocabulary, converts it and compares, first with the vocabulary it came from,
/// then with what llama.cpp makes of the test strings.
fn same_ids(name: &'static str, pre: Option<&str>) {
    let temporary = tempfile::tempdir().unwrap();
    let file = convert(name, pre, temporary.path());
    same_tokens(name, &file);
    let Some(peer) = peer::peer() else { return };
    let model = peer.load_model(&file, true).unwrap();
    let [texts, ids] = ["inp", "out"].map(|ending| {
        std::fs::read_to_string(fixture(&format!("vocab/ggml-vocab-{name}.gguf.{ending}"))).unwrap()
    });
    let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
    let ids: Vec<&str> = ids.split('\n').collect();
    assert_eq!(texts.len(), ids.len());
    for (text, ids) in texts.into_iter().zip(ids) {
        let expected: Vec<i32> = ids.split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert_eq!(model.tokenize(text, false, false), expected, "{text:?}");
    }
}

/// Published vocabularies, which are too large to be kept here: `fixtures/make_vocabulary_checks.py` lays them out.
#[test]
fn published_vocabularies_split_as_hugging_faces_tokenizers_do() {
    let Some(folder) = std::env::var_os("GGRAFT_VOCABULARIES") else {
        eprintln!("SKIPPED: published vocabularies: GGRAFT_VOCABULARIES names no folder of them");
        return;
    };
    let Some(peer) = peer::peer() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    let mut problems = Vec::new();
    for folder in all {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let (checkpoint, file) = (folder.join("checkpoint"), temporary.path().join(format!("{name}.gguf")));
        let [from, to] = [&checkpoint, &file].map(|path| path.to_str().unwrap());
        let split = std::fs::read(folder.join("ids.json")).unwrap();
        let split: Vec<(String, Vec<i32>, String)> = serde_json::from_slice(&split).unwrap();
        let ran = ggraft(["convert", from, "--type", "f16", "-q", "-o", to]);
        if ran.code != 0 {
            println!("{name}: refused: {}", ran.err);
            // As it should be where the runtime can split no text as the tokenizer does.
            if split.iter().any(|(_, _, why)| why.is_empty()) {
                problems.push(format!("{name}: {}", ran.err));
            }
            continue;
        }
        let model = peer.load_model(&file, true).unwrap();
        let differ = split.iter().filter(|(text, ids, _)| model.tokenize(text, false, true) != *ids);
        let (wrong, known): (Vec<_>, Vec<_>) = differ.partition(|(_, _, why)| why.is_empty());
        let all = (split.len(), wrong.len(), known.len());
        println!(
            "{name}: of {} texts {} have other ids, and {} for what the runtime lacks",
            all.0, all.1, all.2
        );
        problems.extend(wrong.iter().take(3).map(|(text, ids, _)| {
            format!(
                "{name}: {text:?}\n  expected {ids:?}\n  found    {:?}",
                model.tokenize(text, false, true)
            )
        }));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn convert(name: &'static str, pre: Option<&str>, into: &Path) -> PathBuf {
    let checkpoint = into.join(name);
    let out = into.join("model.gguf");
    let spec = Spec { tokens: Tokens::Real(name), hidden: 32, ffn: 32, layers: 1, ..Spec::default() };
    spec.write(&checkpoint);
    let [checkpoint, file] = [&checkpoint, &out].map(|path| path.to_str().expect("a plain path"));
    let mut arguments = vec!["convert", checkpoint, "--type", "Q8_0", "-o", file];
    if let Some(pre) = pre {
        arguments.extend(["--pre", pre]);
    }
    ggraft(arguments).ok();
    out
}

/// The tokens, and the merges if there are any, are those that the checkpoint was built from.
fn same_tokens(name: &str, file: &Path) {
    let Input::Model(model) = open(file).unwrap() else { panic!("this is no GGUF file") };
    let texts = |key: &str| match model.metadata.get(key) {
        Some(Value::Array(Array::Str(texts))) => texts.iter().map(ToString::to_string).collect(),
        None => Vec::new(),
        other => panic!("{key}: {other:?}"),
    };
    let vocabulary = Vocabulary::load(name);
    assert!(texts("tokenizer.ggml.tokens") == vocabulary.tokens, "the tokens have changed");
    assert!(texts("tokenizer.ggml.merges") == vocabulary.merges, "the merges have changed");
}
