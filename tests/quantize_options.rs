//! The options that say which dtype a tensor gets, how its weights are weighed and what the metadata says, as people
//! type them. That their results are llama-quantize's is shown in `whole_files.rs`; here is what it has not.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::{DType, Model, Value};
use run::{Ran, ggraft, trio};
use std::path::PathBuf;
use support::gguf::{TOYS, Toy, dtype, model};
use support::imatrix::{self, Entry};
use tempfile::TempDir;

/// A small toy, its importance matrix, and a place for the output.
struct Bench {
    dir: TempDir,
}

const SMALL: Toy = Toy { layers: 3, ..TOYS[1] };

impl Bench {
    fn new() -> Bench {
        let bench = Bench { dir: tempfile::tempdir().unwrap() };
        SMALL.write(&bench.path("in.gguf"));
        bench.measure(|_| true);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the importance matrix of some tensors.
    fn measure(&self, keep: fn(&str) -> bool) {
        let all = imatrix::measured(&SMALL);
        let some: Vec<&Entry> = all.iter().filter(|e| keep(&e.name)).collect();
        imatrix::write(&some, &self.path("m.imatrix"));
    }

    /// Quantizes to `ftype`; `@` in an option is the folder.
    fn run(&self, ftype: &str, options: &[&str]) -> Ran {
        let folder = format!("{}/", self.dir.path().display());
        let mut args = vec![String::from("quantize"), String::from("--force")];
        args.extend(options.iter().map(|o| o.replace('@', &folder)));
        args.extend([self.path("in.gguf"), self.path("out.gguf")].map(|p| p.display().to_string()));
        args.push(ftype.to_string());
        ggraft(args)
    }

    fn output(&self) -> Model {
        model(&self.path("out.gguf"))
    }

    /// Runs into an error; its exit code and words.
    #[track_caller]
    fn fails(&self, ftype: &str, options: &[&str]) -> (i32, String) {
        let ran = self.run(ftype, options);
        assert!(!self.path("out.gguf").exists());
        let folder = format!("{}/", self.dir.path().display());
        let error: Vec<&str> = ran.err.lines().skip_while(|l| !l.starts_with("error: ")).collect();
        (ran.code, error.join("\n").replace(&folder, ""))
    }
}

#[test]
fn a_type_that_needs_an_importance_matrix_is_refused_without_one() {
    let bench = Bench::new();
    let (code, said) = bench.fails("Q2_K_S", &[]);
    assert_eq!(code, 2);
    assert!(
        said.contains("q2_K is useless without an importance matrix: found no --imatrix, and "),
        "{said}"
    );
    let hint =
        " tensors that need one; give --imatrix FILE, or --importance weights, or choose a larger type";
    assert!(said.contains(hint), "{said}");
    bench.measure(|name| !name.contains("attn_k"));
    let (code, said) = bench.fails("Q2_K_S", &["--imatrix", "@m.imatrix"]);
    assert_eq!(code, 3);
    let missing = "found none for blk.0.attn_k.weight, blk.1.attn_k.weight, blk.2.attn_k.weight";
    assert!(said.contains(missing), "{said}");
    bench.run("Q2_K_S", &["--imatrix", "@m.imatrix", "--tensor-type", "attn_k=q4_K"]).ok();
}

#[test]
fn entries_that_are_missing_are_said_once_by_name() {
    let bench = Bench::new();
    bench.measure(|name| name != "blk.1.ffn_up.weight");
    let ran = bench.run("Q4_K_S", &["--imatrix", "@m.imatrix"]).ok();
    let line = "no importance data (the matrix has no entry) for: token_embd.weight, blk.1.ffn_up.weight, \
                output.weight";
    assert_eq!(ran.err.matches(line).count(), 1, "{}", ran.err);
    let (code, said) = bench.fails_with_shape();
    assert_eq!(code, 3);
    assert!(said.contains("expected 256 columns of 1 matrices, found 512 values"), "{said}");
}

impl Bench {
    /// With a matrix that was measured on a model of another width.
    fn fails_with_shape(&self) -> (i32, String) {
        std::fs::remove_file(self.path("out.gguf")).unwrap();
        let weights = vec![1.0; 512];
        std::fs::write(self.path("m.imatrix"), imatrix::legacy(&[("blk.0.attn_q.weight", &weights)]))
            .unwrap();
        self.fails("Q4_K_S", &["--imatrix", "@m.imatrix"])
    }
}

#[test]
fn the_metadata_names_the_matrix_but_no_folder() {
    let bench = Bench::new();
    bench.run("Q4_K_S", &["--imatrix", "@m.imatrix", "--include-weights", "attn_"]).ok();
    let out = bench.output();
    let told: Vec<(&str, &Value)> =
        out.metadata.iter().filter(|(key, _)| key.starts_with("quantize.imatrix.")).collect();
    assert_eq!(
        told,
        [
            ("quantize.imatrix.file", &Value::from("m.imatrix")),
            ("quantize.imatrix.dataset", &Value::from("calibration.txt")),
            ("quantize.imatrix.entries_count", &Value::U32(12)),
            ("quantize.imatrix.chunks_count", &Value::U32(7)),
        ]
    );
}

#[test]
fn the_choice_of_entries() {
    let bench = Bench::new();
    let bytes = |options: &[&str]| {
        bench.run("Q4_0", &[&["--imatrix", "@m.imatrix"], options].concat()).ok();
        let out = bench.output();
        let one = |name: &str| {
            let t = out.tensors.iter().find(|t| t.name == name).unwrap();
            t.with_rows(0..t.shape().rows() as usize, |bytes| Ok(bytes.to_vec())).unwrap()
        };
        [one("blk.0.attn_q.weight"), one("blk.0.ffn_up.weight")]
    };
    let all = bytes(&[]);
    let without = bytes(&["--exclude-weights", "attn_", "--exclude-weights", "nothing"]);
    let with = bytes(&["--include-weights", "attn_"]);
    assert!(all[0] != without[0] && all[1] == without[1]);
    assert!(all[0] == with[0] && all[1] != with[1]);
    std::fs::remove_file(bench.path("out.gguf")).unwrap();
    let both = ["--imatrix", "@m.imatrix", "--include-weights", "a", "--exclude-weights", "b"];
    assert_eq!(bench.fails("Q4_0", &both).0, 2);
    assert_eq!(bench.fails("Q4_0", &["--include-weights", "a"]).0, 2);
    let (code, said) = bench.fails("Q4_0", &["--imatrix", "@m.imatrix", "--include-weights", "x"]);
    assert_eq!(code, 2);
    assert!(said.contains("m.imatrix: no entry of the importance matrix is left"), "{said}");
    assert_eq!(bench.fails("Q4_0", &["--imatrix", "@missing"]).0, 5);
    assert_eq!(bench.fails("Q4_0", &["--imatrix", "@in.gguf"]).0, 3);
}

/// From a checkpoint and from its F32 conversion, from a merge and from its F32 result.
#[test]
fn every_route_gives_the_same_bytes_with_an_importance_matrix() {
    let bench = Bench::new();
    let out = |name: &str| bench.path(name).display().to_string();
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| trio(name).display().to_string());
    ggraft(["convert", &cp, "--type", "F32", "-o", &out("f32.gguf")]).ok();
    let shapes = model(&bench.path("f32.gguf")).tensors.into_iter();
    let ne = |t: &ggraft_formats::Tensor| t.shape().ne().iter().map(|n| *n as usize).collect();
    let entries = imatrix::of(shapes.map(|t| (t.name.clone(), ne(&t))).collect());
    imatrix::write(&entries.iter().collect::<Vec<_>>(), &bench.path("m.imatrix"));
    let m = out("m.imatrix");
    for ftype in ["Q4_K_M", "IQ4_NL"] {
        ggraft(["convert", &cp, "--type", ftype, "--imatrix", &m, "--force", "-o", &out("a.gguf")]).ok();
        ggraft(["quantize", "--imatrix", &m, "--force", &out("f32.gguf"), &out("b.gguf"), ftype]).ok();
        let merge = ["merge", "--base", &base, "--chat", &chat, "--onto", &cp, "--force", "--type"];
        ggraft(merge.into_iter().chain([ftype, "--imatrix", &m, "-o", &out("c.gguf")])).ok();
        ggraft(merge.into_iter().chain(["F32", "-o", &out("merged.gguf")])).ok();
        ggraft(["quantize", "--imatrix", &m, "--force", &out("merged.gguf"), &out("d.gguf"), ftype]).ok();
        let files =
            ["a.gguf", "b.gguf", "c.gguf", "d.gguf"].map(|name| std::fs::read(bench.path(name)).unwrap());
        assert!(files[0] == files[1] && files[2] == files[3], "{ftype}");
    }
}

#[test]
fn tensor_types_count_for_plain_floats_too_and_keep_their_case() {
    let bench = Bench::new();
    std::fs::write(bench.path("types"), "ffn_down=bf16\n\tffn=q4_0 attn_q=Q5_1\n").unwrap();
    let options = ["--tensor-type", "attn_q=q8_0", "--tensor-type-file", "@types"];
    bench.run("F16", &options).ok();
    let out = bench.output();
    for (name, due) in [
        ("blk.0.attn_q.weight", DType::Q8_0),
        ("blk.0.attn_k.weight", DType::F16),
        ("blk.1.ffn_down.weight", DType::BF16),
        ("blk.2.ffn_up.weight", DType::Q4_0),
        ("blk.2.attn_norm.weight", DType::F32),
    ] {
        assert_eq!(dtype(&out, name), due, "{name}");
    }
    std::fs::remove_file(bench.path("out.gguf")).unwrap();
    std::fs::write(bench.path("types"), "ffn_down").unwrap();
    let (code, said) = bench.fails("F16", &["--tensor-type-file", "@types"]);
    assert_eq!((code, said.contains("types: this is not a rule for a dtype")), (2, true), "{said}");
    assert_eq!(bench.fails("F16", &["--tensor-type", "(=q8_0"]).0, 2);
    let (code, said) = bench.fails("F16", &["--tensor-type", "ATTN=f32"]);
    assert_eq!((code, said.contains("--tensor-type 'ATTN' matches no tensor")), (2, true), "{said}");
    let (code, said) = bench.fails("F16", &["--tensor-type", "attn_q=iq2_xs"]);
    assert_eq!((code, said.contains("iq2_xs requires an importance matrix")), (2, true), "{said}");
    assert_eq!(bench.fails("F16", &["--tensor-type", "attn_q=q8_K"]).0, 4);
}

#[test]
fn a_file_lends_its_dtypes_tensor_by_tensor() {
    let bench = Bench::new();
    std::fs::write(bench.path("types"), "attn_k=q8_0 blk.1.ffn_up=q5_1\n").unwrap();
    bench.run("Q4_K_M", &["--tensor-type-file", "@types"]).ok();
    std::fs::rename(bench.path("out.gguf"), bench.path("published.gguf")).unwrap();
    let ran = bench.run("Q4_K_M", &["--like", "@published.gguf"]).ok();
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    let [own, published] =
        ["out.gguf", "published.gguf"].map(|name| std::fs::read(bench.path(name)).unwrap());
    assert!(own == published);
    std::fs::remove_file(bench.path("out.gguf")).unwrap();
    // Another type decides only where the file has nothing, and a name that is told comes first.
    bench.run("Q6_K_L", &["--like", "@published.gguf", "--tensor-type", "attn_k=q4_0"]).ok();
    let (out, published) = (bench.output(), model(&bench.path("published.gguf")));
    for tensor in &out.tensors {
        let due = if tensor.name.contains("attn_k.") { DType::Q4_0 } else { dtype(&published, &tensor.name) };
        assert_eq!(tensor.dtype(), due, "{}", tensor.name);
    }
    std::fs::remove_file(bench.path("out.gguf")).unwrap();
    let ran = bench.run("Q4_K_M", &["--like", "@published.gguf", "--prune-layers", "0"]).ok();
    assert!(ran.err.contains("published.gguf are not in the model"), "{}", ran.err);
}

#[test]
fn values_of_the_metadata_of_any_type() {
    let bench = Bench::new();
    let options =
        ["a.int=int:-5", "a.wide=u64:7", "a.list=[i32]:1,-2", "general.file_type=u32:7", "a.text=str:x=y"];
    let options: Vec<&str> = options.iter().flat_map(|o| ["--override-kv", o]).collect();
    bench.run("Q8_0", &options).ok();
    let m = bench.output().metadata;
    let last: Vec<(&str, Value)> =
        m.iter().skip(m.len() - 5).map(|(key, value)| (key, value.clone())).collect();
    assert_eq!(
        last,
        [
            ("a.int", Value::I32(-5)),
            ("a.wide", Value::U64(7)),
            ("a.list", vec![1i32, -2].into()),
            ("general.file_type", Value::U32(7)),
            ("a.text", Value::from("x=y")),
        ]
    );
    std::fs::remove_file(bench.path("out.gguf")).unwrap();
    assert_eq!(bench.fails("Q8_0", &["--override-kv", "a=1"]).0, 2);
}

#[test]
fn layers_can_be_left_out() {
    let bench = Bench::new();
    let ran = bench.run("Q4_0", &["--prune-layers", "1", "--imatrix", "@m.imatrix"]).ok();
    assert!(ran.err.contains("layers left out: 1; those after them are renumbered"), "{}", ran.err);
    let out = bench.output();
    assert_eq!(out.metadata.u64("llama.block_count"), Some(2));
    assert!(!out.tensors.iter().any(|t| t.name.starts_with("blk.2.")));
    // Layer 1 was layer 2, with its weights and their importance.
    bench.run("Q4_0", &["--imatrix", "@m.imatrix"]).ok();
    let whole = bench.output();
    let bytes = |model: &Model, name: &str| {
        let t = model.tensors.iter().find(|t| t.name == name).unwrap();
        t.with_rows(0..t.shape().rows() as usize, |bytes| Ok(bytes.to_vec())).unwrap()
    };
    assert_eq!(bytes(&out, "blk.1.attn_q.weight"), bytes(&whole, "blk.2.attn_q.weight"));
    std::fs::remove_file(bench.path("out.gguf")).unwrap();
    for layers in ["3", "0,1,2"] {
        let (code, said) = bench.fails("Q4_0", &["--prune-layers", layers]);
        assert_eq!((code, said.contains("some of the layers 0 to 2, not all")), (2, true), "{said}");
    }
}
