//! What llama-quantize gets wrong and ggraft must not, a test a fault. They are recorded in llama.cpp's issues, or were
//! seen in v0.5.0; `kept parts` and `size` faults are in `splits.rs`, those of pruning in `quantize_options.rs`.

mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::{DType, Error, Input, Kind, Model, Shape, Tensor, Value, gguf, open, write};
use peer::QuantizeParams;
use run::{Ran, ggraft, trio};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::gguf::{TOYS, Toy};
use tempfile::TempDir;

const SMALL: Toy = Toy { layers: 3, ..TOYS[1] };

struct Bench {
    dir: TempDir,
}

impl Bench {
    /// A folder with this model in it.
    fn new(model: &Model) -> Bench {
        let bench = Bench { dir: tempfile::tempdir().unwrap() };
        bench.write(model, "in.gguf");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, model: &Model, name: &str) {
        let path = self.path(name);
        write::write(&[gguf::plan(model, &path).unwrap()], &()).unwrap();
    }

    /// Runs `ggraft` with these words; `@` is the folder.
    fn run(&self, words: &str) -> Ran {
        let folder = format!("{}/", self.dir.path().display());
        ggraft(words.split(' ').map(|word| word.replace('@', &folder)))
    }

    fn model(&self, name: &str) -> Model {
        match open(&self.path(name)).unwrap() {
            Input::Model(model) => model,
            Input::Checkpoint(_) => panic!("not a GGUF"),
        }
    }

    /// Names in the folder that begin so.
    fn names(&self, start: &str) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name());
        names.map(|n| n.into_string().unwrap()).filter(|n| n.starts_with(start)).collect()
    }
}

fn bytes(model: &Model, name: &str) -> Vec<u8> {
    let t = model.tensors.iter().find(|t| t.name == name).unwrap();
    t.with_rows(0..t.shape().rows() as usize, |bytes| Ok(bytes.to_vec())).unwrap()
}

/// llama-quantize copies the key and lays the data out at 32: a file that does not load.
#[test]
fn another_alignment_is_kept_and_obeyed() {
    let bench = Bench::new(&SMALL.model());
    let cp = trio("cp").display().to_string();
    bench.run(&format!("convert {cp} --type F16 -o @a.gguf --override-kv general.alignment=u32:128")).ok();
    bench.run(&format!("convert {cp} --type F16 -o @b.gguf")).ok();
    for words in ["Q4_0", "COPY", "Q4_K_M --split-max-tensors 9", "Q8_0 --keep-split"] {
        let ran = bench.run(&format!("quantize --force @a.gguf @out.gguf {words}")).ok();
        let path = PathBuf::from(ran.out.trim_end());
        bench.run(&format!("quantize --force @b.gguf @plain.gguf {words}")).ok();
        let header = gguf::Header::parse(&std::fs::read(&path).unwrap(), &path).unwrap();
        assert_eq!((header.alignment, header.data_offset % 128), (128, 0), "{words}");
        let plain = if words.contains("split") {
            path.display().to_string().replace("out-", "plain-")
        } else {
            bench.path("plain.gguf").display().to_string()
        };
        let (Input::Model(ours), Input::Model(plain)) =
            (open(&path).unwrap(), open(Path::new(&plain)).unwrap())
        else {
            panic!("not GGUF");
        };
        for t in &ours.tensors {
            assert_eq!(bytes(&ours, &t.name), bytes(&plain, &t.name), "{words} {}", t.name);
        }
        bench.run(&format!("verify {}", path.display())).ok();
        if let Some(peer) = peer::peer() {
            peer.load_model(&path, false).unwrap();
        }
    }
}

#[test]
fn a_failed_run_leaves_nothing() {
    let mut model = SMALL.model();
    let (name, shape) = (model.tensors[20].name.clone(), *model.tensors[20].shape());
    let values = vec![f32::INFINITY; shape.elements() as usize];
    model.tensors[20] = Tensor::in_memory(&name, shape, &values).unwrap();
    let bench = Bench::new(&model);
    for words in ["Q4_0", "Q4_0 --split-max-tensors 3", "COPY"] {
        let ran = bench.run(&format!("quantize @in.gguf @out.gguf {words}"));
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(ran.err.contains(&name) && ran.err.contains("the weights must be finite"), "{}", ran.err);
        assert!(bench.names("out").is_empty());
    }
}

/// Killed while it writes: no file has its final name, and the next run does the work.
#[test]
fn a_killed_run_leaves_nothing_under_a_final_name() {
    let bench = Bench::new(&Toy { hidden: 1024, ffn: 2816, ..TOYS[0] }.model());
    for options in ["--threads=1", "--split-max-tensors=40"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ggraft"))
            .args(["quantize", options])
            .args([bench.path("in.gguf"), bench.path("out.gguf")])
            .arg("Q2_K")
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while bench.names("out").is_empty() {
            assert!(child.try_wait().unwrap().is_none(), "the run ended before it began to write");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "the run was over before it was killed");
        let left = bench.names("out");
        assert!(left.iter().all(|name| name.contains(".partial")), "{left:?}");
        let ran = bench.run(&format!("quantize {options} @in.gguf @out.gguf Q2_K")).ok();
        bench.run(&format!("verify {}", ran.out.trim_end())).ok();
        assert!(bench.names("out").iter().all(|name| !name.contains(".partial")));
        bench.names("out").iter().for_each(|name| std::fs::remove_file(bench.path(name)).unwrap());
    }
}

/// llama-quantize says `basic_ios::clear: iostream error`.
#[test]
fn a_missing_output_directory_is_made() {
    let bench = Bench::new(&SMALL.model());
    bench.run("quantize @in.gguf @new/deep/out.gguf Q8_0").ok();
    bench.run("split @in.gguf @newer/part --max-tensors 20").ok();
    assert!(bench.path("new/deep/out.gguf").is_file());
    assert!(bench.path("newer/part-00002-of-00002.gguf").is_file());
    std::fs::write(bench.path("file"), "").unwrap();
    let ran = bench.run("quantize @in.gguf @file/out.gguf Q8_0");
    assert!(ran.code == 5 && ran.err.contains("/file: "), "{}", ran.err);
}

/// llama-quantize knows 153 names, and refuses the others even where it only copies.
#[test]
fn an_unknown_architecture_is_quantized() {
    let mut model = SMALL.model();
    model.metadata.set("general.architecture", "unheard-of");
    let bench = Bench::new(&model);
    for word in ["Q4_K_M", "Q8_0", "COPY"] {
        bench.run(&format!("quantize --force @in.gguf @out.gguf {word}")).ok();
        let out = bench.model("out.gguf");
        assert_eq!(out.metadata.str("general.architecture"), Some("unheard-of"));
        assert_eq!(out.tensors.len(), model.tensors.len());
    }
    assert_eq!(bench.model("out.gguf").tensors[0].dtype(), DType::F16);
}

/// With `--keep-split` llama-quantize counts layers in the order of the file.
#[test]
fn layers_that_are_stored_out_of_order_get_the_same_dtypes() {
    let mut model = TOYS[1].model();
    let bench = Bench::new(&model);
    model.tensors.sort_by(|a, b| b.name.cmp(&a.name));
    bench.write(&model, "back.gguf");
    for word in ["Q4_K_S", "Q4_K_M", "Q3_K_M"] {
        bench.run(&format!("quantize --force @in.gguf @a.gguf {word}")).ok();
        bench.run(&format!("quantize --force @back.gguf @b.gguf {word}")).ok();
        assert!(std::fs::read(bench.path("a.gguf")).unwrap() == std::fs::read(bench.path("b.gguf")).unwrap());
        bench.run(&format!("quantize --force --keep-split @back.gguf @c.gguf {word}")).ok();
        let (a, c) = (bench.model("a.gguf"), bench.model("c-00001-of-00001.gguf"));
        for t in &a.tensors {
            assert!(bytes(&a, &t.name) == bytes(&c, &t.name), "{word} {}", t.name);
        }
    }
}

/// llama-quantize stores the absolute value as a u32.
#[test]
fn an_override_keeps_its_sign() {
    let bench = Bench::new(&SMALL.model());
    bench
        .run("quantize @in.gguf @out.gguf Q8_0 --override-kv a.below=int:-7 --override-kv a.above=int:7")
        .ok();
    let metadata = bench.model("out.gguf").metadata;
    assert_eq!(metadata.get("a.below"), Some(&Value::I32(-7)));
    assert_eq!(metadata.get("a.above"), Some(&Value::U32(7)));
}

/// llama-quantize finds out in the middle of the work.
#[test]
fn requantizing_is_refused_before_any_work_unless_it_is_asked_for() {
    let bench = Bench::new(&SMALL.model());
    bench.run("quantize @in.gguf @q8.gguf Q8_0").ok();
    let ran = bench.run("quantize @q8.gguf @out.gguf Q4_K_M");
    assert_eq!(ran.code, 3);
    assert!(
        ran.err.contains("would be requantized to") && ran.err.contains("--allow-requantize"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains("tensors, "), "no plan is shown: {}", ran.err);
    assert!(bench.names("out").is_empty());
    bench.run("quantize @q8.gguf @out.gguf Q4_K_M --allow-requantize").ok();
}

/// A block that encoding what it decodes to would change stays as it is.
#[test]
fn what_has_its_dtype_already_is_copied() {
    let mut model = SMALL.model();
    let shape = Shape::new(&[256, 256]).unwrap();
    // Scales that no encoder chooses: every weight of a block is one quarter of what its scale could hold.
    let block = [&[0x00, 0x3c][..], &[0x01; 32]].concat();
    let path_bytes: Vec<u8> = block.repeat(256 * 8);
    let odd = model.tensors.iter().position(|t| t.name == "blk.1.attn_q.weight").unwrap();
    model.tensors[odd] = raw("blk.1.attn_q.weight", shape, DType::Q8_0, path_bytes.clone());
    let bench = Bench::new(&model);
    for words in ["Q8_0", "COPY", "Q4_0 --tensor-type attn_q=q8_0", "Q8_0 --allow-requantize"] {
        bench.run(&format!("quantize --force @in.gguf @out.gguf {words}")).ok();
        assert!(bytes(&bench.model("out.gguf"), "blk.1.attn_q.weight") == path_bytes, "{words}");
    }
}

/// Encoded rows in memory.
struct Raw(Vec<u8>, usize);

impl ggraft_formats::Rows for Raw {
    fn read(&self, rows: std::ops::Range<usize>, out: &mut [u8]) -> Result<(), Error> {
        let bytes = self.0.get(rows.start * self.1..rows.end * self.1);
        out.copy_from_slice(bytes.ok_or_else(|| Error::new(Kind::Failure, "no such rows"))?);
        Ok(())
    }
}

fn raw(name: &str, shape: Shape, dtype: DType, bytes: Vec<u8>) -> Tensor {
    let row = dtype.row_bytes(shape.row()).unwrap() as usize;
    Tensor::new(name, shape, dtype, std::sync::Arc::new(Raw(bytes, row))).unwrap()
}

/// COPY is llama-quantize's, byte for byte, but for one thing: where the source does not tell its ftype, llama-quantize
/// stores its guess with a mark (1024) that no file should hold.
#[test]
fn a_copy_is_that_of_llama_quantize() {
    let Some(peer) = peer::peer() else { return };
    let told = |file_type: Option<u32>| {
        let mut model = SMALL.model();
        if let Some(n) = file_type {
            model.metadata.set("general.file_type", n);
        }
        model.metadata.set("general.name", "a toy");
        Bench::new(&model)
    };
    let theirs = |bench: &Bench, set: fn(&mut QuantizeParams)| {
        let mut params = QuantizeParams::new(0);
        params.only_copy = true;
        set(&mut params);
        peer.quantize_model(&bench.path("in.gguf"), &bench.path("theirs.gguf"), &params).unwrap();
    };
    let read = |bench: &Bench, name: &str| std::fs::read(bench.path(name)).unwrap();
    let bench = told(Some(1));
    for (options, set) in [
        ("", (|_| ()) as fn(&mut QuantizeParams)),
        (" --prune-layers=1", |p| p.prune = vec![1]),
        (" --pure --output-tensor-type=q8_0", |p| {
            p.pure = true;
            p.output_tensor_type = Some(DType::Q8_0);
        }),
    ] {
        let ran = bench.run(&format!("quantize --force @in.gguf @ours.gguf copy{options}")).ok();
        theirs(&bench, set);
        assert!(read(&bench, "ours.gguf") == read(&bench, "theirs.gguf"), "{options}");
        assert_eq!(
            ran.err.contains("no effect on COPY: --pure, --output-tensor-type"),
            options.contains("pure")
        );
    }
    let bench = told(None);
    bench.run("quantize @in.gguf @ours.gguf COPY").ok();
    theirs(&bench, |_| ());
    let (ours, theirs) = (bench.model("ours.gguf"), bench.model("theirs.gguf"));
    assert_eq!(theirs.metadata.u64("general.file_type"), Some(1024 + 1));
    assert_eq!(ours.metadata.get("general.file_type"), None);
    assert_eq!(ours.metadata.len() + 1, theirs.metadata.len());
    // Only a GGUF can be copied.
    let cp = trio("cp").display().to_string();
    let ran = bench.run(&format!("convert {cp} --type COPY -o @x.gguf"));
    assert_eq!((ran.code, ran.err.contains("COPY copies the tensors of a GGUF")), (2, true), "{}", ran.err);
}
