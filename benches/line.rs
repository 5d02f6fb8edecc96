//! How fast the line is, its single steps (`moved/`, `unpack/`) and whole commands on the 1.1 B trio: `cargo bench --bench line -- [PART OF A NAME]`.
//! With `GGRAFT_LLAMA_CPP` set, tables follow: quantizing against `llama_model_quantize`, merging against reading
//! the inputs and writing as many bytes as the output has, and each on one thread; in turn, medians. See README.md.

#[path = "../tests/peer/mod.rs"]
mod peer;
#[path = "../tests/support/mod.rs"]
mod support;

use cpu_time::ThreadTime;
use criterion::{Criterion, SamplingMode, Throughput};
use ggraft::{Target, Type, Work};
use peer::{QuantizeParams, peer};
use serde_json::json;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use support::checkpoint::write_sparse_weights;
use support::families::{Tiny, Words};
use support::packed::{self, SCHEMES};

/// Where the trio lies, seen from the workspace.
const TRIO: &str = "target/trio-1b";
const MODELS: [&str; 3] = ["base", "chat", "cp"];
/// The types that are measured, and their numbers in llama.cpp.
const TYPES: [(&str, i32); 5] = [("Q4_K_M", 15), ("Q5_K_M", 17), ("Q6_K", 18), ("Q8_0", 7), ("Q4_0", 2)];
const ROUNDS: usize = 3;

struct Bench {
    trio: PathBuf,
    /// CP in bf16.
    gguf: PathBuf,
    output: PathBuf,
    filter: String,
}

impl Bench {
    fn new(filter: String) -> Option<Bench> {
        let trio = Path::new(env!("CARGO_MANIFEST_DIR")).join(TRIO);
        if !MODELS.iter().all(|name| trio.join(name).is_dir()) {
            eprintln!(
                "SKIPPED: {TRIO} is not there; `cargo run --release --example generate -- trio-1b {TRIO}`"
            );
            return None;
        }
        let (gguf, output) = (trio.join("cp-bf16.gguf"), trio.join("output.gguf"));
        let bench = Bench { trio, gguf, output, filter };
        if !bench.gguf.exists() {
            bench.run(&["convert", "cp", "--type", "bf16", "-o", "cp-bf16.gguf"]);
        }
        Some(bench)
    }

    /// Runs the command line in the trio's directory; its seconds.
    fn run(&self, arguments: &[&str]) -> f64 {
        let start = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_ggraft"))
            .args(arguments)
            .args(["--force", "--quiet"])
            .current_dir(&self.trio)
            .stdout(Stdio::null())
            .status();
        assert!(status.is_ok_and(|s| s.success()), "{arguments:?}");
        start.elapsed().as_secs_f64()
    }

    fn merge(&self, kind: &str, threads: &str) -> f64 {
        let models = ["--base", "base", "--chat", "chat", "--onto", "cp"];
        let rest = ["--type", kind, "--threads", threads, "-o", "output.gguf"];
        self.run(&[&["merge"], &models[..], &rest[..]].concat())
    }

    fn quantize(&self, kind: &str, threads: &str) -> f64 {
        self.run(&["quantize", "cp-bf16.gguf", "output.gguf", kind, threads])
    }

    /// Reads the inputs of a merge and writes as much as its output has, and nothing in between; the seconds.
    fn copy(&self) -> f64 {
        let mut buffer = vec![0; 1 << 20];
        let bytes = std::fs::metadata(&self.output).map_or(0, |m| m.len());
        let start = Instant::now();
        for name in MODELS {
            let mut file = File::open(self.trio.join(name).join("model.safetensors")).unwrap();
            while file.read(&mut buffer).unwrap() > 0 {}
        }
        let path = self.trio.join("copy.bin");
        let mut file = File::create(&path).unwrap();
        for _ in 0..bytes.div_ceil(buffer.len() as u64) {
            file.write_all(&buffer).unwrap();
        }
        file.sync_all().unwrap();
        let seconds = start.elapsed().as_secs_f64();
        std::fs::remove_file(path).unwrap();
        seconds
    }

    fn wanted(&self, name: &str) -> bool {
        name.contains(&self.filter)
    }

    fn criterion(&self) {
        let mut criterion = Criterion::default().configure_from_args();
        let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |m| m.len());
        let model = size(self.gguf.clone());
        let inputs: u64 = MODELS.iter().map(|m| size(self.trio.join(m).join("model.safetensors"))).sum();
        let mut group = criterion.benchmark_group("line");
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        for (kind, _) in TYPES {
            group.throughput(Throughput::Bytes(inputs));
            group.bench_function(format!("merge/{kind}"), |b| b.iter(|| self.merge(kind, "2")));
            group.throughput(Throughput::Bytes(model));
            group.bench_function(format!("quantize/{kind}"), |b| b.iter(|| self.quantize(kind, "2")));
        }
        group.finish();
        criterion.final_summary();
    }

    /// Two kinds of work in turn; the median seconds of both, and of their ratios.
    fn row(&self, name: &str, mut ours: impl FnMut() -> f64, mut other: impl FnMut() -> f64) {
        if !self.wanted(name) {
            return;
        }
        let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            a.push(ours());
            b.push(other());
            ratios.push(b[b.len() - 1] / a[a.len() - 1]);
        }
        println!("| {name} | {:.2} | {:.2} | {:.2} |", median(b), median(a), median(ratios));
    }

    fn tables(&self) {
        let Some(peer) = peer() else { return };
        println!("\n| 2 threads | llama.cpp, s | ggraft, s | times faster |\n|---|---|---|---|");
        for (kind, number) in TYPES {
            let theirs = || {
                let start = Instant::now();
                let params = QuantizeParams { threads: 2, ..QuantizeParams::new(number) };
                peer.quantize_model(&self.gguf, &self.output, &params).unwrap();
                start.elapsed().as_secs_f64()
            };
            self.row(&format!("ratio/quantize/{kind}"), || self.quantize(kind, "2"), theirs);
        }
        println!("\n| 2 threads | read and write only, s | ggraft, s | ratio |\n|---|---|---|---|");
        for (kind, _) in TYPES {
            self.row(&format!("ratio/merge/{kind}"), || self.merge(kind, "2"), || self.copy());
        }
        println!("\n| scaling | 1 thread, s | 2 threads, s | times faster |\n|---|---|---|---|");
        for (kind, _) in TYPES {
            let (one, two) = (|| self.quantize(kind, "1"), || self.quantize(kind, "2"));
            self.row(&format!("ratio/threads/quantize/{kind}"), two, one);
            let (one, two) = (|| self.merge(kind, "1"), || self.merge(kind, "2"));
            self.row(&format!("ratio/threads/merge/{kind}"), two, one);
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A matrix of 4096 x 4096 in bf16 that lies as GGUF has it, and one that is transposed (`Conv1D`).
const MATRICES: [(&str, &str); 2] =
    [("straight", "position_embd.weight"), ("transposed", "blk.0.attn_output.weight")];

/// Both matrices read as the writer does, and converted to a file, on one thread. The transposed one should be converted
/// at a third of the other's speed.
fn moved(filter: &str) {
    if !"moved/straight moved/transposed".contains(filter) {
        return;
    }
    let config = json!({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 4096, "n_layer": 1,
        "n_head": 32, "n_positions": 4096, "n_ctx": 4096, "layer_norm_epsilon": 1e-5, "vocab_size": 50257});
    let tiny = Tiny { words: Words::Whole("gpt-2"), ..Tiny::new("wide", config) };
    let dir = tempfile::tempdir().unwrap();
    let config = tiny.write_files(dir.path());
    let mut weights = tiny.weights(&config);
    weights.retain(|w| w.name != "lm_head.weight");
    write_sparse_weights(&weights, dir.path());
    let loaded = ggraft::open(dir.path(), &Default::default()).unwrap();
    let mut out = vec![0; 1 << 20];
    let mut read = |name: &str| {
        let tensor = loaded.model.tensors.iter().find(|t| t.name == name).unwrap();
        let rows = out.len() / tensor.row_bytes();
        let start = Instant::now();
        for first in (0..tensor.shape().rows() as usize).step_by(rows) {
            tensor.read(first..first + rows, &mut out).unwrap();
        }
        start.elapsed().as_secs_f64()
    };
    let convert = |name: &str| {
        let mut one = loaded.clone();
        one.model.tensors.retain(|t| t.name == name);
        let plan = ggraft::convert(one, &Target::new(Type::parse("bf16").unwrap())).unwrap();
        let work = Work { force: true, ..Work::default() };
        let start = Instant::now();
        ggraft::write(&[(plan, dir.path().join("one.gguf"))], &work, &()).unwrap();
        start.elapsed().as_secs_f64()
    };
    in_turn("read", &mut read);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    in_turn("converted", &mut |name| pool.install(|| convert(name)));
}

/// A matrix of 4096 by 4096 of each method of packing, read as the writer does, on one thread.
fn unpacked(filter: &str) {
    let config = json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096,
        "intermediate_size": 4096, "num_hidden_layers": 1, "num_attention_heads": 32, "num_key_value_heads": 2,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true});
    for scheme in SCHEMES.iter().filter(|scheme| format!("unpack/{}", scheme.name).contains(filter)) {
        let dir = tempfile::tempdir().unwrap();
        packed::write_as(scheme, &Tiny::new("wide", config.clone()), dir.path());
        let loaded = ggraft::open(dir.path(), &Default::default()).unwrap();
        let tensor = loaded.model.tensors.iter().find(|t| t.name == "blk.0.ffn_up.weight").unwrap();
        let mut out = vec![0; 1 << 20];
        let rows = out.len() / tensor.row_bytes();
        let seconds = (0..10).map(|_| {
            let start = ThreadTime::now();
            for first in (0..tensor.shape().rows() as usize).step_by(rows) {
                tensor.read(first..first + rows, &mut out).unwrap();
            }
            start.elapsed().as_secs_f64()
        });
        let best = seconds.fold(f64::INFINITY, f64::min);
        let rate = tensor.shape().elements() as f64 / best / 1e6;
        println!("unpack/{}: {rate:.0} M weights/s into {}", scheme.name, tensor.dtype());
    }
}

/// Measures both matrices in turn, and prints the best of each.
fn in_turn(what: &str, seconds: &mut dyn FnMut(&str) -> f64) {
    let mut best = [f64::INFINITY; 2];
    for _ in 0..10 * ROUNDS {
        for ((_, tensor), best) in MATRICES.iter().zip(&mut best) {
            *best = best.min(seconds(tensor));
        }
    }
    let [straight, transposed] = best;
    println!("a transposed matrix is {what} at {:.2} of the speed of a straight one", straight / transposed);
    println!("  ({:.2} and {:.2} ms)", transposed * 1e3, straight * 1e3);
}

fn main() {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    moved(&filter);
    unpacked(&filter);
    let Some(bench) = Bench::new(filter) else { return };
    bench.criterion();
    bench.tables();
}
