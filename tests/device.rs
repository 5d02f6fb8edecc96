//! What a model needs on a device is what llama.cpp takes; a file that is made for a device has its dtypes and fits.

mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use ggraft::device::{Need, PROFILES};
use ggraft_formats::{Input, Model, open};
use run::{Folder, ggraft, trio};
use std::path::Path;
use support::families::family;

fn gguf(path: &Path) -> Model {
    match open(path).unwrap() {
        Input::Model(model) => model,
        Input::Checkpoint(_) => panic!("{} is no GGUF", path.display()),
    }
}

fn weights(model: &Model) -> u64 {
    model.tensors.iter().map(|t| t.shape().rows() * t.row_bytes() as u64).sum()
}

/// Attention alone, windows, latent attention, states: the cache and the state as far as its log tells, all of it within a
/// twentieth where there are as many tokens as models have.
#[test]
fn the_memory_of_a_model_is_what_llama_cpp_takes() {
    let Some(peer) = peer::peer() else { return };
    let mut failed = Vec::new();
    for name in NAMES {
        let folder = Folder::new();
        family(name).unwrap_or_else(|| panic!("{name}")).write(&folder.path("in"));
        ggraft(folder.words("convert -q @in --type F16 -o @x.gguf")).ok();
        let (path, model) = (folder.path("x.gguf"), gguf(&folder.path("x.gguf")));
        let loaded = peer.load_model(&path, false).unwrap_or_else(|e| panic!("{name}: {e}"));
        for context in [512u32, 4096, 32768] {
            let need = Need::of(&model.metadata, weights(&model), u64::from(context)).unwrap();
            let said = loaded.memory(context).unwrap_or_else(|e| panic!("{name}: {e}"));
            let of = |kind: &str| -> f64 { said.iter().filter(|(k, _)| k == kind).map(|(_, mib)| mib).sum() };
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            // The log has two digits, for each of the buffers.
            for (kind, ours) in [("KV", need.cache), ("RS", need.state)] {
                if (mib(ours) - of(kind)).abs() > 0.011 {
                    failed.push(format!("{name} at {context}: {kind} {:.3}, llama.cpp {said:?}", mib(ours)));
                }
            }
            // Of tiny vocabularies the logits are not the largest of what is computed.
            if model
                .metadata
                .get("tokenizer.ggml.tokens")
                .and_then(|v| v.as_array())
                .is_some_and(|a| a.len() < 10_000)
            {
                continue;
            }
            let theirs = mib(need.weights) + of("KV") + of("RS") + of("compute");
            let ratio = mib(need.total()) / theirs;
            if !(0.95..1.05).contains(&ratio) {
                failed.push(format!("{name} at {context}: {need:?} is {ratio:.3} of llama.cpp's {said:?}"));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

const NAMES: [&str; 9] = [
    "gpt2-tiny",
    "Gemma-3-Tiny",
    "DeepSeek-V3-Tiny",
    "gpt-oss-tiny",
    "LFM2-Tiny",
    "Qwen3-Tiny",
    "command-r7b-tiny",
    "EXAONE-4.0-Tiny",
    "starcoder2-tiny",
];

#[test]
fn a_file_for_a_device_has_its_dtypes_and_says_what_it_takes() {
    let folder = Folder::new();
    for profile in PROFILES {
        let words = format!("convert --force %cp --for {} --context 2048 -o @x.gguf", profile.name);
        let said = ggraft(folder.words(&words)).ok().err;
        assert!(
            said.contains(&format!("for {}: ", profile.name)) && said.contains("at a context of 2048"),
            "{said}"
        );
        let model = gguf(&folder.path("x.gguf"));
        for tensor in model.tensors.iter().filter(|t| t.shape().ne().len() > 1) {
            assert!(
                profile.types.contains(&tensor.dtype()),
                "{}: {} {}",
                profile.name,
                tensor.name,
                tensor.dtype()
            );
        }
        if let Some(peer) = peer::peer() {
            let loaded = peer.load_model(&folder.path("x.gguf"), false).unwrap();
            loaded.greedy(&[5, 17, 41], 3, 1).unwrap();
        }
    }
}

#[test]
fn devices_are_advised_on_and_what_has_no_room_is_refused() {
    let folder = Folder::new();
    let run = |words: &str| ggraft(folder.words(words));
    let all = run("advise").ok().out;
    assert!(PROFILES.iter().all(|profile| all.contains(profile.name)), "{all}");
    run("convert -q %cp --type Q3_K_M -o @q3.gguf").ok();
    let said = run("advise @q3.gguf --for pi5-8gb --context 4096").ok().out;
    assert!(said.contains("fits") && said.contains("q3_K") && said.contains("slow there"), "{said}");
    let unquantized = run("advise %cp --for pi5-8gb --context 4096").ok().out;
    assert!(
        unquantized.contains("--for pi5-8gb --context 4096") && !said.contains("--for"),
        "{unquantized}{said}"
    );
    // Trained for 256 tokens, of which no context that nobody asked for is longer.
    let checkpoint = ggraft(["advise", trio("cp").to_str().unwrap()]).ok();
    assert!(
        checkpoint.out.contains("room for") && checkpoint.out.contains("at a context of 256"),
        "{}",
        checkpoint.out
    );
    assert!(checkpoint.err.is_empty(), "{}", checkpoint.err);
    let usual = run("convert %cp --for phone-8gb -o @usual.gguf").ok().err;
    assert!(usual.contains("at a context of 256") && !usual.contains("warning"), "{usual}");
    for words in ["advise %cp --context 257", "convert %cp --for phone-8gb --context 257 -o @long.gguf"] {
        let said = run(words).ok().err;
        assert!(said.contains("was trained for a context of 256, and 257 are asked for"), "{words}: {said}");
    }
    for (words, code, told) in [
        ("advise %cp --for pi6-8gb", 2, "did you mean pi5-8gb?"),
        ("convert %cp --for toaster -o @x.gguf", 2, "expected one of pi5-4gb, "),
        ("convert %cp --for pi5-4gb --context 4000000000 -o @x.gguf", 2, "give a smaller --context"),
        ("advise %cp --context 18446744073709551615", 2, "4294967296"),
        ("quantize @q3.gguf @x.gguf Q4_0 --for gpu-adreno", 4, "does not run this dtype"),
        ("convert %cp --for ollama --split-max-tensors 7 -o @x.gguf", 2, "reads a model from one file"),
        ("convert %cp --for pi5-4gb --target-bpw 4 -o @x.gguf", 2, "cannot be used with"),
    ] {
        let ran = run(words);
        assert!(ran.code == code && ran.err.contains(told), "{words}: {} {}", ran.code, ran.err);
    }
}
