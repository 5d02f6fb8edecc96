//! A reader that goes away ends every verb quietly with exit code 0, as other tools end; a device that is full is an
//! error in every verb; and a stderr that takes nothing changes no exit code. Nothing panics.
#![cfg(target_os = "linux")]

#[path = "support/run.rs"]
mod run;

use run::{trio, trio_copy};
use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Every verb with arguments for which it prints something, and what it writes.
const RUNS: [(&str, &str, Option<&str>); 33] = [
    ("merge", "merge --base base --chat chat --onto cp --type Q8_0 -q -o m.gguf", Some("m.gguf")),
    ("merge", "merge --base base --chat chat --onto cp --type Q8_0 -q --json -o j.gguf", Some("j.gguf")),
    ("merge", "merge --base base --chat chat --onto cp --type Q8_0 --emit-recipe -", None),
    ("merge", "merge --base base --chat chat --onto cp --type Q8_0 --emit-recipe r.yaml -f", Some("r.yaml")),
    ("convert", "convert cp --type F16 -q -o c.gguf", Some("c.gguf")),
    ("quantize", "quantize in.gguf q.gguf Q8_0", Some("q.gguf")),
    ("adapter", "adapter lora --base cp -q -o a.gguf", Some("a.gguf")),
    ("vector", "vector --base base --chat chat --rank 2 -q -o v.gguf", Some("v.gguf")),
    (
        "plan merge",
        "plan merge --base base --chat chat --onto cp --type Q8_0 -q -o pm.gguf --jobs 2 --plan m.plan",
        None,
    ),
    ("plan convert", "plan convert cp --type F16 -q -o pc.gguf --jobs 2 --plan c.plan", None),
    ("plan quantize", "plan quantize in.gguf pq.gguf Q8_0 -q --jobs 2 --plan q.plan --emit k8s", None),
    ("job", "job run.plan --job 0/2 -q", None),
    ("status", "status run.plan", None),
    ("status", "status run.plan --json", None),
    ("finish", "finish run.plan", None),
    ("split", "split in.gguf parts --max-tensors 9", Some("parts-00001-of-00004.gguf")),
    ("join", "join cut-00001-of-00004.gguf joined.gguf", Some("joined.gguf")),
    ("inspect", "inspect in.gguf --tensors --cross-check", None),
    ("inspect", "inspect cp --json", None),
    ("diff", "diff in.gguf in.gguf", None),
    ("diff", "diff in.gguf cp --json", None),
    ("verify", "verify in.gguf", None),
    ("verify", "verify in.gguf --json", None),
    ("hash", "hash in.gguf", None),
    ("meta get", "meta get in.gguf", None),
    ("meta get", "meta get in.gguf --json", None),
    ("meta set", "meta set in.gguf general.name=str:Other -o s.gguf", Some("s.gguf")),
    ("meta unset", "meta unset in.gguf general.name -o u.gguf", Some("u.gguf")),
    ("advise", "advise in.gguf", None),
    ("architectures", "architectures --all", None),
    ("completions", "completions bash", None),
    ("man", "man", None),
    ("--help", "--help", None),
];

/// The same of verbs that run models, which takes llama.cpp.
const RUNNING: [(&str, &str, Option<&str>); 3] = [
    ("measure", "measure in.gguf --text text.txt --ctx 64 --chunks 2", None),
    ("measure", "measure in.gguf --text text.txt --ctx 64 --chunks 2 --json", None),
    ("imatrix", "imatrix in.gguf --text text.txt --ctx 64 --chunks 2 -q -o i.gguf", Some("i.gguf")),
];

/// All that can be run here.
fn runs() -> Vec<(&'static str, &'static str, Option<&'static str>)> {
    let mut all = RUNS.to_vec();
    match cfg!(feature = "runtime") && std::env::var_os("GGRAFT_LLAMA_CPP").is_some() {
        true => all.extend(RUNNING),
        false => {
            eprintln!("SKIPPED: measure and imatrix; set GGRAFT_LLAMA_CPP, and build with --all-features")
        }
    }
    all
}

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { dir: tempfile::tempdir().unwrap() };
        ["base", "chat", "cp"].iter().for_each(|name| _ = trio_copy(name, bench.dir.path()));
        let (lora, fixtures) = (bench.path("lora"), trio("../adapters/llama"));
        std::fs::create_dir(&lora).unwrap();
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            std::fs::copy(fixtures.join(file), lora.join(file)).unwrap();
        }
        std::fs::copy(trio("korean_heldout.txt"), bench.path("text.txt")).unwrap();
        for command in [
            "convert cp --type F16 -q -o in.gguf",
            "split in.gguf cut --max-tensors 9 -q",
            "plan quantize in.gguf planned.gguf Q8_0 -q --jobs 2 --plan run.plan",
            "job run.plan --job 1/2 -q",
            "job run.plan --job 0/2 -q",
        ] {
            assert!(bench.run(command, Stdio::null(), Stdio::null()).status.success(), "{command}");
        }
        bench
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, command: &str, out: Stdio, err: Stdio) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ggraft"))
            .args(command.split(' '))
            .current_dir(self.dir.path())
            .stdout(out)
            .stderr(err)
            .output()
            .unwrap()
    }

    fn remove(&self, output: Option<&str>) {
        if let Some(name) = output {
            let first = name.strip_suffix("-00001-of-00004.gguf");
            let parts = first.map(|stem| (1..=4).map(move |n| format!("{stem}-{n:05}-of-00004.gguf")));
            let all: Vec<String> = parts.map_or(vec![name.to_string()], Iterator::collect);
            all.iter().for_each(|name| _ = std::fs::remove_file(self.path(name)));
        }
    }
}

/// A pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    Stdio::from(writer)
}

fn full() -> Stdio {
    Stdio::from(OpenOptions::new().write(true).open(Path::new("/dev/full")).unwrap())
}

#[test]
fn every_verb_is_tried() {
    for verb in ggraft::cli::verbs() {
        assert!(RUNS.iter().chain(&RUNNING).any(|(tried, ..)| *tried == verb), "{verb}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_every_verb_quietly() {
    let bench = Bench::new();
    for (_, command, output) in runs() {
        let ran = bench.run(command, closed(), Stdio::piped());
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(0), "{command}: {said}");
        assert!(!said.contains("error") && !said.contains("panicked"), "{command}: {said}");
        // Its work is done all the same.
        output.iter().for_each(|name| assert!(bench.path(name).exists(), "{command}: {name}"));
    }
}

#[test]
fn a_full_device_is_an_error_of_every_verb() {
    let bench = Bench::new();
    for (_, command, _) in runs() {
        let ran = bench.run(command, full(), Stdio::piped());
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(6), "{command}: {said}");
        assert!(said.contains("error: stdout: No space left on device"), "{command}: {said}");
        assert!(!said.contains("panicked"), "{command}: {said}");
    }
}

#[test]
fn a_stderr_that_takes_nothing_changes_no_exit_code() {
    let bench = Bench::new();
    for (_, command, output) in runs() {
        for device in [closed, full] {
            bench.remove(output);
            assert_eq!(bench.run(command, Stdio::null(), device()).status.code(), Some(0), "{command}");
        }
    }
    for (command, code) in [("inspect nothing", 5), ("verify cp/config.json", 4), ("quantize in.gguf", 2)] {
        assert_eq!(bench.run(command, Stdio::null(), full()).status.code(), Some(code), "{command}");
    }
}
