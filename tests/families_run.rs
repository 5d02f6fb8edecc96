//! llama.cpp loads the tiny model of every family that it supports, as ggraft writes it, and goes on with a text just as
//! with the file of llama.cpp's own converter, or makes the same vector of it: `tests/families.rs` holds every tensor and
//! key against the converter's, and `fixtures/goldens/families-run.json` has what its files gave
//! (`fixtures/make_run_goldens.py`). What the peer takes for a mistake of its own ends the process, so each file is run in
//! a process of its own.

mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use rayon::prelude::*;
use run::ggraft;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::families::{all, blocks, family, layouts, speaking};
use support::gguf::model;

/// How many tokens are compared.
const TOKENS: usize = 12;

/// What is read.
const TEXT: [i32; 5] = [5, 17, 41, 100, 7];

/// Names the file to the process that runs it.
const FILE: &str = "GGRAFT_RUN_FILE";

/// What stands before the answer of that process.
const SAYS: &str = "llama.cpp says: ";

/// What llama.cpp makes of the text with this file: the kind of answer, and the tokens or numbers.
type Answer = (String, Value);

/// What llama.cpp makes of the text, in this process.
fn says(peer: &'static peer::Peer, file: &Path) -> Result<Answer, String> {
    let model = peer.load_model(file, false)?;
    // Some encoders have fewer tokens.
    let text = TEXT.map(|token| token % model.vocab_size() as i32);
    if !model.is_encoder() {
        return Ok(("tokens".into(), json!(model.greedy(&text, TOKENS, 1)?)));
    }
    let vector = model.vector(&text, 1)?;
    // Six digits tell what the sixth would differ in by another order of sums.
    let short = |x: &f32| format!("{x:.5e}").parse::<f64>().unwrap();
    match vector.iter().all(|x| x.is_finite()) {
        true => Ok(("vectors".into(), vector.iter().map(short).collect())),
        false => Err(String::from("the vector has numbers that are not finite")),
    }
}

/// Runs a file for `alone`, in whose process it is.
#[test]
fn one_file_is_run_if_it_is_named() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let said = says(peer::peer().expect("the libraries of the process that asks"), Path::new(&file));
    println!("\n{SAYS}{}", json!(said.map_err(|e| e.lines().next().unwrap_or_default().to_string())));
}

/// What llama.cpp makes of the text, in a process of its own.
fn alone(file: &Path) -> Result<Answer, String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "one_file_is_run_if_it_is_named", "--nocapture"]);
    let output = run::output(command.env(FILE, file).env("GGML_NO_BACKTRACE", "1"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let Some(said) = out.lines().find_map(|line| line.strip_prefix(SAYS)) else {
        let why = err.lines().find(|line| line.contains("GGML_A")).or(err.lines().last());
        // The path is that of the machine on which llama.cpp was built.
        return Err(format!("aborts: {}", why.unwrap_or_default().rsplit('/').next().unwrap_or_default()));
    };
    let said: Value = serde_json::from_str(said).unwrap();
    match said["Ok"].as_array() {
        Some(answer) => Ok((answer[0].as_str().unwrap().into(), answer[1].clone())),
        None => Err(said["Err"].as_str().unwrap().into()),
    }
}

/// What llama.cpp makes of the text with what ggraft makes of the checkpoint.
fn converted(dir: &Path, kind: &str) -> Result<Answer, String> {
    let out = dir.with_extension(format!("{kind}.gguf"));
    let (from, to) = (dir.to_str().unwrap(), out.to_str().unwrap());
    let ran = ggraft(["convert", "-q", from, "--type", kind, "-o", to]);
    if ran.code == 0 { alone(&out) } else { Err(ran.err) }
}

/// Writes what the converter's own files in `folder` give into the golden, in the order of the checkpoints.
fn record(folder: &Path, golden: &Path) {
    let old: Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let mut new = json!({"tokens": {}, "vectors": {}, "refused": {}});
    for tiny in all().into_iter().chain(layouts::all()).chain(blocks::all()).chain(speaking::talkers()) {
        let name = tiny.name;
        let files = ["f32", "f16"].map(|kind| (kind, folder.join(format!("{name}.{kind}.gguf"))));
        let is_there = files.iter().any(|(_, file)| file.exists());
        for (sort, known) in new.as_object_mut().unwrap() {
            if let Some(was) = old[sort].get(name).filter(|_| !is_there) {
                known[name] = was.clone();
            }
        }
        for (kind, file) in files.iter().filter(|(_, file)| file.exists()) {
            match alone(file) {
                Ok((sort, answer)) => new[sort][name][kind] = answer,
                Err(why) => new["refused"][name] = json!(why),
            }
        }
    }
    let line = |(name, answers): (&String, &Value)| format!("  {}: {answers}", json!(name));
    let lines = |all: &Value| all.as_object().unwrap().iter().map(line).collect::<Vec<_>>().join(",\n");
    let part = |(sort, all): (&String, &Value)| format!("{}: {{\n{}\n}}", json!(sort), lines(all));
    let parts: Vec<String> = new.as_object().unwrap().iter().map(part).collect();
    std::fs::write(golden, format!("{{{}}}\n", parts.join(", "))).unwrap();
}

/// Whether the numbers of a vector are the recorded ones, within a ten-thousandth of the largest.
fn is_near(found: &Value, expected: &Value) -> bool {
    let numbers =
        |all: &Value| all.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>();
    let (found, expected) = (numbers(found), numbers(expected));
    let largest = expected.iter().fold(0.0, |most, x| f64::max(most, x.abs()));
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-4 * largest;
    found.len() == expected.len() && found.iter().zip(&expected).all(near)
}

/// What a checkpoint says otherwise than the golden.
fn otherwise(sort: &str, name: &str, types: &Map<String, Value>) -> Vec<String> {
    let Some(tiny) = family(name) else { return vec![format!("{name} is no checkpoint")] };
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join(name);
    tiny.write(&dir);
    let one = |(kind, expected): (&String, &Value)| match converted(&dir, kind) {
        Ok((found, answer))
            if found == sort && (answer == *expected || sort == "vectors" && is_near(&answer, expected)) =>
        {
            None
        }
        Ok((found, answer)) => {
            Some(format!("{name}, {kind}: expected {sort} {expected}, found {found} {answer}"))
        }
        Err(e) => Some(format!("{name}, {kind}: {e}")),
    };
    types.iter().filter_map(one).collect()
}

#[test]
fn llama_cpp_makes_of_a_text_what_it_makes_with_the_converters_file() {
    if peer::peer().is_none() {
        return;
    }
    let file = support::vocabulary::fixture("goldens/families-run.json");
    if let Some(folder) = std::env::var_os("GGRAFT_CONVERTERS_FILES") {
        record(&PathBuf::from(folder), &file);
    }
    let goldens: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let of = |sort: &'static str| {
        goldens[sort].as_object().unwrap().iter().map(move |(name, types)| (sort, name, types))
    };
    let known: Vec<_> = ["tokens", "vectors"].into_iter().flat_map(of).collect();
    assert!(known.len() > 180, "{}", known.len());
    let check =
        |(sort, name, types): &(&str, &String, &Value)| otherwise(sort, name, types.as_object().unwrap());
    let failed: Vec<String> = known.par_iter().flat_map_iter(check).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Of every architecture that `--fuse-qkv` is for: the answer to a file whose queries, keys and values are one is that to one
/// that has them apart.
#[test]
fn llama_cpp_runs_queries_keys_and_values_that_are_one() {
    if peer::peer().is_none() {
        return;
    }
    let file = support::vocabulary::fixture("goldens/families-run.json");
    let goldens: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let known: Vec<(&String, &Value)> = goldens["tokens"].as_object().unwrap().iter().collect();
    let check = |(name, types): &(&String, &Value)| {
        let temporary = tempfile::tempdir().unwrap();
        let (dir, out) = (temporary.path().join(name), temporary.path().join("fused.gguf"));
        family(name)?.write(&dir);
        let (from, to) = (dir.to_str()?, out.to_str()?);
        let ran = ggraft(["convert", "-q", from, "--fuse-qkv", "--type", "f16", "-o", to]);
        // It is for other architectures.
        let is_fused =
            ran.code == 0 && model(&out).tensors.iter().any(|t| t.name.ends_with("attn_qkv.weight"));
        is_fused.then(|| match alone(&out) {
            Ok((_, answer)) if answer == types["f16"] => Ok(()),
            found => Err(format!("{name}: expected {}, found {found:?}", types["f16"])),
        })
    };
    let answers: Vec<Result<(), String>> = known.par_iter().filter_map(check).collect();
    let failed: Vec<String> = answers.iter().filter_map(|answer| answer.clone().err()).collect();
    assert!(failed.is_empty() && answers.len() > 60, "{} files:\n{}", answers.len(), failed.join("\n"));
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
    let [a, b] = files.map(|file| peer.load_model(file, false)?.logits(&TEXT, 1));
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

/// NVFP4 of a checkpoint, rearranged, and the same unpacked: dense and of experts, each packer's.
#[test]
fn llama_cpp_runs_nvfp4_that_stayed_what_it_was() {
    let Some(peer) = peer::peer() else { return };
    let temporary = tempfile::tempdir().unwrap();
    for name in ["llama-modelopt-nvfp4", "llama-ct-nvfp4", "qwen3moe-modelopt-w4a16", "qwen3moe-ct-nvfp4"] {
        let dir = temporary.path().join(name);
        support::packed::write(name, &dir);
        let [plain, blocks, whole] =
            ["plain", "blocks.gguf", "whole.gguf"].map(|end| dir.with_extension(end));
        for (from, kind, to) in
            [(&dir, "safetensors", &plain), (&dir, "F16", &blocks), (&plain, "F32", &whole)]
        {
            ggraft(["convert", from.to_str().unwrap(), "--type", kind, "-o", to.to_str().unwrap()]).ok();
        }
        let is_kept = model(&blocks).tensors.iter().any(|t| t.dtype() == ggraft_formats::DType::NVFP4);
        let like = likeness(peer, [&blocks, &whole]);
        assert!(is_kept && like.as_ref().is_ok_and(|like| *like > 0.99), "{name}: {like:?}");
    }
}
