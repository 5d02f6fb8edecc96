//! What `ggraft convert` makes of a checkpoint is what llama.cpp's converter made of it: the same tensors, each
//! with the same bytes, and the same metadata, key for key. `fixtures/goldens/convert` holds what it made; a test a
//! checkpoint, and a line a tensor or key in what a failure prints.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::{Input, Model, open};
use run::{ggraft, trio};
use std::path::{Path, PathBuf};
use support::golden::{Golden, OUTTYPES};
use support::specs;
use support::vocabulary::fixture;

#[test]
fn trio_base() {
    same_as_recorded("trio-base");
}

#[test]
fn trio_chat() {
    same_as_recorded("trio-chat");
}

#[test]
fn trio_cp() {
    same_as_recorded("trio-cp");
}

#[test]
fn llama_with_byte_level_bpe_and_llama3_rope() {
    same_as_recorded("Llama-3.1-Tiny");
}

#[test]
fn llama_with_a_tied_head_and_a_chat_template() {
    same_as_recorded("Llama-3.2-Tiny-Instruct");
}

#[test]
fn mistral_in_shards_with_a_model_card() {
    same_as_recorded("Mistral-Tiny-v0.3");
}

#[test]
fn llama_on_the_qwen2_vocabulary() {
    same_as_recorded("Qwen-Tiny-Chat");
}

#[test]
fn llama_with_biases_and_linear_rope_from_f16() {
    same_as_recorded("Linear-Tiny");
}

#[test]
fn llama_with_yarn_rope_from_f32() {
    same_as_recorded("Yarn-Tiny");
}

#[test]
fn every_recording_has_its_test() {
    let tests = ["trio-base", "trio-chat", "trio-cp"].into_iter();
    let names = tests.chain(specs::checkpoints().into_iter().map(|(name, _)| name));
    let mut expected: Vec<PathBuf> =
        names.flat_map(|name| OUTTYPES.map(|outtype| Golden::path(name, outtype))).collect();
    let folder = std::fs::read_dir(fixture("goldens/convert")).unwrap();
    let mut found: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

/// Converts the checkpoint to every type and compares.
fn same_as_recorded(name: &str) {
    let temporary = tempfile::tempdir().unwrap();
    let checkpoint = match name.strip_prefix("trio-") {
        Some(model) => trio(model),
        None => {
            let dir = temporary.path().join(name);
            specs::checkpoint(name).expect("a named checkpoint").write(&dir);
            dir
        }
    };
    let mut all = Vec::new();
    for outtype in OUTTYPES {
        let golden = Golden::read(name, outtype);
        golden.check_generator(&checkpoint);
        let out = temporary.path().join(format!("{outtype}.gguf"));
        let model = converted(&checkpoint, outtype, &out);
        all.extend(golden.differences(&model).iter().map(|line| format!("{outtype}: {line}")));
    }
    assert!(all.is_empty(), "{name}:\n{}", all.join("\n"));
}

fn converted(checkpoint: &Path, outtype: &str, out: &Path) -> Model {
    let [from, to] = [checkpoint, out].map(|path| path.to_str().expect("a plain path"));
    ggraft(["convert", from, "--type", outtype, "-o", to]).ok();
    match open(out).unwrap() {
        Input::Model(model) => model,
        Input::Checkpoint(_) => panic!("{} is no GGUF file", out.display()),
    }
}
