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
