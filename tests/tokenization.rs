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
