//! Every route to a type gives the same bytes: at once, or by way of F32 and `quantize`.

#[path = "support/run.rs"]
mod run;

use ggraft::ftype::FTYPES;
use ggraft_formats::{Input, Metadata, Tensor, open};
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
/// Only the names and hashes of the files differ, which the output tells in `ggraft.source.*`.
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
        files.push(content(Path::new(&out)));
    }
    for (mix, file) in files.iter().enumerate() {
        assert_eq!(file.0, files[0].0, "metadata of mix {mix}");
        assert!(file.1 == files[0].1, "tensors of mix {mix}");
    }
}

/// All keys but those that tell the source files, and the bytes of all tensors.
fn content(path: &Path) -> (Metadata, Vec<(String, Vec<u8>)>) {
    let Input::Model(mut model) = open(path).unwrap() else { panic!("not a GGUF") };
    let keys: Vec<String> = model.metadata.iter().map(|(key, _)| key.to_string()).collect();
    let told: Vec<&String> = keys.iter().filter(|key| key.starts_with("ggraft.source.")).collect();
    assert_eq!(told.len(), 9);
    told.into_iter().for_each(|key| _ = model.metadata.remove(key));
    let bytes = |t: &Tensor| {
        let mut bytes = vec![0; t.bytes() as usize];
        t.read(0..t.shape().rows() as usize, &mut bytes).unwrap();
        (t.name.clone(), bytes)
    };
    (model.metadata, model.tensors.iter().map(bytes).collect())
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
        let mut args = vec![
            "merge",
            "-q",
            "-f",
            "--allow-unrelated",
            "--allow-swapped",
            "--no-auto-copy",
            "--baseless-tokens",
            "keep",
            "--onto",
            &cp,
            "--type",
            "f32",
            "-o",
            &out,
        ];
        vectors.iter().for_each(|v| args.extend(["--vector", v]));
        ggraft(args).ok();
        files.push(std::fs::read(&out).unwrap());
    }
    assert!(files.iter().all(|f| *f == files[0]));
}

/// With the weight 0 every tensor of CP comes out bit for bit, whatever is done by default.
#[test]
fn weight_zero_is_cp() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| trio(name).display().to_string());
    let (alone, merged) = (path("cp.gguf"), path("merged.gguf"));
    ggraft(["convert", &cp, "--type", "f32", "-q", "-o", &alone]).ok();
    let models = ["--base", &base, "--chat", &chat, "--onto", &cp, "--weight", "0"];
    ggraft([&["merge", "--type", "f32", "-q", "-o", &merged], &models[..]].concat()).ok();
    let tensors = |path: &str| match open(Path::new(path)).unwrap() {
        Input::Model(model) => model.tensors,
        Input::Checkpoint(_) => panic!("not a GGUF"),
    };
    for (a, b) in tensors(&alone).iter().zip(&tensors(&merged)) {
        let rows = 0..a.shape().rows() as usize;
        let same = a.with_rows(rows.clone(), |a| b.with_rows(rows, |b| Ok(a == b))).unwrap();
        assert!(a.name == b.name && same, "{a:?} or {b:?}");
    }
}
