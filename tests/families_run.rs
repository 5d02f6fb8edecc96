//! llama.cpp loads the tiny model of every family that it supports, as ggraft writes it, and goes on with a text just as
//! with the file of llama.cpp's own converter: `tests/families.rs` holds every tensor and key against the converter's, and
//! `fixtures/goldens/families-run.json` has the tokens that its files gave (`fixtures/make_run_goldens.py`).

mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use run::ggraft;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use support::families::{all, family};
use support::gguf::model;

/// How many tokens are compared.
const TOKENS: usize = 12;

/// What llama.cpp says after a few tokens, from this file.
fn goes_on(peer: &'static peer::Peer, file: &Path) -> Result<Vec<i32>, String> {
    peer.load_model(file, false)?.greedy(&[5, 17, 41, 100, 7], TOKENS, 1)
}

/// The same, from what ggraft makes of the checkpoint.
fn converted(peer: &'static peer::Peer, dir: &Path, kind: &str) -> Result<Vec<i32>, String> {
    let out = dir.with_extension(format!("{kind}.gguf"));
    let (from, to) = (dir.to_str().unwrap(), out.to_str().unwrap());
    let ran = ggraft(["convert", "-q", from, "--type", kind, "-o", to]);
    if ran.code == 0 { goes_on(peer, &out) } else { Err(ran.err) }
}

/// Writes the golden of the converter's own files in `folder`.
fn record(peer: &'static peer::Peer, folder: &Path, golden: &Path) {
    let (mut tokens, mut refused) = (json!({}), json!({}));
    for tiny in all() {
        let files = ["f32", "f16"].map(|kind| (kind, folder.join(format!("{}.{kind}.gguf", tiny.name))));
        for (kind, file) in files.iter().filter(|(_, file)| file.exists()) {
            match goes_on(peer, file) {
                Ok(found) => tokens[tiny.name][kind] = json!(found),
                Err(e) => refused[tiny.name] = json!(e.lines().next()),
            }
        }
    }
    let line = |(name, types): (&String, &Value)| format!("  {}: {types}", json!(name));
    let lines = |all: &Value| all.as_object().unwrap().iter().map(line).collect::<Vec<_>>().join(",\n");
    let text =
        format!("{{\"tokens\": {{\n{}\n}}, \"refused\": {{\n{}\n}}}}\n", lines(&tokens), lines(&refused));
    std::fs::write(golden, text).unwrap();
}

#[test]
fn llama_cpp_goes_on_with_a_text_as_with_the_converters_file() {
    let Some(peer) = peer::peer() else { return };
    let file = support::vocabulary::fixture("goldens/families-run.json");
    if let Some(folder) = std::env::var_os("GGRAFT_CONVERTERS_FILES") {
        record(peer, &PathBuf::from(folder), &file);
    }
    let goldens: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut failed = Vec::new();
    let known = goldens["tokens"].as_object().unwrap();
    assert!(known.len() > 20, "{}", known.len());
    for (name, types) in known {
        let Some(tiny) = family(name) else {
            failed.push(format!("{name} is no checkpoint"));
            continue;
        };
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join(name);
        tiny.write(&dir);
        for (kind, expected) in types.as_object().unwrap() {
            match converted(peer, &dir, kind) {
                Ok(found) if json!(found) == *expected => {}
                Ok(found) => failed.push(format!("{name}, {kind}: expected {expected}, found {found:?}")),
                Err(e) => failed.push(format!("{name}, {kind}: {e}")),
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// One of each architecture whose graph multiplies by the scales beside NVFP4, but for the dense llama (`tests/runs.rs`).
const SCALED: [&str; 6] = [
    "Mixtral-Tiny-4x1M",
    "Ministral-3-1M",
    "Qwen3-Tiny",
    "Qwen3-Moe-Tiny",
    "command-r7b-tiny",
    "Mellum-2-Tiny",
];

/// The checkpoint of that name, with rows that are whole blocks of 64.
fn wide(name: &str) -> support::families::Tiny {
    let mut tiny = family(name).unwrap();
    let whole = |config: &mut Value| {
        for (key, size) in [("hidden_size", 64), ("intermediate_size", 128), ("moe_intermediate_size", 64)] {
            if config[key].is_u64() {
                config[key] = size.into();
            }
        }
        config["head_dim"] = 16.into();
        if config["layer_types"][0].is_string() && config["sliding_window"].is_u64() {
            // llama.cpp aborts on a window that no layer has
            config["layer_types"][0] = "sliding_attention".into();
        }
    };
    match tiny.config.get_mut("text_config").filter(|text| text.is_object()) {
        Some(text) => whole(text),
        None => whole(&mut tiny.config),
    }
    tiny
}

/// The cosine of the angle between what two files say after a few tokens.
fn likeness(peer: &'static peer::Peer, files: [&Path; 2]) -> Result<f64, String> {
    let [a, b] = files.map(|file| peer.load_model(file, false)?.logits(&[5, 17, 41, 100, 7], 1));
    let (a, b) = (a?, b?);
    let product =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    Ok(product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt())
}

/// A scale that a graph did not multiply by would make its matrix 64 times as large.
#[test]
fn llama_cpp_multiplies_by_every_scale_beside_nvfp4() {
    let Some(peer) = peer::peer() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let mut failed = Vec::new();
    for name in SCALED.into_iter().chain(["Qwen2-Tiny"]) {
        let dir = temporary.path().join(name);
        wide(name).write(&dir);
        let [whole, small] = ["F32", "NVFP4"].map(|kind| {
            let out = dir.with_extension(format!("{kind}.gguf"));
            let words = ["convert", dir.to_str().unwrap(), "--type", kind, "-o", out.to_str().unwrap()];
            let ran = ggraft(words).ok();
            let says = ran.err.contains("NVFP4 without scales of whole tensors");
            assert_eq!(says, kind == "NVFP4" && !SCALED.contains(&name), "{name}: {}", ran.err);
            out
        });
        let tensors = model(&small).tensors;
        let count = |end: &str| tensors.iter().filter(|t| t.name.ends_with(end)).count();
        let blocks = tensors.iter().filter(|t| t.dtype() == ggraft_formats::DType::NVFP4).count();
        let due = if SCALED.contains(&name) { blocks } else { 0 };
        assert!(blocks >= 10 && count(".scale") == due, "{name}: {} of {blocks}", count(".scale"));
        match likeness(peer, [&whole, &small]) {
            Ok(like) if like > 0.9 => {}
            found => failed.push(format!("{name}: {found:?}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
