//! Every option of `ggraft quantize`, by one table: the help lists it, it does something, it may stand anywhere, and
//! `--name=value` is `--name value`. What each does exactly is shown in `quantize_options.rs` and `whole_files.rs`.

#[path = "support/run.rs"]
mod run;
mod support;

use Effect::*;
use ggraft_formats::{Shape, Tensor, gguf, write};
use run::{Ran, ggraft};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use support::gguf::{TOYS, Toy};
use support::imatrix;
use tempfile::TempDir;

/// What an option does to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// The output is another one.
    Changes,
    /// The output is the same: the option says how the work is done, or what is told of it.
    Keeps,
    /// There is no output.
    WritesNothing,
    /// What is refused without it is done.
    Allows,
}

struct Row {
    option: &'static str,
    /// Its value; `@` is the folder. Empty for a switch.
    value: &'static str,
    /// Options that it needs, each one word.
    with: &'static [&'static str],
    input: &'static str,
    effect: Effect,
}

const fn row(option: &'static str, value: &'static str, effect: Effect) -> Row {
    Row { option, value, with: &[], input: "in.gguf", effect }
}

const MATRIX: &[&str] = &["--imatrix=@m.imatrix"];

const ROWS: &[Row] = &[
    Row { input: "q8.gguf", ..row("--allow-requantize", "", Allows) },
    row("--type", "Q5_0", Changes),
    row("--output", "@out-by-option.gguf", Changes),
    row("--leave-output-tensor", "", Changes),
    row("--pure", "", Changes),
    row("--output-tensor-type", "q5_1", Changes),
    row("--token-embedding-type", "Q8_0", Changes),
    row("--tensor-type", "blk.1.attn_q=q8_0", Changes),
    row("--tensor-type-file", "@types", Changes),
    row("--like", "@q8.gguf", Changes),
    row("--prune-layers", "0,2", Changes),
    Row { input: "gate.gguf", ..row("--as", "v0.8.0", Changes) },
    row("--override-kv", "a.key=int:-3", Changes),
    row("--name", "Another", Changes),
    row("--imatrix", "@m.imatrix", Changes),
    row("--importance", "weights", Changes),
    row("--search", "fine", Changes),
    Row { with: MATRIX, ..row("--include-weights", "attn_", Changes) },
    Row { with: MATRIX, ..row("--exclude-weights", "attn_", Changes) },
    row("--target-size", "Q6_K", Changes),
    row("--target-bpw", "7.5", Changes),
    row("--target-kld", "0.01", Changes),
    Row { with: &["--dry-run"], ..row("--sweep", "", WritesNothing) },
    row("--for", "pi5-4gb", Changes),
    Row { with: &["--for=pi5-4gb"], ..row("--context", "1048576", Keeps) },
    row("--split-max-size", "300K", Changes),
    row("--split-max-tensors", "7", Changes),
    row("--no-tensor-first-split", "", Changes),
    Row { input: "part-00001-of-00002.gguf", ..row("--keep-split", "", Changes) },
    row("--threads", "1", Keeps),
    Row { with: &["@taken.gguf"], ..row("--force", "", Allows) },
    row("--dry-run", "", WritesNothing),
    row("--json", "", Keeps),
    row("--no-resume", "", Keeps),
    row("--staging", "@away", Keeps),
    row("--private", "", Keeps),
    row("--report", "@report.json", Keeps),
    row("--modelfile", "", Keeps),
    row("--card", "", Keeps),
    row("--quiet", "", Keeps),
    row("--verbose", "", Keeps),
    row("--progress", "json", Keeps),
];

struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { dir: tempfile::tempdir().unwrap() };
        let toy = Toy { layers: 3, ..TOYS[1] };
        let path = |name: &str| bench.dir.path().join(name);
        toy.write(&path("in.gguf"));
        imatrix::write(&imatrix::measured(&toy).iter().collect::<Vec<_>>(), &path("m.imatrix"));
        std::fs::write(path("types"), "ffn_up=q8_0\n").unwrap();
        // What only a later version of llama.cpp takes for values of attention.
        let mut model = toy.model();
        let gate =
            Tensor::in_memory("blk.0.attn_qkv_gate.weight", Shape::new(&[256, 8]).unwrap(), &[0.5; 2048]);
        model.tensors.push(gate.unwrap());
        write::write(&[gguf::plan(&model, &path("gate.gguf")).unwrap()], &()).unwrap();
        bench.ggraft(&["quantize", "@in.gguf", "@q8.gguf", "Q8_0"]).ok();
        bench.ggraft(&["split", "@in.gguf", "@part", "--max-tensors", "20"]).ok();
        bench
    }

    fn ggraft(&self, words: &[&str]) -> Ran {
        let folder = format!("{}/", self.dir.path().display());
        ggraft(words.iter().map(|word| word.replace('@', &folder)))
    }

    /// Runs with the options before, between or after the words; how it ended and what it wrote.
    fn run(&self, input: &str, place: usize, options: &[&str]) -> (i32, String) {
        let input = format!("@{input}");
        let taken = options.contains(&"@taken.gguf");
        let output = if taken { "@taken.gguf" } else { "@out.gguf" };
        let options = options.iter().copied().filter(|word| *word != "@taken.gguf");
        let mut words = vec![input.as_str(), output, "Q4_K_M"];
        let has =
            |name: &str| options.clone().any(|word| word.split_once('=').map_or(word, |(o, _)| o) == name);
        let (has_types, has_output) = (has("--type"), has("--output"));
        words.splice(place..place, options);
        // The option stands in the place of the word.
        words.retain(|word| !has_types || *word != "Q4_K_M");
        words.retain(|word| !has_output || *word != output);
        words.insert(0, "quantize");
        if taken {
            std::fs::write(self.dir.path().join("taken.gguf"), "taken").unwrap();
        }
        let ran = self.ggraft(&words);
        (ran.code, self.take())
    }

    /// The hash of the outputs and their names, which are removed.
    fn take(&self) -> String {
        let entries = std::fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().path());
        let name = |p: &std::path::Path| p.file_name().unwrap().to_string_lossy().into_owned();
        let mut paths: Vec<_> =
            entries.filter(|p| name(p).starts_with("out") || name(p) == "taken.gguf").collect();
        paths.sort();
        let mut hash = Sha256::new();
        for path in &paths {
            hash.update(name(path).replace("taken", "out"));
            hash.update(std::fs::read(path).unwrap());
            std::fs::remove_file(path).unwrap();
        }
        for name in ["report.json", "Modelfile", "README.md"] {
            _ = std::fs::remove_file(self.dir.path().join(name));
        }
        if paths.is_empty() { String::new() } else { format!("{:x?}", hash.finalize()) }
    }
}

#[test]
fn every_option_works_wherever_it_stands() {
    let bench = Bench::new();
    let mut problems = Vec::new();
    for Row { option, value, with, input, effect } in ROWS {
        let (code, without) = bench.run(input, 0, with);
        let joined = format!("{option}={value}");
        let separate: &[&str] = if value.is_empty() { &[option] } else { &[option, value] };
        let spelled = [separate, if value.is_empty() { &[option] } else { &[joined.as_str()] }];
        let results: BTreeSet<(i32, String)> = (0..=3)
            .flat_map(|place| spelled.map(|words| (place, words)))
            .map(|(place, words)| bench.run(input, place, &[with, words].concat()))
            .collect();
        let Some((0, output)) = results.first().filter(|_| results.len() == 1) else {
            problems.push(format!("{option}: {results:?}"));
            continue;
        };
        let right = match effect {
            Changes => code == 0 && !output.is_empty() && *output != without,
            Keeps => code == 0 && *output == without,
            WritesNothing => code == 0 && output.is_empty(),
            Allows => code != 0 && !output.is_empty(),
        };
        if !right {
            problems.push(format!("{option} is not one that {effect:?}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_help_lists_the_options_of_the_table() {
    let help = ggraft(["quantize", "--help"]).ok().out;
    // An option whose value may be left out shows that: --sweep[=<SIZE,…>].
    let help = help.replace("[=", " [=");
    let words = help.split_whitespace().map(|word| word.trim_end_matches([',', '.']));
    // What the descriptions name stands at the start of a line of its own as well.
    let listed: BTreeSet<&str> =
        help.lines().filter_map(|l| l.split_whitespace().find(|w| w.starts_with("--"))).collect();
    let due: BTreeSet<&str> = ROWS.iter().map(|row| row.option).chain(["--help", "--version"]).collect();
    assert_eq!(listed, due, "every option needs its row");
    let named = |word: &str| due.contains(word.split_once('=').map_or(word, |(option, _)| option));
    assert!(words.filter(|w| w.starts_with("--")).all(named), "{help}");
}

#[test]
fn an_unknown_word_is_told_the_nearest() {
    let bench = Bench::new();
    for (words, said) in [
        (&["@in.gguf", "@out.gguf", "Q4KM"][..], "did you mean Q4_K_M?"),
        (&["@in.gguf", "@out.gguf", "CPOY"], "did you mean COPY?"),
        (&["@in.gguf", "@out.gguf", "Q4_0", "--tensor-typ", "a=q8_0"], "'--tensor-type'"),
        (&["@in.gguf", "@out.gguf", "Q4_0", "--output-tensor-type", "q9"], "those that can be written: f32"),
    ] {
        let ran = bench.ggraft(&[&["quantize"], words].concat());
        assert_eq!(ran.code, 2, "{words:?}");
        assert!(ran.err.contains(said), "{words:?}: {}", ran.err);
    }
}

/// llama-quantize takes a name that begins with a digit for the number of a type.
#[test]
fn an_output_may_begin_with_a_digit() {
    let bench = Bench::new();
    for (typed, word, name) in [
        ("7b-q4.gguf", "Q4_0", "7b-q4.gguf"),
        ("15.GGUF", "q8_0", "15.GGUF"),
        ("2-parts", "F16", "2-parts.gguf"),
    ] {
        let ran = bench.ggraft(&["quantize", "@in.gguf", &format!("@{typed}"), word]).ok();
        assert!(ran.out.trim_end().ends_with(name) && bench.dir.path().join(name).is_file());
    }
}
