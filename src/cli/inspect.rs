//! `ggraft inspect`: what a GGUF file or a checkpoint holds, from its headers.

use crate::report;
use ggraft_formats::error::Printable;
use ggraft_formats::gguf::{self, Header};
use ggraft_formats::mmap::Mapping;
use ggraft_formats::{Checkpoint, Input, Model, Result, Tensor};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Arrays longer than this are only counted.
const MOST_ITEMS: usize = 16;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A Hugging Face directory, a .safetensors or a .gguf file
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
    /// Have gguf-rs read the GGUF header as well; the two readers must agree
    #[arg(long)]
    cross_check: bool,
}

pub(super) fn run(args: Args) -> Result<()> {
    let input = ggraft_formats::open(&args.path)?;
    let checks = match &input {
        Input::Model(model) if args.cross_check => cross_check(&model.containers)?,
        _ => Vec::new(),
    };
    match (&input, args.json) {
        (Input::Model(model), false) => print_model(model, args.tensors),
        (Input::Checkpoint(checkpoint), false) => print_checkpoint(checkpoint, args.tensors)?,
        (Input::Model(model), true) => print_json(&model_json(model, args.tensors)),
        (Input::Checkpoint(checkpoint), true) => print_json(&checkpoint_json(checkpoint, args.tensors)?),
    }
    for line in checks {
        eprintln!("{line}");
    }
    Ok(())
}

/// Asks gguf-rs about every file; a line for each.
pub(super) fn cross_check(containers: &[PathBuf]) -> Result<Vec<String>> {
    let check = |path: &PathBuf| -> Result<String> {
        let file = Mapping::open(path)?;
        let header = Header::parse(file.bytes(), path)?;
        let name = path.to_string_lossy();
        Ok(match gguf::cross_check(&file, &header)? {
            None => format!("{}: gguf-rs agrees", Printable(&name)),
            Some(reason) => format!("{}: not cross-checked: {}", Printable(&name), Printable(&reason)),
        })
    };
    containers.iter().map(check).collect()
}

fn print_json(json: &Json) {
    println!("{}", report::printable(&format!("{json:#}")));
}

fn print_model(model: &Model, list: bool) {
    print_containers("GGUF", &model.containers);
    for (key, value) in model.metadata.iter() {
        println!(
            "{} = {}",
            Printable(key),
            Printable(&report::metadata_value(value, MOST_ITEMS).to_string())
        );
    }
    print_tensors(&model.tensors, list);
}

fn print_checkpoint(checkpoint: &Checkpoint, list: bool) -> Result<()> {
    print_containers("safetensors", &checkpoint.containers);
    if let Some(config) = checkpoint.json("config.json")? {
        for key in ["architectures", "model_type", "num_hidden_layers", "hidden_size", "vocab_size"] {
            if let Some(value) = config.get(key) {
                println!("{key} = {}", Printable(&value.to_string()));
            }
        }
    }
    print_tensors(&checkpoint.tensors, list);
    Ok(())
}

fn print_containers(format: &str, containers: &[PathBuf]) {
    for path in containers {
        println!("{format}: {}", Printable(&path.to_string_lossy()));
    }
}

fn print_tensors(tensors: &[Tensor], list: bool) {
    let bytes = tensors.iter().map(Tensor::bytes).sum();
    let elements: u64 = tensors.iter().map(|t| t.shape().elements()).sum();
    println!("{} tensors, {elements} weights, {}", tensors.len(), report::size(bytes));
    let mut dtypes: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    for t in tensors {
        let entry = dtypes.entry(t.dtype().to_string()).or_default();
        entry.0 += 1;
        entry.1 += t.bytes();
    }
    for (dtype, (count, bytes)) in dtypes {
        println!("  {count:>5} {dtype:<8} {:>10}", report::size(bytes));
    }
    for t in tensors.iter().filter(|_| list) {
        println!("{:<48} {:>20} {}", Printable(&t.name).to_string(), t.shape(), t.dtype());
    }
}

fn model_json(model: &Model, list: bool) -> Json {
    let metadata: serde_json::Map<String, Json> =
        model.metadata.iter().map(|(k, v)| (k.to_string(), report::metadata_value(v, MOST_ITEMS))).collect();
    let mut json = tensors_json("GGUF", &model.containers, &model.tensors, list);
    json["metadata"] = Json::Object(metadata);
    json
}

fn checkpoint_json(checkpoint: &Checkpoint, list: bool) -> Result<Json> {
    let mut json = tensors_json("safetensors", &checkpoint.containers, &checkpoint.tensors, list);
    json["config"] = checkpoint.json("config.json")?.unwrap_or(Json::Null);
    Ok(json)
}

fn tensors_json(format: &str, containers: &[PathBuf], tensors: &[Tensor], list: bool) -> Json {
    let files: Vec<_> = containers.iter().map(|p: &PathBuf| Path::to_string_lossy(p)).collect();
    let mut json = json!({
        "format": format,
        "files": files,
        "tensor_count": tensors.len(),
        "elements": tensors.iter().map(|t| t.shape().elements()).sum::<u64>(),
        "tensor_bytes": tensors.iter().map(Tensor::bytes).sum::<u64>(),
    });
    if list {
        let one =
            |t: &Tensor| json!({ "name": t.name, "shape": t.shape().ne(), "dtype": t.dtype().to_string() });
        json["tensors"] = tensors.iter().map(one).collect();
    }
    json
}
