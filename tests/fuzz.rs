//! The fuzz targets on the stable toolchain: the corpus is replayed, every input that once was a finding among it, and
//! mutated a little from a fixed seed. `GGRAFT_FUZZ_RUNS` asks for more runs a target; `fuzz/README.md` says how
//! to search with libFuzzer.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use bstr::ByteSlice;
use fuzz::mutate::{Random, mutate};
use fuzz::{TARGETS, Target, run};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Mutations of each target, unless more are asked for.
const RUNS: usize = 1000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The inputs of a target in the order of their names.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(root().join("corpus").join(target.name))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Runs one input; a panic tells what it was.
#[track_caller]
fn one(target: &Target, data: &[u8]) {
    let ran = catch_unwind(AssertUnwindSafe(|| run(target.name, data)));
    assert!(ran.is_ok(), "{} fails on b\"{}\"", target.name, data.as_bstr());
}

#[test]
fn the_corpus_is_replayed() {
    for target in TARGETS {
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        corpus.iter().for_each(|data| one(target, data));
    }
}

#[test]
fn mutations_of_the_corpus_find_nothing() {
    let runs = std::env::var("GGRAFT_FUZZ_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(RUNS);
    for target in TARGETS {
        let corpus = corpus(target);
        let mut random = Random(0x6772_6166_7400 ^ target.name.len() as u64);
        for _ in 0..runs {
            let [seed, other] = [(); 2].map(|()| &corpus[random.below(corpus.len())]);
            one(target, &mutate(seed, other, &mut random));
        }
    }
}

/// What cannot be told from the list: the manifest and the files that libFuzzer needs.
#[test]
fn every_target_is_built() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    for target in TARGETS {
        assert!(manifest.contains(&format!("\nname = \"{}\"\n", target.name)), "{}", target.name);
        let main = root().join("fuzz_targets").join(format!("{}.rs", target.name));
        assert!(std::fs::read_to_string(main).unwrap().contains(&format!("run(\"{}\", data)", target.name)));
    }
}
