//! Sets of files: several types of one model in one pass give the files of the single runs, and the model is read once.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft::pipeline::{Loaded, convert_all, write};
use ggraft::{Plan, Target, Type, Work};
use ggraft_formats::{DType, Model, Result, Rows, Shape, Tensor};
use run::{Ran, ggraft, trio};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::gguf::TOYS;

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Bench {
        let bench = Bench(tempfile::tempdir().unwrap());
        TOYS[1].write(&bench.path("in.gguf"));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `@` in a word is the folder.
    fn run(&self, words: &str) -> Ran {
        let folder = format!("{}/", self.0.path().display());
        let cp = trio("cp").display().to_string();
        ggraft(words.split(' ').map(|word| word.replace('@', &folder).replace("%cp", &cp)))
    }

    #[track_caller]
    fn same(&self, a: &str, b: &str) {
        let read = |name: &str| std::fs::read(self.path(name)).unwrap();
        assert!(read(a) == read(b), "{a} is not {b}");
    }
}

const SET: [&str; 5] = ["Q8_0", "Q4_K_M", "F16", "BF16", "IQ4_NL"];

#[test]
fn many_types_in_one_pass_are_the_files_of_single_runs() {
    let bench = Bench::new();
    let types = SET.join(",");
    for (many, one) in [
        (format!("convert %cp -q --type {types} -o @many-{{type}}"), "convert %cp -q -f -o @one.gguf --type"),
        (format!("quantize -q @in.gguf @many-{{type}} {types} 2"), "quantize -q -f @in.gguf @one.gguf"),
        (
            format!("quantize -q @in.gguf @many-{{ftype}}.gguf 2 --type {types}"),
            "quantize -q -f @in.gguf @one.gguf",
        ),
    ] {
        let ran = bench.run(&many).ok();
        assert_eq!(ran.out.lines().count(), SET.len(), "{}", ran.out);
        for kind in SET {
            bench.run(&format!("{one} {kind}")).ok();
            bench.same(&format!("many-{kind}.gguf"), "one.gguf");
            std::fs::remove_file(bench.path(&format!("many-{kind}.gguf"))).unwrap();
        }
    }
}

#[test]
fn outputs_without_a_name_have_one_each_and_a_folder_takes_them_all() {
    let bench = Bench::new();
    bench.run("quantize -q @in.gguf Q8_0,Q4_0").ok();
    bench.run("convert %cp -q --type Q8_0,safetensors-f16 -o @set/").ok();
    for name in ["ggml-model-Q8_0.gguf", "ggml-model-Q4_0.gguf", "set/Cp-3.0M-Q8_0.gguf"] {
        assert!(bench.path(name).is_file(), "{name}");
    }
    assert!(bench.path("set/Cp-3.0M-safetensors-f16/config.json").is_file());
    let ran = bench.run("convert %cp --type Q8_0,F16 -o @x.gguf");
    assert!(ran.code == 2 && ran.err.contains("put {type} and {weight} into the name"), "{}", ran.err);
}

#[test]
fn a_name_that_does_not_end_as_a_gguf_does_gets_its_ending_in_every_verb() {
    let bench = Bench::new();
    bench.run("quantize -q @in.gguf @a.b Q4_0").ok();
    bench.run("convert %cp -q --type F16 -o @my.model").ok();
    bench.run("meta set @a.b.gguf a.b=u8:1 -q -o @edited").ok();
    bench.run("split -q @a.b.gguf @part --max-tensors 9").ok();
    let mut paths = std::fs::read_dir(bench.path("")).unwrap().flatten().map(|e| e.path());
    let first = paths.find(|p| p.to_string_lossy().contains("part-00001")).unwrap();
    bench.run(&format!("join -q {} @whole", first.display())).ok();
    for name in ["a.b.gguf", "my.model.gguf", "edited.gguf", "whole.gguf"] {
        assert!(bench.path(name).is_file(), "{name}");
    }
    for words in [
        "quantize -q @in.gguf @a.bin Q4_0".to_string(),
        "meta set @a.b.gguf a.b=u8:1 -q -o @e.zip".to_string(),
        format!("join -q {} @w.safetensors", first.display()),
    ] {
        let ran = bench.run(&words);
        assert!(ran.code == 2 && ran.err.contains("a name that ends in .gguf"), "{words}: {}", ran.err);
    }
}

/// Rows that count the bytes that are read of them.
struct Counted {
    source: Tensor,
    bytes: Arc<AtomicUsize>,
}

impl Rows for Counted {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        self.bytes.fetch_add(out.len(), Ordering::Relaxed);
        self.source.read(rows, out)
    }
}

/// Types that are encoded and one that is copied.
#[test]
fn many_types_read_the_model_once() {
    const ROWS: u64 = 9_000;
    const NAME: &str = "blk.0.ffn_up.weight";
    let bytes = Arc::new(AtomicUsize::new(0));
    let shape = Shape::new(&[256, ROWS]).unwrap();
    let values: Vec<f32> = (0..shape.elements()).map(|i| (i % 1009) as f32 / 500.0 - 1.0).collect();
    let source = Tensor::in_memory(NAME, shape, &values).unwrap();
    let rows = Arc::new(Counted { source, bytes: Arc::clone(&bytes) });
    let mut model =
        Model { tensors: vec![Tensor::new(NAME, shape, DType::F32, rows).unwrap()], ..Model::default() };
    model.metadata.set("general.architecture", "llama");
    let loaded = Loaded::new(model, Vec::new(), None);
    let targets: Vec<Target> =
        ["F32", "BF16", "Q8_0", "Q4_K_S"].iter().map(|t| Target::new(Type::parse(t).unwrap())).collect();
    let dir = tempfile::tempdir().unwrap();
    let name = |kind: &Type| Path::new(dir.path()).join(format!("{}.gguf", kind.name()));
    let plans = convert_all(loaded, &targets).unwrap().into_iter();
    let placed = |plan: Plan| {
        let path = name(&plan.kind);
        (plan, path)
    };
    let plans: Vec<_> = plans.map(placed).collect();
    write(&plans, &Work::default(), &()).unwrap();
    assert_eq!(bytes.load(Ordering::Relaxed) as u64, shape.elements() * 4);
}
