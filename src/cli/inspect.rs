//! `ggraft inspect`: what a GGUF file or a checkpoint holds, from its headers.

use super::stdout;
use crate::report;
use crate::unpack;
use crate::version::needs;
use ggraft_formats::error::Printable;
use ggraft_formats::gguf::{self, Header};
use ggraft_formats::source::Container;
use ggraft_formats::{Checkpoint, Error, Input, Model, Result, Tensor};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Arrays longer than this are only counted.
const MOST_ITEMS: usize = 16;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A Hugging Face directory, a .safetensors, PyTorch or .gguf file
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
    /// Print tables in Markdown: the summary, the metadata, and every tensor with its size
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Have gguf-rs read the GGUF header as well; the two readers must agree
    #[arg(long)]
    cross_check: bool,
}

pub(super) fn run(args: Args) -> Result<()> {
    let input = ggraft_formats::open(&args.path)?;
    let checks = match &input {
        Input::Model(model) if args.cross_check => cross_check(&model.containers)?,
        Input::Model(_) => Vec::new(),
        Input::Checkpoint(checkpoint) => seen(checkpoint),
    };
    let pretty = |json: &Json| report::printable(&format!("{json:#}\n"));
    let text = match (&input, args.json) {
        (Input::Model(model), false) if args.markdown => markdown(model),
        (Input::Checkpoint(_), false) if args.markdown => {
            return Err(Error::usage("--markdown shows a GGUF file")
                .file(&args.path)
                .hint("leave it out, or give --json"));
        }
        (Input::Model(model), false) => model_text(model, args.tensors),
        (Input::Checkpoint(checkpoint), false) => checkpoint_text(checkpoint, args.tensors)?,
        (Input::Model(model), true) => pretty(&model_json(model, args.tensors)),
        (Input::Checkpoint(checkpoint), true) => pretty(&checkpoint_json(checkpoint, args.tensors)?),
    };
    stdout::print(text.as_bytes())?;
    report::print_notes(&checks, false);
    Ok(())
}

/// What was noticed of a checkpoint, and what unpacking it would do, or is wrong with it.
fn seen(checkpoint: &Checkpoint) -> Vec<String> {
    match unpack::unpacked(checkpoint.clone()) {
        Ok(unpacked) => unpacked.notes,
        Err(e) => checkpoint.notes.iter().cloned().chain(e.each()).collect(),
    }
}

/// Asks gguf-rs about every file; a line for each.
pub(super) fn cross_check(containers: &[Container]) -> Result<Vec<String>> {
    let check = |file: &Container| -> Result<String> {
        let header = Header::of(file)?;
        let name = file.path().to_string_lossy();
        Ok(match gguf::cross_check(file, &header)? {
            None => format!("{}: gguf-rs agrees", Printable(&name)),
            Some(reason) => format!("{}: not cross-checked: {}", Printable(&name), Printable(&reason)),
        })
    };
    containers.iter().map(check).collect()
}

fn model_text(model: &Model, list: bool) -> String {
    let mut out = containers_text("GGUF", &model.containers);
    for (name, value) in report::summary(model) {
        out += &format!("  {name:<15} {}\n", Printable(&value));
    }
    for (key, value) in model.metadata.iter() {
        let value = report::metadata_value(value, MOST_ITEMS).to_string();
        out += &format!("{} = {}{}\n", Printable(key), Printable(&value), beside(model, key));
    }
    out + &tensors_text(&model.tensors, list)
}

/// The text of a token beside its id.
fn beside(model: &Model, key: &str) -> String {
    let token = key.ends_with("_token_id").then(|| report::token(&model.metadata, key)).flatten();
    token.map_or(String::new(), |token| format!(" ('{}')", Printable(&token)))
}

fn checkpoint_text(checkpoint: &Checkpoint, list: bool) -> Result<String> {
    let mut out = containers_text(checkpoint.format, &checkpoint.containers);
    if let Some(config) = checkpoint.json("config.json")? {
        for key in ["architectures", "model_type", "num_hidden_layers", "hidden_size", "vocab_size"] {
            if let Some(value) = config.get(key) {
                out += &format!("{key} = {}\n", Printable(&value.to_string()));
            }
        }
    }
    Ok(out + &tensors_text(&checkpoint.tensors, list))
}

fn containers_text(format: &str, containers: &[Container]) -> String {
    let path = |file: &Container| format!("{format}: {}\n", Printable(&file.path().to_string_lossy()));
    containers.iter().map(path).collect()
}

fn tensors_text(tensors: &[Tensor], list: bool) -> String {
    let bytes = tensors.iter().map(Tensor::bytes).sum();
    let elements: u64 = tensors.iter().map(|t| t.shape().elements()).sum();
    let mut out = format!("{} tensors, {elements} weights, {}\n", tensors.len(), report::size(bytes));
    let mut dtypes: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    for t in tensors {
        let entry = dtypes.entry(t.dtype().to_string()).or_default();
        entry.0 += 1;
        entry.1 += t.bytes();
    }
    for (dtype, (count, bytes)) in dtypes {
        out += &format!("  {count:>5} {dtype:<8} {:>10}\n", report::size(bytes));
    }
    for t in tensors.iter().filter(|_| list) {
        out += &format!("{:<48} {:>20} {}\n", Printable(&t.name).to_string(), t.shape(), t.dtype());
    }
    out
}

fn markdown(model: &Model) -> String {
    let cell = |text: &str| {
        Printable(text).to_string().replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|")
    };
    let mut out = String::from("| | |\n|---|---|\n");
    for (name, value) in report::summary(model) {
        out += &format!("| {name} | {} |\n", cell(&value));
    }
    out += "\n| key | type | value |\n|---|---|---|\n";
    for (key, value) in model.metadata.iter() {
        let told = report::metadata_value(value, MOST_ITEMS).to_string();
        let beside = beside(model, key);
        out += &format!("| {} | {} | {} |\n", cell(key), value.type_name(), cell(&(told + &beside)));
    }
    let all = model.tensors.iter().map(Tensor::bytes).sum::<u64>().max(1);
    out += "\n| tensor | shape | dtype | size | share |\n|---|---|---|---|---|\n";
    for t in &model.tensors {
        let (bytes, name) = (t.bytes(), cell(&t.name));
        let share = bytes as f64 * 100.0 / all as f64;
        out +=
            &format!("| {name} | {} | {} | {} | {share:.2} % |\n", t.shape(), t.dtype(), report::size(bytes));
    }
    out
}

fn model_json(model: &Model, list: bool) -> Json {
    let metadata: serde_json::Map<String, Json> =
        model.metadata.iter().map(|(k, v)| (k.to_string(), report::metadata_value(v, MOST_ITEMS))).collect();
    let mut json = tensors_json("GGUF", &model.containers, &model.tensors, list);
    json["metadata"] = Json::Object(metadata);
    json["llama_cpp"] = report::needs_json(&needs(&model.metadata, model.tensors.iter().map(Tensor::dtype)));
    json
}

fn checkpoint_json(checkpoint: &Checkpoint, list: bool) -> Result<Json> {
    let mut json = tensors_json(checkpoint.format, &checkpoint.containers, &checkpoint.tensors, list);
    json["config"] = checkpoint.json("config.json")?.unwrap_or(Json::Null);
    Ok(json)
}

fn tensors_json(format: &str, containers: &[Container], tensors: &[Tensor], list: bool) -> Json {
    let files: Vec<_> = containers.iter().map(|file| file.path().to_string_lossy()).collect();
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
