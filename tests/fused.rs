//! Tensors of a layer that `--fuse-...` made one: they go back apart, and merge with those that are apart.
//! `tests/families.rs` holds them against the converter's.

#[path = "support/run.rs"]
mod run;
mod support;

use run::ggraft;
use std::path::Path;
use support::gguf::{model, values};

#[test]
fn gates_and_ups_that_became_one_go_back_apart() {
    let temporary = tempfile::tempdir().unwrap();
    let [dir, fused, back, plain, again] = ["checkpoint", "fused.gguf", "back", "plain.gguf", "again.gguf"]
        .map(|name| temporary.path().join(name).display().to_string());
    support::families::family("Qwen3-Next-Tiny").unwrap().write(Path::new(&dir));
    ggraft(["convert", "-q", &dir, "--fuse-gate-up-exps", "--type", "f32", "-o", &fused]).ok();
    ggraft(["convert", "-q", &dir, "--type", "f32", "-o", &plain]).ok();
    ggraft(["convert", "-q", &fused, "--type", "safetensors", "-o", &back]).ok();
    ggraft(["convert", "-q", &back, "--type", "f32", "-o", &again]).ok();
    assert_same_tensors(&plain, &again, "");
}

/// A file follows the one that is merged onto, whichever way the others have them.
#[test]
fn gates_and_ups_that_became_one_merge_with_those_apart() {
    let temporary = tempfile::tempdir().unwrap();
    let path = |name: &str| temporary.path().join(name).display().to_string();
    support::families::family("Qwen3-Next-Tiny").unwrap().write_trio(temporary.path());
    let merge = |base: &str, chat: &str, cp: &str, out: &str| {
        let models = ["merge", "-q", "--base", base, "--chat", chat, "--onto", cp, "-w", "0.5"];
        ggraft([&models[..], &["--type", "f32", "-o", out]].concat()).ok();
    };
    let fuse = ["--fuse-gate-up-exps", "--type", "f32"];
    for name in ["base", "chat", "cp"] {
        let out = path(&format!("{name}.gguf"));
        ggraft([&["convert", "-q", &path(name), "-o", &out][..], &fuse].concat()).ok();
    }
    let [apart, fused, mixed, other] =
        ["apart", "fused", "mixed", "other"].map(|name| path(&format!("{name}-merged.gguf")));
    merge(&path("base"), &path("chat"), &path("cp"), &apart);
    merge(&path("base.gguf"), &path("chat.gguf"), &path("cp.gguf"), &fused);
    merge(&path("base"), &path("chat.gguf"), &path("cp.gguf"), &mixed);
    merge(&path("base.gguf"), &path("chat"), &path("cp"), &other);
    // -exp(A_log) of a file comes back but for its last bit.
    assert_same_tensors(&fused, &mixed, "_exps");
    assert_same_tensors(&apart, &other, "_exps");
    let named = |path: &str| model(Path::new(path)).tensors.iter().any(|t| t.name.contains("gate_up_exps"));
    assert!(named(&fused) && !named(&apart));
}

#[test]
fn queries_keys_and_values_that_became_one_go_back_apart_and_merge_with_those_apart() {
    for name in support::families::FUSED_QKV {
        let temporary = tempfile::tempdir().unwrap();
        let path = |name: &str| temporary.path().join(name).display().to_string();
        support::families::family(name).unwrap().write_trio(temporary.path());
        let convert = |from: &str, out: &str, more: &[&str]| {
            let own = ["convert", "-q", &path(from), "--type", "f32", "-o", &path(out)];
            ggraft([&own[..], more].concat()).ok();
        };
        for from in ["base", "chat", "cp"] {
            convert(from, &format!("{from}.gguf"), &["--fuse-qkv"]);
        }
        convert("cp", "plain.gguf", &[]);
        ggraft(["convert", "-q", &path("cp.gguf"), "--type", "safetensors", "-o", &path("back")]).ok();
        convert("back", "again.gguf", &[]);
        assert_same_tensors(&path("plain.gguf"), &path("again.gguf"), "attn_");
        let merged = |base: &str, chat: &str, onto: &str, out: &str| {
            let [base, chat, onto, out] = [base, chat, onto, out].map(path);
            let models = ["merge", "-q", "--base", &base, "--chat", &chat, "--onto", &onto, "-w", "0.5"];
            ggraft([&models[..], &["--type", "f32", "-o", &out]].concat()).ok();
            out
        };
        let fused = merged("base.gguf", "chat.gguf", "cp.gguf", "fused.gguf");
        assert_same_tensors(&fused, &merged("base", "chat.gguf", "cp.gguf", "mixed.gguf"), "attn_");
        let apart = merged("base", "chat", "cp", "apart.gguf");
        assert_same_tensors(&apart, &merged("base.gguf", "chat", "cp", "other.gguf"), "attn_");
        let keys = |path: &str| {
            model(Path::new(path)).tensors.iter().filter(|t| t.name.ends_with(".attn_k.weight")).count()
        };
        assert!(keys(&fused) == 0 && keys(&apart) > 0, "{name}");
    }
}

#[test]
fn queries_keys_and_values_stay_where_the_converter_leaves_them() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("mla");
    support::families::family("DeepSeek-V2-Tiny").unwrap().write(&dir);
    let ran = ggraft(["convert", dir.to_str().unwrap(), "--type", "f16", "--fuse-qkv", "--dry-run"]);
    assert!(ran.code == 4 && ran.err.contains("leave --fuse-qkv out"), "{}", ran.err);
}

/// Both files hold the same tensors of names with this part.
fn assert_same_tensors(one: &str, other: &str, part: &str) {
    let (one, other) = (model(Path::new(one)), model(Path::new(other)));
    assert_eq!(one.tensors.len(), other.tensors.len());
    for tensor in one.tensors.iter().filter(|tensor| tensor.name.contains(part)) {
        let found = other.tensors.iter().find(|t| t.name == tensor.name).expect(&tensor.name);
        assert!(
            found.shape().ne() == tensor.shape().ne() && values(found) == values(tensor),
            "{}",
            tensor.name
        );
    }
}
