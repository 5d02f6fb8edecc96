//! Every route to a type gives the same bytes: at once, or by way of F32 and `quantize`.

#[path = "support/run.rs"]
mod run;

use ggraft::ftype::FTYPES;
use run::{ggraft, trio};
use std::path::Path;

/// `verb` straight to each type equals `verb` to F32 and then `quantize`.
fn routes_meet(verb: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (whole, direct, detour) = (path("f32.gguf"), path("direct.gguf"), path("detour.gguf"));
    let run = |args: &[&str]| ggraft(args).ok();
    run(&[verb, &["--type", "f32", "-q", "-o", &whole]].concat());
    for ftype in FTYPES.iter().filter(|f| !f.needs_imatrix && f.default.traits().encode.is_some()) {
        run(&[verb, &["--type", ftype.name, "-q", "-f", "-o", &direct]].concat());
        run(&["quantize", "-q", "-f", &whole, &detour, ftype.name]);
        let read = |path: &str| std::fs::read(Path::new(path)).unwrap();
        assert!(read(&direct) == read(&detour), "{}", ftype.name);
    }
}

#[test]
fn convert() {
    let cp = trio("cp");
    routes_meet(&["convert", cp.to_str().unwrap()]);
}

#[test]
fn merge() {
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| trio(name).display().to_string());
    routes_meet(&["merge", "--base", &base, "--chat", &chat, "--onto", &cp, "--weight", "0.7"]);
}

/// The same merge from safetensors, from F32 GGUF, and from both mixed: the row permutation is undone and redone.
#[test]
fn merge_from_any_container() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let names = ["base", "chat", "cp"];
    let checkpoints = names.map(|name| trio(name).display().to_string());
    let ggufs = names.map(|name| path(&format!("{name}.gguf")));
    for (checkpoint, gguf) in checkpoints.iter().zip(&ggufs) {
        ggraft(["convert", checkpoint, "--type", "f32", "-q", "-o", gguf]).ok();
    }
    let out = path("out.gguf");
    let mut files = Vec::new();
    for mix in 0..8 {
        let pick = |i: usize| if mix >> i & 1 == 0 { &checkpoints[i] } else { &ggufs[i] };
        let models = ["--base", pick(0), "--chat", pick(1), "--onto", pick(2)];
        ggraft(
            [&["merge", "--weight", "0.7", "--type", "Q4_K_M", "-q", "-f", "-o", &out], &models[..]].concat(),
        )
        .ok();
        files.push(std::fs::read(&out).unwrap());
    }
    assert!(files.iter().all(|f| *f == files[0]));
}

/// Several weights and types in one pass give the files of the single runs.
#[test]
fn one_pass_for_many_outputs() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| trio(name).display().to_string());
    let merge = |weights: &str, types: &str, out: &str| {
        let models = ["--base", &base, "--chat", &chat, "--onto", &cp];
        ggraft([&["merge", "-q", "-w", weights, "--type", types, "-o", out], &models[..]].concat()).ok().out
    };
    let printed = merge("0.5,0.7,1.0", "Q4_K_M,Q8_0", &path("many-{weight}-{type}.gguf"));
    assert_eq!(printed.lines().count(), 6);
    for weight in ["0.5", "0.7", "1"] {
        for ftype in ["Q4_K_M", "Q8_0"] {
            let one = path("one.gguf");
            merge(weight, ftype, &one);
            let many = path(&format!("many-{weight}-{ftype}.gguf"));
            assert!(std::fs::read(&one).unwrap() == std::fs::read(&many).unwrap(), "{weight} {ftype}");
            std::fs::remove_file(one).unwrap();
        }
    }
    let ran = ggraft([
        "merge",
        "--base",
        &base,
        "--chat",
        &chat,
        "--onto",
        &cp,
        "-w",
        "0.5,1",
        "--type",
        "Q8_0",
        "-o",
        &path("x.gguf"),
    ]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err.contains("several outputs would have this name; put {type} and {weight} into the name"),
        "{}",
        ran.err
    );
}

/// The order in which vectors are given does not change a bit.
#[test]
fn vectors_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| trio(name).display().to_string());
    let mut vectors = [format!("{chat}:{base}:0.3"), format!("{cp}:{base}:-0.2"), format!("{chat}:{cp}:0.1")];
    let mut files = Vec::new();
    for (a, b) in [(0, 1), (1, 2), (0, 1), (1, 2)] {
        vectors.swap(a, b);
        let out = dir.path().join("out.gguf").display().to_string();
        let mut args =
            vec!["merge", "-q", "-f", "--allow-unrelated", "--onto", &cp, "--type", "f32", "-o", &out];
        vectors.iter().for_each(|v| args.extend(["--vector", v]));
        ggraft(args).ok();
        files.push(std::fs::read(&out).unwrap());
    }
    assert!(files.iter().all(|f| *f == files[0]));
}
