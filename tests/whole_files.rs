//! Whole files: `ggraft quantize` equals `llama_model_quantize` byte for byte, metadata, order, mixture, padding and
//! all, for every type and any number of threads. Where the peer is absent, hashes of its files are compared.

mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use ggraft::ftype::{FTYPES, Ftype};
use ggraft_formats::{DType, Input, Model, open};
use peer::QuantizeParams;
use run::ggraft;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use support::gguf::{TOYS, Toy};

/// The types that can be written without an importance matrix.
fn ftypes() -> impl Iterator<Item = &'static Ftype> {
    FTYPES.iter().filter(|f| !f.needs_imatrix && f.default.traits().encode.is_some())
}

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/goldens/whole_files.json")
}

fn sha256(path: &Path) -> String {
    Sha256::digest(std::fs::read(path).unwrap()).iter().map(|b| format!("{b:02x}")).collect()
}

fn model(path: &Path) -> Model {
    match open(path).unwrap() {
        Input::Model(model) => model,
        Input::Checkpoint(_) => panic!("not a GGUF"),
    }
}

/// The first thing in which two files differ.
fn difference(ours: &Path, theirs: &Path) -> String {
    let (a, b) = (model(ours), model(theirs));
    for (x, y) in a.metadata.iter().zip(b.metadata.iter()) {
        if x != y {
            return format!("metadata {x:?} or {y:?}");
        }
    }
    for (x, y) in a.tensors.iter().zip(&b.tensors) {
        let rows = 0..x.shape().rows() as usize;
        let same = format!("{x:?}") == format!("{y:?}")
            && x.with_rows(rows.clone(), |x| y.with_rows(rows, |y| Ok(x == y))).unwrap();
        if !same {
            return format!("tensor {x:?} or {y:?}");
        }
    }
    String::from("length, order or padding")
}

/// Quantizes with `more` options; the file's hash.
fn ours(input: &Path, output: &Path, ftype: &str, threads: usize, more: &[&str]) -> String {
    let threads = threads.to_string();
    let mut args = vec!["quantize", "--force", "--quiet"];
    args.extend(more);
    args.extend([input.to_str().unwrap(), output.to_str().unwrap(), ftype, &threads]);
    ggraft(args).ok();
    sha256(output)
}

#[test]
fn every_type_of_every_toy_with_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let (input, mine, theirs) =
        (dir.path().join("in.gguf"), dir.path().join("a.gguf"), dir.path().join("b.gguf"));
    let recorded: Value =
        std::fs::read(goldens()).map_or(Value::Null, |b| serde_json::from_slice(&b).unwrap());
    let mut found = Map::new();
    let mut problems = Vec::new();
    for toy in &TOYS {
        toy.write(&input);
        for ftype in ftypes() {
            let key = format!("{} {}", toy.name, ftype.name);
            let hashes = [1, 2, 5].map(|threads| ours(&input, &mine, ftype.name, threads, &[]));
            assert!(hashes.iter().all(|h| *h == hashes[0]), "{key} depends on the threads");
            if let Some(peer) = peer::peer() {
                peer.quantize_model(&input, &theirs, &QuantizeParams::new(ftype.number as i32)).unwrap();
                if sha256(&theirs) != hashes[0] {
                    problems.push(format!("{key}: {}", difference(&mine, &theirs)));
                }
                found.insert(key, sha256(&theirs).into());
            } else if recorded[&key] != hashes[0].as_str() {
                problems.push(format!("{key}: not as recorded"));
            }
        }
    }
    if std::env::var_os("GGRAFT_WRITE_GOLDENS").is_some() && !found.is_empty() {
        std::fs::write(goldens(), format!("{:#}\n", Value::Object(found))).unwrap();
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_options_of_llama_quantize() {
    let Some(peer) = peer::peer() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (input, mine, theirs) =
        (dir.path().join("in.gguf"), dir.path().join("a.gguf"), dir.path().join("b.gguf"));
    type Set = fn(&mut QuantizeParams);
    let options: [(&[&str], Set); 5] = [
        (&["--pure"], |p| p.pure = true),
        (&["--leave-output-tensor"], |p| p.quantize_output_tensor = false),
        (&["--output-tensor-type", "q5_1"], |p| p.output_tensor_type = Some(DType::Q5_1)),
        (&["--token-embedding-type", "Q8_0"], |p| p.token_embedding_type = Some(DType::Q8_0)),
        (&["--pure", "--token-embedding-type", "f16"], |p| {
            p.pure = true;
            p.token_embedding_type = Some(DType::F16);
        }),
    ];
    for toy in TOYS.iter().filter(|t: &&Toy| t.dtype != DType::F32) {
        toy.write(&input);
        for name in ["Q4_K_M", "Q3_K_S", "Q5_0", "Q8_0"] {
            for (words, set) in options {
                let ftype = Ftype::parse(name).unwrap();
                ours(&input, &mine, name, 2, words);
                let mut params = QuantizeParams::new(ftype.number as i32);
                set(&mut params);
                peer.quantize_model(&input, &theirs, &params).unwrap();
                let same = std::fs::read(&mine).unwrap() == std::fs::read(&theirs).unwrap();
                assert!(same, "{} {name} {words:?}: {}", toy.name, difference(&mine, &theirs));
            }
        }
    }
}
