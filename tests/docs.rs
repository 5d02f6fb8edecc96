//! The documents keep their word: every command of README.md and docs/ runs, and what they show is what it prints.
//! A block ```` ```sh test ```` is a script; those of a document run in one folder, one after the other, and of
//! ```` ```sh test each ```` every line runs in a folder of its own. A block ```` ```text output ```` below is what it
//! prints, but for lines of progress, which are one line `…`. `GGRAFT_WRITE_DOCS=1` writes what is printed.
#![cfg(unix)]

#[path = "support/run.rs"]
mod run;
mod support;

use regex::Regex;
use run::ggraft_in;
use std::fmt::Write;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{imatrix, stand_ins};

/// A block of shell commands.
struct Block<'a> {
    each: bool,
    script: &'a str,
    /// Where the document shows what is printed.
    output: Option<Range<usize>>,
}

/// The blocks of a document that run; the others hold no command of ours.
fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut at, mut open): (usize, Option<(&str, usize)>) = (0, None);
    for line in page.split_inclusive('\n') {
        let start = at;
        at += line.len();
        match (line.trim_end().strip_prefix("```"), open) {
            (Some(""), Some((kind, from))) => {
                let script = &page[from..start];
                match kind {
                    "sh test" => blocks.push(Block { each: false, script, output: None }),
                    "sh test each" => blocks.push(Block { each: true, script, output: None }),
                    "text output" => blocks.last_mut().expect("a command above").output = Some(from..start),
                    "sh" => assert!(!script.contains("ggraft "), "runs in no test: {script}"),
                    _ => {}
                }
                open = None;
            }
            (Some(kind), None) => open = Some((kind, at)),
            _ => {}
        }
    }
    blocks
}

/// Runs `script` in `dir` with the built program, and gives what it prints.
fn printed(script: &str, dir: &Path) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_ggraft")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    // In a clone people type `cargo run --release -- VERB`.
    let script = format!("set -e\ncargo() {{ shift 3; ggraft \"$@\"; }}\n{script}");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .current_dir(dir)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .spawn()
        .unwrap();
    let mut out = String::new();
    reader.read_to_string(&mut out).unwrap();
    assert!(child.wait().unwrap().success(), "{script}\n{out}");
    shown(&out)
}

/// Lines of progress, whose order is the threads', become one line.
fn shown(out: &str) -> String {
    let progress = Regex::new(r"^\[ *\d+/ *\d+\] ").unwrap();
    // How far a stage has come is told by the clock.
    let stage = Regex::new(r"^[a-z ]+: \d+ of \d+$").unwrap();
    let mut lines = String::new();
    for line in out.lines().filter(|line| !stage.is_match(line)) {
        let line = if progress.is_match(line) { "…" } else { line };
        if line != "…" || !lines.ends_with("…\n") {
            _ = writeln!(lines, "{line}");
        }
    }
    lines
}

/// Without what another machine or another moment would print.
fn lasting(shown: &str) -> String {
    let volatile = [
        (r"[\d.]+ [KMGT]?i?B free", "… free"),
        (r"memory: .* threads?", "memory: …"),
        (r"in [\d.]+ m?s, [\d.]+ [KMGT]?i?B/s", "in …"),
    ];
    volatile.iter().fold(shown.to_string(), |text, (pattern, with)| {
        Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned()
    })
}

/// Runs the blocks of a document, each folder made by `stage`, and compares or writes what they print.
fn check(file: &str, stage: fn(&Path)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let page = std::fs::read_to_string(&path).unwrap();
    let dir = tempfile::tempdir().unwrap();
    stage(dir.path());
    let mut made = page.clone();
    // From the end, so that what is written moves no place that is still to come; run from the start.
    let runs: Vec<(Block, String)> = blocks(&page)
        .into_iter()
        .map(|block| {
            let out = if block.each { each(block.script, stage) } else { printed(block.script, dir.path()) };
            (block, out)
        })
        .collect();
    for (block, out) in runs.iter().rev() {
        if let Some(place) = &block.output
            && lasting(&page[place.clone()]) != lasting(out)
        {
            made.replace_range(place.clone(), out);
        }
    }
    if std::env::var_os("GGRAFT_WRITE_DOCS").is_some() {
        std::fs::write(&path, made).unwrap();
    } else if let Some((shown, printed)) = page.lines().zip(made.lines()).find(|(a, b)| a != b) {
        panic!("{file}: run docs/regenerate\n   shown: {shown}\n printed: {printed}");
    } else {
        assert_eq!(page.len(), made.len(), "{file}: run docs/regenerate");
    }
    assert!(!runs.is_empty(), "{file} has no command");
}

fn each(script: &str, stage: fn(&Path)) -> String {
    let one = |line: &str| {
        let dir = tempfile::tempdir().unwrap();
        stage(dir.path());
        printed(line, dir.path())
    };
    script.lines().map(one).collect()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn link(to: &Path, name: &Path) {
    std::os::unix::fs::symlink(to, name).unwrap();
}

/// A clone, as far as the commands see it.
fn clone(dir: &Path) {
    link(&fixtures(), &dir.join("fixtures"));
    std::fs::create_dir(dir.join("target")).unwrap();
}

/// A clone, and the trio under the names that the README has for models.
fn models(dir: &Path) {
    clone(dir);
    for (name, model) in [
        ("SOLAR-10.7B-v1.0", "base"),
        ("SOLAR-10.7B-Instruct-v1.0", "chat"),
        ("EEVE-Korean-10.8B-v1.0", "cp"),
        ("Llama-3.1-8B", "cp"),
    ] {
        link(&fixtures().join("trio").join(model), &dir.join(name));
    }
    link(&fixtures().join("adapters/llama"), &dir.join("my-lora"));
    let run = |words: &str| ggraft_in(dir, words.split(' ').chain(["-q"])).ok();
    run("convert fixtures/trio/cp --type F16 -o in-F16.gguf");
    run("split in-F16.gguf part --split-max-tensors 8");
    link(Path::new("in-F16.gguf"), &dir.join("in.gguf"));
    for name in ["model.gguf", "model-F16.gguf"] {
        link(Path::new("in-F16.gguf"), &dir.join(name));
    }
    run("convert fixtures/trio/cp --type Q4_K_M -o model-Q4_K_M.gguf");
    let trio = "merge --base fixtures/trio/base --chat fixtures/trio/chat --onto fixtures/trio/cp";
    run(&format!("{trio} --type Q8_0 --emit-recipe recipe.yml"));
    let manifest = ggraft_in(dir, ["hash", "model.gguf", "--sha256"]).ok().out;
    std::fs::write(dir.join("model.manifest"), manifest).unwrap();
    let down = (0..3).map(|layer| (format!("blk.{layer}.ffn_down.weight"), vec![768, 256]));
    let entries = imatrix::of(down.collect());
    imatrix::write(&entries.iter().collect::<Vec<_>>(), &dir.join("imatrix.gguf"));
}

/// Checkpoints of the shapes of published models.
fn published(dir: &Path) {
    clone(dir);
    stand_ins::NAMES.iter().for_each(|name| stand_ins::write(name, &dir.join(name)));
}

#[test]
fn readme() {
    check("README.md", models);
}

#[test]
fn the_korean_readme() {
    check("README.ko.md", models);
}

/// What runs in the one runs in the other, but for its comments.
#[test]
fn both_readmes_have_the_same_commands() {
    let commands = |file: &str| {
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let scripts = blocks(&page).into_iter().map(|block| block.script.to_string()).take(2);
        let line = |line: &str| line.split(" #").next().unwrap().trim_end().to_string();
        scripts.flat_map(|script| script.lines().map(line).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    assert_eq!(commands("README.md"), commands("README.ko.md"));
}

#[test]
fn edge() {
    check("docs/edge.md", published);
}

#[test]
fn adapters() {
    check("docs/adapters.md", clone);
}

#[test]
fn the_tutorial() {
    check("docs/chat-vector.md", clone);
}

#[test]
fn the_korean_tutorial() {
    check("docs/chat-vector.ko.md", clone);
}

#[test]
fn recipes() {
    check("docs/recipes.md", published);
}

#[test]
fn quality() {
    check("docs/quality.md", models);
}

#[test]
fn json() {
    check("docs/json.md", models);
}

#[test]
fn scale() {
    check("docs/scale.md", models);
}

#[test]
fn versions() {
    check("docs/versions.md", models);
}

/// What runs models needs llama.cpp, and a build that can.
#[test]
fn measure() {
    if !cfg!(feature = "runtime") || std::env::var_os("GGRAFT_LLAMA_CPP").is_none() {
        eprintln!("SKIPPED: docs/measure.md; set GGRAFT_LLAMA_CPP, and build with --all-features");
        return;
    }
    check("docs/measure.md", models);
}

/// Every document has its test here, but for that of the architectures, which no command in it shows (`readme.rs`).
#[test]
fn no_document_is_forgotten() {
    // The commands of remote.md run in tests/remote.rs; mtp.md, packed.md, projectors.md and tokenizers.md have none.
    const DOCUMENTS: [&str; 17] = [
        "adapters.md",
        "architectures.md",
        "back.md",
        "chat-vector.ko.md",
        "chat-vector.md",
        "edge.md",
        "json.md",
        "measure.md",
        "mtp.md",
        "packed.md",
        "projectors.md",
        "quality.md",
        "recipes.md",
        "remote.md",
        "scale.md",
        "tokenizers.md",
        "versions.md",
    ];
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut pages: Vec<String> = names.filter(|n| n.ends_with(".md")).collect();
    pages.sort();
    assert_eq!(pages, DOCUMENTS);
}
