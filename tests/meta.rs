//! `ggraft meta`: what is set is read by every reader, what is refused changes nothing, data moves only when it must,
//! and whatever stops an edit leaves the old file or the new one.

#[path = "peer/mod.rs"]
mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::gguf::Header;
use ggraft_formats::{Input, Model, open};
use run::{Ran, ggraft, trio};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::gguf::TOYS;
use tempfile::TempDir;

struct Bench {
    dir: TempDir,
}

impl Bench {
    /// A folder with the trio's chat model as `m.gguf`.
    fn new() -> Bench {
        let bench = Bench { dir: tempfile::tempdir().unwrap() };
        let chat = trio("chat");
        bench.ggraft(&["convert", chat.to_str().unwrap(), "--type=Q8_0", "-q", "-o", "@m.gguf"]).ok();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn ggraft(&self, words: &[&str]) -> Ran {
        let folder = format!("{}/", self.dir.path().display());
        ggraft(words.iter().map(|word| word.replacen('@', &folder, usize::from(word.starts_with('@')))))
    }

    fn set(&self, words: &[&str]) -> Json {
        let ran = self.ggraft(&[&["meta", "set", "@m.gguf", "--json"], words].concat()).ok();
        serde_json::from_str(&ran.out).unwrap()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn model(&self, name: &str) -> Model {
        let Input::Model(model) = open(&self.path(name)).unwrap() else { panic!("no GGUF") };
        model
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// The part of a file after its header.
fn data(file: &[u8]) -> &[u8] {
    &file[Header::parse(file, Path::new("file")).unwrap().data_offset as usize..]
}

/// Which file it is on its disk.
#[cfg(unix)]
fn number(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap())
}

/// Only the keys that were named differ, the tensors are the same, and gguf-rs reads the same as we do.
#[track_caller]
fn only_these_differ(bench: &Bench, before: &[u8], keys: &[&str]) {
    let after = bench.bytes("m.gguf");
    assert!(data(before) == data(&after));
    let header = |file: &[u8]| Header::parse(file, Path::new("file")).unwrap();
    let (old, new) = (header(before), header(&after));
    let others = |header: &Header| {
        let others = header.metadata.iter().filter(|(key, _)| !keys.contains(key));
        others.map(|(key, value)| (key.to_string(), value.clone())).collect::<Vec<_>>()
    };
    assert_eq!(others(&old), others(&new));
    assert_eq!(format!("{:?}", old.tensors), format!("{:?}", new.tensors));
    let verified = bench.ggraft(&["verify", "@m.gguf"]).ok();
    assert!(verified.err.contains("gguf-rs agrees"), "{}", verified.err);
}

/// Of each way its own edit; llama.cpp sees all of them.
#[test]
#[cfg(unix)]
fn data_moves_only_when_it_must() {
    let bench = Bench::new();
    let file = bench.path("m.gguf");
    let before = bench.bytes("m.gguf");
    let end = bench.model("m.gguf").metadata.u64("tokenizer.ggml.eos_token_id").unwrap();
    let name = bench.model("m.gguf").metadata.str("general.name").unwrap().to_string();

    let first = number(&file);
    let told = bench.set(&["tokenizer.ggml.eos_token_id=u32:5"]);
    assert_eq!((told["way"].as_str(), number(&file)), (Some("in place"), first));
    only_these_differ(&bench, &before, &["tokenizer.ggml.eos_token_id"]);
    let differing = before.iter().zip(&bench.bytes("m.gguf")).filter(|(a, b)| a != b).count();
    assert!(differing <= 4 && before.len() == bench.bytes("m.gguf").len());

    // A name of the same length, and one in another sector: too far apart for one write.
    let reversed: String = name.chars().rev().collect();
    let told = bench.set(&[&format!("general.name=str:{reversed}"), "tokenizer.ggml.eos_token_id=u32:6"]);
    assert_eq!(told["way"], "copied");
    assert_ne!(number(&file), first);
    assert_eq!(told["data_offset"]["from"], told["data_offset"]["to"]);
    only_these_differ(&bench, &before, &["tokenizer.ggml.eos_token_id", "general.name"]);

    std::fs::write(bench.path("t.jinja"), "{{ messages[0]['content'] }}".repeat(40)).unwrap();
    let told = bench.set(&["--chat-template", &bench.path("t.jinja").to_string_lossy()]);
    assert_eq!(told["way"], "moved");
    let keys = ["tokenizer.ggml.eos_token_id", "general.name", "tokenizer.chat_template"];
    only_these_differ(&bench, &before, &keys);
    let raw = bench.ggraft(&["meta", "get", "@m.gguf", "tokenizer.chat_template", "--raw"]).ok();
    assert_eq!(raw.out.as_bytes(), bench.bytes("t.jinja"));

    let told = bench.set(&[&format!("general.name=str:{reversed}")]);
    assert_eq!((told["way"].as_str(), told["changes"].as_array().unwrap().len()), (Some("nothing"), 0));
    assert_eq!(bench.names(), ["m.gguf", "t.jinja"]);

    let Some(peer) = peer::peer() else { return };
    let model = peer.load_model(&file, false).unwrap();
    assert!(model.is_end(6) && end != 6);
    assert_eq!(model.meta("general.name").unwrap(), reversed);
    assert_eq!(model.meta("tokenizer.chat_template").unwrap().as_bytes(), bench.bytes("t.jinja"));
}

#[test]
fn values_of_every_type_come_back() {
    let bench = Bench::new();
    let before = bench.bytes("m.gguf");
    let values = [
        "u8:255",
        "i8:-128",
        "u16:65535",
        "i16:-3",
        "u32:7",
        "i32:-7",
        "u64:18446744073709551615",
        "i64:-9",
        "f32:0.1",
        "f64:-1e300",
        "bool:true",
        "str:é = :",
        "str:",
        "[u8]:1,2",
        "[i8]:-1",
        "[u16]:3",
        "[i16]:-3,4",
        "[u32]:5",
        "[i32]:-6",
        "[u64]:7",
        "[i64]:-8",
        "[f32]:0.5,-0.25",
        "[f64]:0.1",
        "[bool]:true,false",
        r#"[str]:["a,b","c"]"#,
        "[u32]:",
    ];
    let words: Vec<String> =
        values.iter().enumerate().map(|(i, value)| format!("test.{i}={value}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    bench.set(&words);
    let keys: Vec<&str> = words.iter().map(|word| word.split_once('=').unwrap().0).collect();
    only_these_differ(&bench, &before, &keys);
    let got = bench.ggraft(&["meta", "get", "@m.gguf"]).ok().out;
    let lines: Vec<&str> = got.lines().filter(|line| line.starts_with("test.")).collect();
    assert_eq!(lines, words);

    // Away again, and the file is what it was.
    bench.ggraft(&[&["meta", "unset", "@m.gguf", "-q"][..], &keys].concat()).ok();
    assert!(bench.bytes("m.gguf") == before);
}

#[test]
fn what_is_refused_or_only_shown_changes_nothing() {
    let bench = Bench::new();
    let before = bench.bytes("m.gguf");
    for (words, said) in [
        (&["set", "@m.gguf", "split.count=u16:2"][..], "use `ggraft split` or `ggraft join`"),
        (&["set", "@m.gguf", "general.alignment=u32:64"], "COPY --override-kv general.alignment=u32:64"),
        (&["set", "@m.gguf", "llama.block_count=i32:3"], "expected u32, found i32; give --force"),
        (
            &["set", "@m.gguf", "tokenizer.ggml.eos_token_id=u32:99999"],
            "expected an id below 896, found 99999",
        ),
        (&["set", "@m.gguf", "llama.rope.freq_base=f32:inf"], "what is no number: expected finite numbers"),
        (&["set", "@m.gguf", "a.b=strg:x"], "did you mean str?"),
        (&["set", "@m.gguf"], "<KEY=[TYPE:]VALUE>"),
        (&["set", "@m.gguf", "a.b=u8:1", "-o", "@m.gguf"], "leave -o out"),
        (&["unset", "@m.gguf", "general.nmae"], "did you mean general.name?"),
        (&["get", "@m.gguf", "tokenizer.ggml.eos_tokenid"], "did you mean tokenizer.ggml.eos_token_id?"),
        (&["get", "@m.gguf", "--raw"], "--raw takes one KEY"),
        (&["get", trio("chat").join("model.safetensors").to_str().unwrap()], "meta takes a GGUF file"),
        (&["set", "@", "a.b=u8:1"], "with `ggraft convert`"),
        (&["get", "@none.gguf"], "check the path"),
    ] {
        let ran = bench.ggraft(&[&["meta"], words].concat());
        assert!(ran.code > 0 && ran.err.contains(said), "{words:?}: {} {}", ran.code, ran.err);
    }
    let shown = bench.ggraft(&["meta", "set", "@m.gguf", "general.name=str:other", "--dry-run"]).ok();
    assert!(shown.err.contains("-> str:other"), "{}", shown.err);
    bench.ggraft(&["meta", "set", "@m.gguf", "general.name=str:other", "-o", "@n.gguf", "-q"]).ok();
    assert_eq!(bench.model("n.gguf").metadata.str("general.name"), Some("other"));
    assert!(bench.bytes("m.gguf") == before);
    assert_eq!(bench.names(), ["m.gguf", "n.gguf"]);
}

/// What a reader would find out only when it runs the model.
#[test]
fn a_template_that_does_not_render_and_numbers_that_are_none_are_told() {
    let bench = Bench::new();
    let template = "tokenizer.chat_template=str:{% for m in messages %}";
    let said = bench.ggraft(&["meta", "set", "@m.gguf", template]).ok().err;
    assert!(said.contains("warning: the chat template cannot be rendered"), "{said}");
    bench.ggraft(&["meta", "set", "-q", "--force", "@m.gguf", "llama.rope.freq_base=f32:nan"]).ok();
    let ran = bench.ggraft(&["verify", "@m.gguf"]);
    assert_eq!(
        (ran.code, ran.err.contains("llama.rope.freq_base is no finite number")),
        (7, true),
        "{}",
        ran.err
    );
}

/// Other names of the file, such as those of a cache, keep what they had.
#[test]
#[cfg(unix)]
fn links_are_not_written_through() {
    let bench = Bench::new();
    let before = bench.bytes("m.gguf");
    std::fs::hard_link(bench.path("m.gguf"), bench.path("hard.gguf")).unwrap();
    std::os::unix::fs::symlink("hard.gguf", bench.path("soft.gguf")).unwrap();
    let set = |name| bench.ggraft(&["meta", "set", name, "tokenizer.ggml.eos_token_id=u32:5"]).ok();
    set("@m.gguf");
    assert!(bench.bytes("hard.gguf") == before && bench.bytes("m.gguf") != before);
    set("@soft.gguf");
    assert!(bench.bytes("hard.gguf") == before && bench.bytes("soft.gguf") != before);
}

/// The first part of a split model has the metadata of all; the others are left alone.
#[test]
fn a_split_model_is_edited_by_its_first_part() {
    let bench = Bench { dir: tempfile::tempdir().unwrap() };
    TOYS[1].write(&bench.path("in.gguf"));
    bench.ggraft(&["split", "@in.gguf", "@part", "--max-tensors", "30", "-q"]).ok();
    let first = "@part-00001-of-00003.gguf";
    let second = bench.bytes("part-00002-of-00003.gguf");
    bench.ggraft(&["meta", "set", first, "general.name=str:A toy with a name", "-q"]).ok();
    assert_eq!(bench.model(&first[1..]).metadata.str("general.name"), Some("A toy with a name"));
    assert!(bench.bytes("part-00002-of-00003.gguf") == second);
    bench.ggraft(&["join", first, "@joined.gguf", "-q"]).ok();
    assert!(data(&bench.bytes("joined.gguf")) == data(&bench.bytes("in.gguf")));
}

/// Killed at any moment, or out of room, the file is the old one or the new one.
#[test]
#[cfg(unix)]
fn whatever_stops_an_edit_leaves_a_whole_file() {
    let bench = Bench::new();
    let old = bench.bytes("m.gguf");
    let file = bench.path("m.gguf");
    let long = format!("general.description=str:{}", "x".repeat(5000));
    let limited = Command::new("sh")
        .args(["-c", "ulimit -f 1000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_ggraft"), "meta", "set"])
        .args([file.to_str().unwrap(), &long])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&limited.stderr);
    assert_eq!(limited.status.code(), Some(6), "{error}");
    assert_eq!(bench.names(), ["m.gguf"]);
    assert!(bench.bytes("m.gguf") == old);

    let mut done = 0;
    for i in 0..60 {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ggraft"))
            .args(["meta", "set", file.to_str().unwrap(), &long, "-q"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_micros(i * 500));
        process.kill().unwrap();
        process.wait().unwrap();
        let edited = bench.model("m.gguf").metadata.get("general.description").is_some();
        assert!(data(&bench.bytes("m.gguf")) == data(&old));
        if edited {
            done += 1;
            bench.ggraft(&["meta", "unset", "@m.gguf", "general.description", "-q"]).ok();
            assert!(bench.bytes("m.gguf") == old);
        }
    }
    eprintln!("{done} of 60 edits were done before they were killed");
    // What the last one has left is in nobody's way.
    bench.ggraft(&["meta", "set", "@m.gguf", &long, "-q"]).ok();
    assert_eq!(bench.names(), ["m.gguf"]);
}
