//! 300 random tokenizers, with tokens added in three files that may contradict each other: llama.cpp, given what we make
//! of them, gives the ids that transformers gives (`fixtures/goldens/tokenizers.json`), or the difference is told.

mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use rayon::prelude::*;
use run::ggraft;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;
use support::checkpoint::{Spec, Tokens, write_weights};
use support::random_tokenizers::{COUNT, Sources, write};
use support::tokenizer::write_json;
use support::vocabulary::fixture;

/// What each told difference says.
const TOLD: &str = "unlike transformers";

#[test]
fn ids_are_those_of_transformers_or_the_difference_is_told() {
    let golden: Value =
        serde_json::from_slice(&std::fs::read(fixture("goldens/tokenizers.json")).unwrap()).unwrap();
    let golden = golden["tokenizers"].as_array().unwrap();
    assert_eq!(golden.len(), COUNT);
    let (sources, dir) = (Sources::load(), tempfile::tempdir().unwrap());
    let one = |i: usize| {
        let dir = dir.path().join(i.to_string());
        std::fs::create_dir_all(&dir).unwrap();
        let texts = checkpoint(&sources, i, &dir);
        let made = digest(&std::fs::read(dir.join("tokenizer.json")).unwrap());
        assert_eq!(json!(made), golden[i][0], "tokenizer {i} is another than the one that was recorded");
        let out = dir.join("out.gguf");
        let ran =
            ggraft(["convert", dir.to_str().unwrap(), "--type", "F16", "-o", out.to_str().unwrap()]).ok();
        ggraft(["verify", "-q", out.to_str().unwrap()]).ok();
        let ids = peer::peer().map(|peer| {
            let model = peer.load_model(&out, true).unwrap_or_else(|e| panic!("tokenizer {i}: {e}"));
            let ids: Vec<Vec<i32>> = texts.iter().map(|text| model.tokenize(text, true, true)).collect();
            digest(json!(ids).to_string().as_bytes())
        });
        std::fs::remove_dir_all(&dir).unwrap();
        (i, ran.err.contains(TOLD), ids)
    };
    let all: Vec<_> = (0..COUNT).into_par_iter().map(one).collect();
    if peer::peer().is_none() {
        return;
    }
    let same = |(i, _, ids): &&(usize, bool, Option<String>)| json!(ids) == golden[*i][1];
    let silent: Vec<usize> = all.iter().filter(|one| !same(one) && !one.1).map(|one| one.0).collect();
    let count = all.iter().filter(same).count();
    let needless = all.iter().filter(|one| same(one) && one.1).count();
    println!(
        "{count} of {COUNT} the same; {} told; {needless} told though the same",
        all.iter().filter(|one| one.1).count()
    );
    assert!(silent.is_empty(), "other ids, and nothing is told: {silent:?}");
    assert!(count >= COUNT / 2, "only {count} are the same");
}

/// Writes the tokenizer with a model of so many rows around it.
fn checkpoint(sources: &Sources, i: usize, dir: &Path) -> Vec<String> {
    let (rows, texts) = write(sources, i, dir);
    let spec = Spec { tokens: Tokens::Plain(rows), hidden: 32, ffn: 32, layers: 1, ..Spec::default() };
    let scratch = dir.join("config");
    spec.write_files(&scratch);
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(scratch.join("config.json")).unwrap()).unwrap();
    for key in ["bos_token_id", "eos_token_id"] {
        config.as_object_mut().unwrap().remove(key);
    }
    write_json(&dir.join("config.json"), &config);
    std::fs::remove_dir_all(scratch).unwrap();
    write_weights(spec.weights(rows), 1, dir);
    texts
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
