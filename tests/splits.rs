//! Split models: what is cut and joined again is the same file, byte for byte; the parts are called and marked as
//! gguf-split and llama-quantize do it, and llama.cpp runs them. The order of tensors and the cuts decide no dtype.

mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::{Array, DType, Model, Value, gguf, write};
use peer::QuantizeParams;
use run::{Ran, ggraft, trio};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::gguf::{TOYS, Toy, model};
use tempfile::TempDir;

const SMALL: Toy = Toy { layers: 3, ..TOYS[1] };

/// A folder with a small model in it.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { dir: tempfile::tempdir().unwrap() };
        SMALL.write(&bench.path("in.gguf"));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `ggraft` with these words; `@` is the folder.
    fn run(&self, words: &str) -> Ran {
        let folder = format!("{}/", self.dir.path().display());
        ggraft(words.split(' ').map(|word| word.replace('@', &folder)))
    }

    /// Runs into an error: its exit code and words, without the folder.
    #[track_caller]
    fn fails(&self, words: &str) -> (i32, String) {
        let ran = self.run(words);
        let folder = format!("{}/", self.dir.path().display());
        let error: Vec<&str> = ran.err.lines().skip_while(|l| !l.starts_with("error: ")).collect();
        (ran.code, error.join("\n").replace(&folder, ""))
    }

    /// The names of the files that begin so.
    fn names(&self, start: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.starts_with(start));
        names.sort();
        names
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// The metadata and the tensors' names of each file that begins so.
    fn headers(&self, start: &str) -> Vec<gguf::Header> {
        let names = self.names(start);
        names.iter().map(|n| gguf::Header::parse(&self.bytes(n), Path::new(n)).unwrap()).collect()
    }

    /// Writes a model.
    fn write(&self, model: &Model, name: &str) {
        let path = self.path(name);
        write::write(&[gguf::plan(model, &path).unwrap()], &()).unwrap();
    }
}

fn dtypes(path: &Path) -> BTreeMap<String, DType> {
    model(path).tensors.iter().map(|t| (t.name.clone(), t.dtype())).collect()
}

/// `PREFIX-00001-of-00003.gguf` and so on.
fn parts(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|i| format!("{prefix}-{i:05}-of-{count:05}.gguf")).collect()
}

#[test]
fn what_is_split_and_joined_is_the_same_file() {
    let bench = Bench::new();
    bench.run("quantize @in.gguf @q4.gguf Q4_K_M").ok();
    ggraft([
        "convert".as_ref(),
        trio("cp").as_os_str(),
        "--type=Q8_0".as_ref(),
        "-o".as_ref(),
        bench.path("cp.gguf").as_os_str(),
    ])
    .ok();
    for (name, options) in [
        ("in", "--max-tensors 5"),
        ("in", "--max-size 300K"),
        ("in", "--max-size=400K --max-tensors=4 --no-tensor-first"),
        ("in", "--no-tensor-first"),
        ("in", ""),
        ("q4", "--max-tensors 1"),
        ("cp", "--max-size 1M"),
    ] {
        let words = format!("split {options} @{name}.gguf @part").replace("  ", " ");
        let ran = bench.run(&words).ok();
        let first = ran.out.trim_end();
        bench.run(&format!("join {first} @whole.gguf")).ok();
        assert_eq!(bench.bytes("whole.gguf"), bench.bytes(&format!("{name}.gguf")), "{words}");
        // And the parts come back from the whole.
        let before: Vec<Vec<u8>> = bench.names("part").iter().map(|n| bench.bytes(n)).collect();
        bench.run(&format!("split {options} --force @whole.gguf @again").replace("  ", " ")).ok();
        let after: Vec<Vec<u8>> = bench.names("again").iter().map(|n| bench.bytes(n)).collect();
        assert!(before == after, "{words}");
        for name in bench.names("part").iter().chain(&bench.names("again")).chain(&bench.names("whole")) {
            std::fs::remove_file(bench.path(name)).unwrap();
        }
    }
    assert_eq!(bench.names(""), ["cp.gguf", "in.gguf", "q4.gguf"]);
}

/// Dimensions of one at the end, which llama.cpp's programs drop, keys of every kind and another alignment come back too.
#[test]
fn nothing_of_a_header_is_lost() {
    let bench = Bench::new();
    let mut odd = SMALL.model();
    odd.metadata.set("general.alignment", 128u32);
    odd.metadata.set("a.words", Value::Array(Array::Str(vec!["x".into(), "".into()])));
    odd.metadata.set("a.wide", u64::MAX);
    let ne = ggraft_formats::Shape::new(&[3, 1, 1]).unwrap();
    odd.tensors.insert(1, ggraft_formats::Tensor::in_memory("odd", ne, &[f32::NAN, 1.0, -0.0]).unwrap());
    bench.write(&odd, "odd.gguf");
    bench.run("split @odd.gguf @part.gguf --max-tensors=9").ok();
    assert_eq!(bench.names("part"), parts("part", 4));
    for header in bench.headers("part") {
        assert_eq!(header.alignment, 128);
    }
    bench.run("join @part-00001-of-00004.gguf @whole.gguf").ok();
    assert!(bench.bytes("whole.gguf") == bench.bytes("odd.gguf"));
}

/// The keys as a log of llama.cpp shows them of a file that gguf-split made.
#[test]
fn names_and_keys_are_those_of_gguf_split() {
    let bench = Bench::new();
    let whole = model(&bench.path("in.gguf"));
    let total = whole.tensors.len();
    bench.run("split @in.gguf @part --max-tensors 11").ok();
    assert_eq!(bench.names("part"), parts("part", 3));
    let mut names = Vec::new();
    for (i, header) in bench.headers("part").into_iter().enumerate() {
        let keys: Vec<(&str, &Value)> = header.metadata.iter().collect();
        let told = if i == 0 { whole.metadata.len() } else { 0 };
        let due = [
            ("split.no", &Value::U16(i as u16)),
            ("split.tensors.count", &Value::I32(total as i32)),
            ("split.count", &Value::U16(3)),
        ];
        assert_eq!(&keys[told..], due);
        if i == 0 {
            assert_eq!(&keys[..told], whole.metadata.iter().collect::<Vec<_>>());
        }
        assert_eq!(header.tensors.len(), if i == 2 { total - 22 } else { 11 });
        names.extend(header.tensors.into_iter().map(|t| t.name));
    }
    assert_eq!(names, whole.tensors.iter().map(|t| t.name.clone()).collect::<Vec<_>>());
    bench.run("split @in.gguf @one --max-size 1G").ok();
    assert_eq!(bench.names("one"), parts("one", 1));
    assert_eq!(bench.headers("one")[0].metadata.get("split.count"), Some(&Value::U16(1)));
}

/// A part holds as many bytes as it may: tensors with their padding, without the header. A tensor that is larger is
/// alone, where gguf-split makes empty files or stops.
#[test]
fn sizes_count_padded_tensors() {
    let bench = Bench::new();
    let padded = |n: u64| n.next_multiple_of(32);
    let sizes: Vec<u64> = model(&bench.path("in.gguf")).tensors.iter().map(|t| padded(t.bytes())).collect();
    for limit in [sizes[0] + sizes[1], sizes[0] + sizes[1] - 1, 100_000, 1] {
        let ran = bench.run(&format!("split @in.gguf @part --max-size {limit} --dry-run --json")).ok();
        let plan: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let counts: Vec<usize> = plan["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["tensors"].as_u64().unwrap() as usize)
            .collect();
        let mut rest = sizes.as_slice();
        for (i, count) in counts.iter().enumerate() {
            let sum: u64 = rest[..*count].iter().sum();
            assert!(sum <= limit || *count == 1, "part {i} of {limit}: {counts:?}");
            rest = &rest[*count..];
            assert!(rest.first().is_none_or(|next| sum + next > limit), "part {i} of {limit}: {counts:?}");
        }
        assert!(rest.is_empty());
        assert!(bench.names("part").is_empty());
    }
}

#[test]
fn llama_cpp_runs_the_parts() {
    let Some(peer) = peer::peer() else { return };
    let bench = Bench::new();
    let cp = trio("cp").display().to_string();
    for (i, options) in
        ["--split-max-tensors=7", "--split-max-size=200K", "--split-max-tensors=9 --no-tensor-first-split"]
            .into_iter()
            .enumerate()
    {
        bench.run(&format!("convert {cp} --type Q8_0 -o @whole.gguf --force")).ok();
        let ran = bench.run(&format!("convert {cp} --type Q8_0 -o @{i}.gguf {options}")).ok();
        let answer = |path: &Path| {
            let model = peer.load_model(path, false).unwrap();
            let prompt = model.tokenize("What is a vector?", true, false);
            (model.logits(&prompt, 2).unwrap(), model.generate(&prompt, 8, 2).unwrap())
        };
        let (split, whole) = (Path::new(ran.out.trim_end()), bench.path("whole.gguf"));
        assert!(answer(split) == answer(&whole), "{options}");
        let again = bench.run(&format!("join {} @again.gguf --force", split.display())).ok();
        assert_eq!(bench.bytes("again.gguf"), bench.bytes("whole.gguf"), "{}", again.err);
        let checked = bench.run(&format!("verify {}", split.display())).ok();
        assert_eq!(checked.err.matches("gguf-rs agrees").count(), bench.names(&format!("{i}-")).len());
    }
}

/// `--keep-split` gives the files of `llama_model_quantize`, byte for byte, of a split input and of a whole one.
#[test]
fn kept_parts_are_those_of_llama_quantize() {
    let Some(peer) = peer::peer() else { return };
    let bench = Bench::new();
    bench.run("split @in.gguf @part --max-tensors 11").ok();
    bench.run("split @in.gguf @bare --max-size 300K --no-tensor-first").ok();
    let inputs = [bench.names("part"), bench.names("bare"), bench.names("in")];
    assert!(inputs[1].len() > 3);
    for (input, count) in inputs.iter().map(|names| (&names[0], names.len())) {
        for (word, number) in [("Q4_K_M", 15), ("Q4_0", 2), ("F32", 0)] {
            let ran = bench.run(&format!("quantize --keep-split --force @{input} @mine.gguf {word}")).ok();
            assert!(ran.out.trim_end().ends_with(&parts("mine", count)[0]), "{}", ran.out);
            let mut params = QuantizeParams::new(number);
            params.keep_split = true;
            peer.quantize_model(&bench.path(input), &bench.path("theirs"), &params).unwrap();
            for (mine, theirs) in parts("mine", count).iter().zip(parts("theirs", count)) {
                assert!(bench.bytes(mine) == bench.bytes(&theirs), "{input} {word} {mine}");
            }
        }
    }
}

#[test]
fn a_split_input_quantizes_as_the_whole_one() {
    let bench = Bench::new();
    bench.run("split @in.gguf @part --max-tensors 4").ok();
    let first = &bench.names("part")[0];
    bench.run("quantize @in.gguf @a.gguf Q4_K_M").ok();
    bench.run(&format!("quantize @{first} @b.gguf Q4_K_M")).ok();
    assert!(bench.bytes("a.gguf") == bench.bytes("b.gguf"));
    bench.run("quantize @in.gguf @c.gguf Q4_K_M --split-max-tensors 6").ok();
    bench.run(&format!("join @{} @d.gguf", bench.names("c-")[0])).ok();
    assert!(bench.bytes("a.gguf") == bench.bytes("d.gguf"));
    // To quantize in parts, or to split what was quantized, is the same.
    bench.run("split @d.gguf @s.gguf --max-tensors 6").ok();
    for (c, s) in bench.names("c-").iter().zip(bench.names("s-")) {
        assert!(bench.bytes(c) == bench.bytes(&s), "{c}");
    }
    // What fits one file is one, as the converter has it.
    bench.run("quantize @in.gguf @e.gguf Q4_K_M --split-max-size 50G").ok();
    assert!(bench.bytes("a.gguf") == bench.bytes("e.gguf"));
}

/// Layers stored backwards, in parts or not, kept or not: every tensor has the dtype that it has in order.
#[test]
fn neither_order_nor_parts_decide_a_dtype() {
    let bench = Bench { dir: tempfile::tempdir().unwrap() };
    let mut toy = TOYS[1].model();
    bench.write(&toy, "in.gguf");
    toy.tensors.reverse();
    bench.write(&toy, "back.gguf");
    bench.run("split @back.gguf @part --max-tensors 20").ok();
    let first = bench.names("part")[0].clone();
    for word in ["Q4_K_S", "Q4_K_M", "Q3_K_M", "Q2_K"] {
        bench.run(&format!("quantize --force @in.gguf @a.gguf {word}")).ok();
        let due = dtypes(&bench.path("a.gguf"));
        for input in ["back.gguf", &first] {
            bench.run(&format!("quantize --force @{input} @b.gguf {word}")).ok();
            assert!(bench.bytes("a.gguf") == bench.bytes("b.gguf"), "{word} {input}");
            let kept = bench.run(&format!("quantize --force --keep-split @{input} @c.gguf {word}")).ok();
            assert_eq!(dtypes(Path::new(kept.out.trim_end())), due, "{word} {input}");
        }
    }
}

#[test]
fn merges_and_prunings_keep_parts_too() {
    let bench = Bench::new();
    bench.run("split @in.gguf @part --max-tensors 11").ok();
    let first = "@part-00001-of-00003.gguf";
    bench.run(&format!("quantize {first} @p.gguf Q8_0 --keep-split --prune-layers=1")).ok();
    let counts: Vec<usize> = bench.headers("p-").iter().map(|h| h.tensors.len()).collect();
    assert_eq!(counts, [10, 3, 8]);
    // Rounded in two ways it is a base and a chat model that differ from it.
    bench.run("quantize @in.gguf @base.gguf BF16").ok();
    bench.run("quantize @in.gguf @chat.gguf Q8_0").ok();
    let allowed = "--allow-unrelated --allow-swapped --allow-quantized-vector";
    let merge = format!("merge {allowed} --base @base.gguf --chat @chat.gguf --onto {first} --type F16");
    bench.run(&format!("{merge} --keep-split -o @m.gguf")).ok();
    bench.run(&format!("{merge} --split-max-tensors=11 -o @n.gguf")).ok();
    for (name, part) in parts("m", 3).iter().zip(parts("part", 3)) {
        let names = |name: &str| -> Vec<String> {
            bench.headers(name)[0].tensors.iter().map(|t| t.name.clone()).collect()
        };
        assert_eq!(names(name), names(&part));
    }
    assert_eq!(bench.names("n-"), parts("n", 3));
    let cp = trio("cp").display().to_string();
    let (code, said) = bench.fails(&format!("convert {cp} --type F16 --keep-split -o @x.gguf"));
    assert_eq!((code, said.contains("give --split-max-size or --split-max-tensors")), (2, true), "{said}");
}

#[test]
fn an_input_part_is_never_an_output() {
    let bench = Bench::new();
    bench.run("split @in.gguf @part --max-tensors 20").ok();
    let before: Vec<Vec<u8>> = bench.names("part").iter().map(|n| bench.bytes(n)).collect();
    let second = "@part-00002-of-00002.gguf";
    for words in [
        format!("join --force @part-00001-of-00002.gguf {second}"),
        format!("quantize --force @part-00001-of-00002.gguf {second} Q8_0"),
        String::from("quantize --force --keep-split @part-00001-of-00002.gguf @part.gguf Q8_0"),
        String::from("split --force @part-00001-of-00002.gguf @part"),
        format!("join --force {second} @whole.gguf"),
        String::from("join --force @in.gguf @whole.gguf"),
    ] {
        let (code, said) = bench.fails(&words);
        assert!(code != 0 && !said.is_empty(), "{words}");
        let after: Vec<Vec<u8>> = bench.names("part").iter().map(|n| bench.bytes(n)).collect();
        assert!(before == after && bench.names("whole").is_empty(), "{words}");
    }
    // As a shell writes out `part-*` of three.
    assert_eq!(bench.fails(&format!("join @part-00001-of-00002.gguf {second} {second}")).0, 2);
}

#[test]
fn parts_that_do_not_belong_together() {
    let bench = Bench::new();
    bench.run("split @in.gguf @part --max-tensors 11").ok();
    std::fs::rename(bench.path("part-00003-of-00003.gguf"), bench.path("x")).unwrap();
    let (code, said) = bench.fails("join @part-00001-of-00003.gguf @whole.gguf");
    let due = "error: part-00003-of-00003.gguf: this part of the split model is missing; keep all parts in one folder, \
               under the names that they were split into";
    assert_eq!((code, said.as_str()), (3, due));
    std::fs::copy(bench.path("part-00002-of-00003.gguf"), bench.path("part-00003-of-00003.gguf")).unwrap();
    let (code, said) = bench.fails("join @part-00001-of-00003.gguf @whole.gguf");
    assert_eq!((code, said.contains("expected split.no = 2, found 1")), (3, true), "{said}");
    let (code, said) = bench.fails("join @part-00002-of-00003.gguf @whole.gguf");
    assert_eq!(
        (code, said.contains("give the first part, whose name ends in -00001-of-…")),
        (3, true),
        "{said}"
    );
}

#[test]
fn the_words_of_gguf_split() {
    let bench = Bench::new();
    let (code, said) = bench.fails("split --merge @part-00001-of-00003.gguf @whole.gguf");
    assert_eq!((code, said.contains("`ggraft join FIRST-PART OUT.gguf`")), (2, true), "{said}");
    let (code, said) = bench.fails("join --split @in.gguf @part");
    assert_eq!((code, said.contains("`ggraft split IN.gguf OUT-PREFIX`")), (2, true), "{said}");
    bench.run("split --split --split-max-tensors 11 --no-tensor-first-split @in.gguf @part").ok();
    assert_eq!(bench.names("part"), parts("part", 4));
    bench.run("join --merge @part-00001-of-00004.gguf @whole.gguf").ok();
    assert_eq!(bench.fails("split @in.gguf @p --max-size 50XB").0, 2);
    assert_eq!(bench.fails("split @in.gguf @p --max-tensors 0").0, 2);
}

#[test]
fn parts_are_kept_without_force_and_replaced_with_it() {
    let bench = Bench::new();
    std::fs::write(bench.path("part-00002-of-00003.gguf"), "mine").unwrap();
    let (code, said) = bench.fails("split @in.gguf @part --max-tensors 11");
    assert_eq!(code, 1);
    assert!(said.starts_with("error: part-00002-of-00003.gguf: the output exists; give --force"), "{said}");
    assert_eq!(bench.names("part"), ["part-00002-of-00003.gguf"]);
    bench.run("split --force @in.gguf @part --max-tensors 11").ok();
    bench.run("split --force @in.gguf @part --max-tensors 11").ok();
    assert_eq!(bench.names("part"), parts("part", 3));
}

/// More parts than a process may have files open, as many shells have it.
#[test]
#[cfg(unix)]
fn many_parts_under_a_low_limit() {
    let bench = Bench { dir: tempfile::tempdir().unwrap() };
    TOYS[1].write(&bench.path("in.gguf"));
    let run = |limit: &str| {
        let script = format!("ulimit {limit}; exec \"$0\" split --max-tensors 1 in.gguf part");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_ggraft")]).current_dir(bench.dir.path());
        shell.output().unwrap()
    };
    let refused = run("-n 64");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        refused.status.code() == Some(1) && said.contains("more files than may be open at once"),
        "{said}"
    );
    assert!(bench.names("part").is_empty());
    assert!(run("-Sn 64").status.success());
    let first = bench.names("part")[0].clone();
    bench.run(&format!("join @{first} @whole.gguf")).ok();
    assert!(bench.bytes("whole.gguf") == bench.bytes("in.gguf"));
}

/// A part that cannot be written leaves no part of the new model, under no name.
#[test]
fn a_failure_leaves_no_part() {
    let bench = Bench::new();
    let mut damaged = SMALL.model();
    let shape = *damaged.tensors[9].shape();
    let values = vec![f32::NAN; shape.elements() as usize];
    damaged.tensors[9] =
        ggraft_formats::Tensor::in_memory(&damaged.tensors[9].name.clone(), shape, &values).unwrap();
    bench.write(&damaged, "damaged.gguf");
    let (code, said) = bench.fails("quantize @damaged.gguf @out.gguf Q8_0 --split-max-tensors 4");
    assert_eq!((code, said.contains("the weights must be finite")), (3, true), "{said}");
    assert!(bench.names("out").is_empty());
    // A folder has the name of a part: it is seen before any work.
    std::fs::create_dir(bench.path("out-00003-of-00008.gguf")).unwrap();
    let (code, said) = bench.fails("quantize --force @in.gguf @out.gguf Q8_0 --split-max-tensors 4");
    assert_eq!((code, said.contains("the output is a directory")), (1, true), "{said}");
    assert_eq!(bench.names("out"), ["out-00003-of-00008.gguf"]);
}

/// The options of the writers, in a recipe too, and what a directory makes of them.
#[test]
fn a_recipe_and_a_directory_are_split() {
    let bench = Bench::new();
    let trio_of = |name: &str| trio(name).display().to_string();
    let merge =
        format!("merge --base {} --chat {} --onto {}", trio_of("base"), trio_of("chat"), trio_of("cp"));
    bench.run(&format!("{merge} --type Q8_0 --split-max-size 1M -o @a.gguf --emit-recipe @r.yml")).ok();
    let recipe = String::from_utf8(bench.bytes("r.yml")).unwrap();
    assert!(recipe.contains("split_max_size: 1M") || recipe.contains("split_max_size: \"1M\""), "{recipe}");
    bench.run("merge @r.yml").ok();
    assert!(bench.names("a-").len() > 1);
    let ran = bench.run(&format!(
        "{merge} --type safetensors --split-max-size 1M --no-tensor-first-split --pure -o @hf"
    ));
    let ran = ran.ok();
    assert!(ran.err.contains("no effect on safetensors: --pure, --no-tensor-first-split"), "{}", ran.err);
    assert!(
        bench.path("hf/model-00002-of-00007.safetensors").exists()
            || bench.path("hf/model.safetensors.index.json").exists()
    );
}
