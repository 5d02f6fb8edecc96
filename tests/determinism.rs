//! The same inputs and options give the same bytes on any number of threads and with any instructions.

use ggraft::arch;
use ggraft::budget::Budget;
use ggraft::merge::{CHAT_VECTOR, Vector};
use ggraft::pipeline::{self, Target, Type, Work};
use ggraft_formats::simd;
use rayon::ThreadPoolBuilder;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// What budgets of these sizes make is a choice by measured errors, without and with importance of the weights.
const SIZES: [&str; 3] = ["Q3_K_M", "Q4_K_S", "Q4_K_M"];

const TYPES: [&str; 12] =
    ["F16", "BF16", "Q8_0", "Q4_0", "Q5_1", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS"];

/// Merges the trio into `dir`, a file a type, on the current pool; their hashes.
fn hashes(dir: &Path) -> Vec<(String, String)> {
    let load = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trio").join(name);
        pipeline::open(&path, &arch::Options::default()).unwrap()
    };
    let vector = Vector { chat: load("chat").model, base: load("base").model };
    let grafted = pipeline::graft(load("cp"), &[vector], CHAT_VECTOR).unwrap();
    let plain = TYPES.iter().map(|t| Target::new(Type::parse(t).unwrap()));
    let bought = SIZES.iter().flat_map(|size| {
        [false, true].map(|estimates| {
            let budget = Some(Budget::size(size).unwrap());
            Target { budget, estimates, ..Target::new(Type::parse(size).unwrap()) }
        })
    });
    let targets: Vec<Target> = plain.chain(bought).collect();
    let plans = grafted.plans(&[vec![0.8]], &targets).unwrap();
    let paths = (0..targets.len()).map(|i| dir.join(format!("{i}.gguf")));
    let plans: Vec<(_, PathBuf)> = plans.into_iter().zip(paths).collect();
    pipeline::write(&plans, &Work { force: true, ..Work::default() }, &()).unwrap();
    let hash = |path: &PathBuf| format!("{:x?}", Sha256::digest(std::fs::read(path).unwrap()));
    plans.iter().map(|(plan, path)| (plan.kind.name().to_string(), hash(path))).collect()
}

#[test]
fn threads_and_instructions_change_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let on = |threads: usize| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| hashes(dir.path()))
    };
    let expected = on(1);
    for threads in [2, 3, 7] {
        assert_eq!(on(threads), expected, "{threads} threads");
    }
    for level in simd::levels() {
        let found = std::thread::scope(|scope| {
            let alone = || {
                let pool = ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().unwrap();
                pool.install(|| simd::at(level, || hashes(dir.path())))
            };
            scope.spawn(alone).join().unwrap()
        });
        assert_eq!(found, expected, "{level:?}");
    }
}
