//! `ggraft hash` and `verify --manifest`: the lines of llama-gguf-hash, as recorded from it, and every way in which a
//! model may differ from its manifest.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::{Shape, Tensor, gguf};
use run::{ggraft, ggraft_in, trio};
use std::path::{Path, PathBuf};
use support::gguf::TOYS;
use tempfile::TempDir;

/// What llama-gguf-hash of llama.cpp v0.5.0 prints of `toy`: see fixtures/README.md.
const RECORDED: &str = include_str!("../fixtures/goldens/hash.manifest");

/// Seven tensors of a toy, and one that gguf-py's script of the same purpose leaves out.
fn toy(dir: &Path) -> PathBuf {
    let mut model = TOYS[4].model();
    model.tensors.truncate(7);
    let counted = format!("{}.block_count", model.architecture().unwrap());
    model.metadata.set(&counted, 1u32);
    let shape = Shape::new(&[5]).unwrap();
    let bias = Tensor::in_memory("blk.0.attention.bias", shape, &[1.0, -2.0, 0.0, 0.5, 4.0]).unwrap();
    model.tensors.push(bias);
    let path = dir.join("toy.gguf");
    ggraft_formats::write::write(&[gguf::plan(&model, &path).unwrap()], &()).unwrap();
    path
}

struct Hashed {
    dir: TempDir,
}

impl Hashed {
    /// The toy and its manifest `m`, made with these options.
    fn new(options: &[&str]) -> Hashed {
        let hashed = Hashed { dir: tempfile::tempdir().unwrap() };
        toy(hashed.dir.path());
        let out = hashed.run("hash", &[&["toy.gguf"], options].concat()).ok().out;
        std::fs::write(hashed.dir.path().join("m"), out).unwrap();
        hashed
    }

    fn run(&self, verb: &str, args: &[&str]) -> run::Ran {
        ggraft_in(self.dir.path(), [&[verb], args].concat())
    }

    fn change(&self, change: impl FnOnce(String) -> String) {
        let path = self.dir.path().join("m");
        let text = change(std::fs::read_to_string(&path).unwrap());
        std::fs::write(path, text).unwrap();
    }
}

#[test]
fn the_lines_are_those_of_llama_gguf_hash() {
    let dir = tempfile::tempdir().unwrap();
    toy(dir.path());
    let run = |args: &[&str]| ggraft_in(dir.path(), [&["hash", "toy.gguf"], args].concat()).ok().out;
    assert_eq!(run(&["--all", "--uuid"]), RECORDED);
    let only = |word: &str, whole: bool| {
        let line = |l: &&str| l.starts_with(word) && (!whole || l.ends_with("  toy.gguf"));
        RECORDED.lines().filter(line).map(|l| format!("{l}\n")).collect::<String>()
    };
    assert_eq!(run(&[]), only("xxh64 ", false));
    assert_eq!(run(&["--sha1"]), only("sha1 ", false));
    assert_eq!(run(&["--sha256", "--no-layer", "-t", "1"]), only("sha256 ", true));
    assert_eq!(run(&["--uuid"]), only("uuid ", true));
}

#[test]
fn its_manifest_is_checked() {
    let hashed = Hashed::new(&[]);
    hashed.change(|_| RECORDED.to_string());
    let ran = hashed.run("hash", &["--check", "m", "toy.gguf"]).ok();
    assert!(ran.out.starts_with("manifest  m  sha256  sha1  xxh64  uuid\nsha256    "), "{}", ran.out);
    assert!(ran.out.contains("  toy.gguf:token_embd.weight  -  Ok\n"));
    assert!(ran.out.ends_with("  toy.gguf  -  Ok\n\nVerification results for m - Success\n"), "{}", ran.out);
    // llama-gguf-hash takes every UUID for a mismatch, also its own.
    let ran = hashed.run("hash", &["-c", "m", "toy.gguf", "--uuid", "--xxh64"]).ok();
    assert!(ran.out.contains("uuid      ") && !ran.out.contains("sha256    "), "{}", ran.out);
    let ran = hashed.run("verify", &["toy.gguf", "--manifest", "m"]).ok();
    assert!(ran.err.contains("m: sha256 agrees\n"), "{}", ran.err);
}

#[test]
fn metadata_changes_no_hash_and_a_weight_changes_two() {
    let hashed = Hashed::new(&["--sha256"]);
    let path = hashed.dir.path().join("toy.gguf");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|w| w == b"1e-5" || w == 1e-5f32.to_le_bytes()).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    hashed.run("hash", &["-c", "m", "toy.gguf"]).ok();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let ran = hashed.run("hash", &["-c", "m", "toy.gguf"]);
    assert_eq!(ran.code, 7, "{}", ran.err);
    assert_eq!(ran.out.matches("  -  Mismatch\n").count(), 2, "{}", ran.out);
    assert!(ran.out.ends_with("Verification results for m - Failure\n"));
    assert_eq!(
        ran.err,
        "error: toy.gguf: the weights are not those of the manifest: found 2 hashes that differ or are not in it\n"
    );
    let ran = hashed.run("verify", &["toy.gguf", "--manifest", "m"]);
    assert_eq!(ran.code, 7);
    assert!(
        ran.err.starts_with(
            "error: toy.gguf: tensor 'blk.0.attention.bias': the weights are not those of the manifest"
        ),
        "{}",
        ran.err
    );
}

#[test]
fn a_tensor_too_few_and_one_too_many_are_failures() {
    let hashed = Hashed::new(&[]);
    hashed.change(|text| text.replace("attn_q.weight", "attn_z.weight"));
    let ran = hashed.run("hash", &["-c", "m", "toy.gguf"]);
    assert_eq!(ran.code, 7);
    assert_eq!(ran.out.matches("  -  Not Found\n").count(), 1, "{}", ran.out);
    let absent = "m: tensor 'blk.0.attn_z.weight': the model does not hold this tensor of the manifest";
    assert!(ran.err.contains(absent), "{}", ran.err);
    assert_eq!(hashed.run("verify", &["toy.gguf", "--manifest", "m"]).code, 7);
}

#[test]
fn a_manifest_of_another_file_or_of_nothing_is_refused() {
    let hashed = Hashed::new(&["--no-layer"]);
    hashed.run("verify", &["toy.gguf", "--manifest", "m"]).ok();
    hashed.change(|text| text.replace("toy", "boy"));
    let ran = hashed.run("hash", &["-c", "m", "toy.gguf"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            3,
            "error: m: the manifest has no hash of 'toy.gguf'; give the manifest of this model; \
             it finds a model by its file name\n"
        )
    );
    assert_eq!(hashed.run("hash", &["-c", "none", "toy.gguf"]).code, 5);
    hashed.change(|_| String::from("hello"));
    assert_eq!(hashed.run("hash", &["-c", "m", "toy.gguf"]).code, 3);
}

#[test]
fn checkpoints_are_hashed_and_verified_under_their_own_names() {
    let dir = tempfile::tempdir().unwrap();
    let out = ggraft(["hash".as_ref(), trio("cp").as_os_str()]).ok().out;
    assert!(out.contains("cp:model.embed_tokens.weight\n"), "{out}");
    let manifest = dir.path().join("cp.manifest");
    std::fs::write(&manifest, out).unwrap();
    let ran =
        ggraft(["verify".as_ref(), trio("cp").as_os_str(), "--manifest".as_ref(), manifest.as_os_str()]);
    let ran = ran.ok();
    assert!(ran.err.contains("xxh64 agrees") && ran.out.starts_with("ok: "), "{}{}", ran.out, ran.err);
}
