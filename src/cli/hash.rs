//! `ggraft hash`: the hashes of a model's weights, in the lines of llama-gguf-hash, and the comparison with such lines.

use super::{options, stdout};
use crate::hash::{self, ALGORITHMS, Algorithm, Hash, Manifest, Verdict};
use crate::report;
use crate::stages::Stages;
use ggraft_formats::error::Printable;
use ggraft_formats::{Error, Input, Kind, Result, Tensor};
use serde_json::{Value as Json, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A .gguf file (of a split model the first part: all parts are hashed), a .safetensors file or a Hugging Face
    /// directory; the weights are hashed as they are stored, metadata is not
    file: PathBuf,
    /// The 64-bit xxHash; fast, and what is hashed by default
    #[arg(long)]
    xxh64: bool,
    #[arg(long)]
    sha1: bool,
    #[arg(long)]
    sha256: bool,
    /// A UUID (version 5) of the whole model
    #[arg(long)]
    uuid: bool,
    /// All hashes; not the UUID
    #[arg(long)]
    all: bool,
    /// Hash the whole model only, not each tensor
    #[arg(long)]
    no_layer: bool,
    /// Compare with the lines of this file; the strongest hash that it holds, unless another is asked for
    #[arg(short, long, value_name = "MANIFEST")]
    check: Option<PathBuf>,
    /// Worker threads; by default one for each core
    #[arg(short, long, value_name = "N", value_parser = options::threads)]
    threads: Option<usize>,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The algorithms that were asked for.
    fn algorithms(&self) -> Vec<&'static Algorithm> {
        let asked = |a: &&Algorithm| match a.name {
            "uuid" => self.uuid,
            "sha1" => self.sha1 || self.all,
            "sha256" => self.sha256 || self.all,
            _ => self.xxh64 || self.all,
        };
        ALGORITHMS.iter().filter(asked).collect()
    }
}

pub(super) fn run(args: Args) -> Result<()> {
    let tensors = match ggraft_formats::open(&args.file)? {
        Input::Model(model) => model.tensors,
        Input::Checkpoint(checkpoint) => checkpoint.tensors,
    };
    let pool = options::thread_pool(args.threads)?;
    let mut algorithms = args.algorithms();
    if let Some(manifest) = &args.check {
        return pool.install(|| check(&args, &tensors, manifest, algorithms));
    }
    if algorithms.is_empty() {
        algorithms = ALGORITHMS.iter().filter(|a| a.name == "xxh64").collect();
    }
    let mut told = Vec::new();
    pool.install(|| {
        hash::hash(&tensors, &algorithms, !args.no_layer, &*watch(&args), |hash| {
            told.push(hash_json(&hash, None));
            if args.json { Ok(()) } else { stdout::line(&line(&hash, &args.file)) }
        })
    })?;
    if args.json {
        print_json(json!({ "file": args.file.to_string_lossy(), "hashes": told }))
    } else {
        Ok(())
    }
}

/// Where lines show how the work goes on there is no bar between them.
fn watch(args: &Args) -> Arc<dyn Stages> {
    let lines = !args.json && !args.no_layer && std::io::stdout().is_terminal();
    if lines { Arc::new(()) } else { options::reading() }
}

fn hash_json(hash: &Hash, verdict: Option<Verdict>) -> Json {
    let verdict = verdict.map(Verdict::word);
    let mut json = json!({ "algorithm": hash.algorithm.name, "tensor": hash.tensor, "digest": hash.digest });
    if let Some(word) = verdict {
        json["verdict"] = json!(word);
    }
    json
}

fn print_json(json: Json) -> Result<()> {
    stdout::line(&report::printable(&format!("{json:#}")))
}

/// A line of a manifest.
fn line(hash: &Hash, file: &Path) -> String {
    let file = file.to_string_lossy();
    let tensor = hash.tensor.map(|name| format!(":{}", Printable(name))).unwrap_or_default();
    format!("{:<8}  {}  {}{tensor}", hash.algorithm.name, hash.digest, Printable(&file))
}

fn check(args: &Args, tensors: &[Tensor], path: &Path, asked: Vec<&'static Algorithm>) -> Result<()> {
    let mut manifest = Manifest::read(path, &args.file)?;
    let known = manifest.algorithms();
    let names: Vec<&str> = known.iter().map(|a| a.name).collect();
    let shown = path.to_string_lossy();
    let say = |line: &str| if args.json { Ok(()) } else { stdout::told(line) };
    say(&format!("manifest  {}  {}", Printable(&shown), names.join("  ")))?;
    let algorithms = if asked.is_empty() { known.into_iter().take(1).collect() } else { asked };
    let (mut wrong, mut told) = (0, Vec::new());
    hash::hash(tensors, &algorithms, !args.no_layer, &*watch(args), |hash| {
        let verdict = manifest.check(&hash);
        wrong += usize::from(verdict != Verdict::Same);
        told.push(hash_json(&hash, Some(verdict)));
        say(&format!("{}  -  {}", line(&hash, &args.file), verdict.word()))
    })?;
    let unseen = manifest.unseen(&algorithms).filter(|_| !args.no_layer);
    let word = if wrong == 0 && unseen.is_none() { "Success" } else { "Failure" };
    say(&format!("\nVerification results for {} - {word}", Printable(&shown)))?;
    if args.json {
        let ok = word == "Success";
        print_json(
            json!({ "file": args.file.to_string_lossy(), "manifest": shown, "ok": ok, "hashes": told }),
        )?;
    }
    let error = (wrong > 0).then(|| {
        Error::new(Kind::Verification, "the weights are not those of the manifest")
            .file(&args.file)
            .found(format!("{wrong} hashes that differ or are not in it"))
    });
    Error::all(error.into_iter().chain(unseen).collect()).map_or(Ok(()), Err)
}
