//! `--search`: the exact search is the default and changes no byte; the fine one makes files of the same size that lose less,
//! the same on any number of threads, and says so.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::gguf;
use run::{Ran, ggraft_in, trio};
use serde_json::Value;
use std::path::Path;
use support::gguf::{TOYS, Toy};
use tempfile::TempDir;

/// A toy, whose matrices fill super-blocks, in a folder.
fn bench() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    Toy { layers: 2, ..TOYS[0] }.write(&dir.path().join("in.gguf"));
    dir
}

fn quantize(dir: &Path, words: &str) -> Ran {
    ggraft_in(dir, ["quantize", "in.gguf"].into_iter().chain(words.split_whitespace()))
}

fn bytes(dir: &Path, name: &str) -> Vec<u8> {
    std::fs::read(dir.join(name)).unwrap()
}

/// The squared errors of all tensors beside the input, which the decoder of the house gives.
fn error(dir: &Path, name: &str) -> f64 {
    let [before, after] = ["in.gguf", name].map(|name| gguf::open(&dir.join(name)).unwrap());
    let mut sum = 0.0;
    for a in &before.tensors {
        let b = after.tensors.iter().find(|b| b.name == a.name).unwrap();
        let all = 0..a.shape().rows() as usize;
        let [mut x, mut y] = [(); 2].map(|()| vec![0f32; a.shape().elements() as usize]);
        a.decode_rows(all.clone(), &mut x).unwrap();
        b.decode_rows(all, &mut y).unwrap();
        sum += x.iter().zip(&y).map(|(x, y)| f64::from(x - y) * f64::from(x - y)).sum::<f64>();
    }
    sum
}

#[test]
fn the_default_is_exact_and_the_fine_search_loses_less_on_any_number_of_threads() {
    let dir = bench();
    let dir = dir.path();
    for ftype in ["Q4_K_M", "Q3_K_S", "Q4_0"] {
        quantize(dir, &format!("usual.gguf {ftype} 2 -f")).ok();
        quantize(dir, &format!("exact.gguf {ftype} 2 --search exact -f")).ok();
        assert!(bytes(dir, "usual.gguf") == bytes(dir, "exact.gguf"), "{ftype}");
        quantize(dir, &format!("one.gguf {ftype} 1 --search fine -f")).ok();
        quantize(dir, &format!("three.gguf {ftype} 3 --search fine -f")).ok();
        assert!(bytes(dir, "one.gguf") == bytes(dir, "three.gguf"), "{ftype}");
        let (fine, exact) = (error(dir, "one.gguf"), error(dir, "exact.gguf"));
        assert!(fine < 0.97 * exact, "{ftype}: {fine} {exact}");
        let model = gguf::open(&dir.join("one.gguf")).unwrap();
        assert_eq!(model.metadata.str("ggraft.search"), Some("fine"));
        assert!(gguf::open(&dir.join("exact.gguf")).unwrap().metadata.get("ggraft.search").is_none());
    }
}

#[test]
fn the_plan_says_what_is_searched_for_and_what_cannot_be() {
    let dir = bench();
    let dir = dir.path();
    let told = |words: &str| quantize(dir, &format!("out.gguf {words} --dry-run")).ok().err;
    let mixed = told("Q4_0 --search fine --tensor-type ffn_up=tq2_0");
    assert!(mixed.contains("as q4_0") && mixed.contains("; there is none for 2 tensors as tq2_0"), "{mixed}");
    // Importance of the weights, where a norm tells of the columns.
    let weighed = told("Q3_K_M --search fine --importance weights");
    assert!(weighed.contains("as q3_K with importance"), "{weighed}");
    // Of a table that is looked up it does not tell, and then that is not searched for either.
    assert!(weighed.contains("1 tensor as q3_K without importance"), "{weighed}");
    let none = told("F16 --search fine");
    assert!(none.contains("no effect on F16: --search"), "{none}");
    assert!(!told("F16 --search exact").contains("search"));
    let copy = told("COPY --search fine");
    assert!(copy.contains("no effect on COPY: --search"), "{copy}");
    let wrong = quantize(dir, "out.gguf Q4_0 --search best");
    assert_eq!((wrong.code, wrong.err.contains("expected one of exact, fine, found 'best'")), (2, true));
}

/// What a budget measures is what its files will hold.
#[test]
fn a_budget_measures_the_fine_search() {
    let dir = bench();
    let plan = |words: &str| {
        let ran = quantize(dir.path(), &format!("out.gguf --target-bpw 4.6 --dry-run --json {words}")).ok();
        serde_json::from_str::<Value>(&ran.out).unwrap()["budget"]["error"].as_f64().unwrap()
    };
    let (exact, fine) = (plan(""), plan("--search fine"));
    assert!(fine < 0.98 * exact, "{fine} {exact}");
}

/// A merge and its recipe agree.
#[test]
fn recipes_keep_the_search() {
    let dir = tempfile::tempdir().unwrap();
    let parents = [("--base", "base"), ("--chat", "chat"), ("--onto", "cp")]
        .map(|(option, name)| format!("{option}={}", trio(name).display()));
    let merge = |words: &str| {
        let words = words.split_whitespace().map(String::from);
        let all = [String::from("merge"), String::from("-q")].into_iter().chain(parents.clone()).chain(words);
        ggraft_in(dir.path(), all).ok()
    };
    merge("--type Q4_0 --search fine -o direct.gguf");
    merge("--type Q4_0 --search fine --emit-recipe r.yml");
    assert!(std::fs::read_to_string(dir.path().join("r.yml")).unwrap().contains("search: fine"));
    ggraft_in(dir.path(), ["merge", "-q", "r.yml", "-o", "again.gguf"]).ok();
    assert!(bytes(dir.path(), "direct.gguf") == bytes(dir.path(), "again.gguf"));
    ggraft_in(dir.path(), ["verify", "direct.gguf", "--recipe", "r.yml"]).ok();
}
