//! What looks like a model and is none, or is not the one that its `config.json` says: adapters, weights without
//! their prefix, what a quantization left behind, an index of other shards. One cause has one message.

use super::config::Config;
use crate::unpack;
use ggraft_formats::{Checkpoint, DType, Error, Model, Result, Tensor};

const ADAPTER_CONFIG: &str = "adapter_config.json";
const MERGE_FIRST: &str =
    "merge the adapter into its base model first (in PEFT: merge_and_unload, then save_pretrained)";

/// Refuses a GGUF that holds no model.
pub fn gguf(model: &Model) -> Result<()> {
    let kind = model.metadata.str("general.type").unwrap_or("model");
    let refused = |what: &str, hint: &str| {
        let e = Error::unsupported(format!("this is {what}, not a model")).hint(hint);
        Err(model.containers.iter().fold(e, |e, file| e.file(file.path())))
    };
    match kind {
        "adapter" => refused("a LoRA adapter", "merge it into its base model first: llama-export-lora does"),
        "imatrix" => refused("an importance matrix", "give it with --imatrix"),
        _ if model.metadata.get("adapter.type").is_some() => {
            refused("an adapter", "merge it into its base model first: llama-export-lora does")
        }
        _ => Ok(()),
    }
}

/// Refuses an adapter; says so if one lies beside a model, for it is not applied.
pub fn adapter(checkpoint: &Checkpoint) -> Result<Option<String>> {
    let is_part = |t: &&Tensor| {
        [".lora_A", ".lora_B", ".lora_embedding_", ".lora_magnitude"].iter().any(|p| t.name.contains(p))
    };
    if let Some(part) = checkpoint.tensors.iter().find(is_part) {
        return Err(Error::unsupported("this is a LoRA adapter, not a model")
            .file(&checkpoint.dir)
            .tensor(&part.name)
            .hint(MERGE_FIRST));
    }
    let lies_beside = checkpoint.has(ADAPTER_CONFIG);
    Ok(lies_beside.then(|| format!("{ADAPTER_CONFIG} lies beside the weights: that adapter is not applied")))
}

/// Refuses weights that a bare model has saved, under a config that says it has a head: every one of them would be unknown.
pub fn bare_names(class: &str, checkpoint: &Checkpoint) -> Result<()> {
    const PREFIX: &str = "model.";
    let begins = |start: &str| checkpoint.tensors.iter().find(|t| t.name.starts_with(start));
    let Some(bare) = begins("layers.0.").filter(|_| class.contains("For") && begins(PREFIX).is_none()) else {
        return Ok(());
    };
    Err(Error::invalid(format!("the tensors have the names of a bare model, not of a {class}"))
        .file(&checkpoint.dir)
        .expected(format!("'{PREFIX}{}' and so on", bare.name))
        .found(format!("'{}', none of {} begins with '{PREFIX}'", bare.name, checkpoint.tensors.len()))
        .hint("load the model with transformers and save it again (save_pretrained)"))
}

/// Refuses weights that a trainer's tool has quantized; a config that says so of plain weights has not been kept up to date,
/// and that is told. `BitNet` quantizes plain weights when they are loaded.
pub fn quantized(config: &Config, checkpoint: &Checkpoint) -> Result<Option<String>> {
    let (file, key, method) = match config.section("quantization_config")? {
        Some(section) => {
            let method = section.text("quant_method")?.or(section.text("quant_algo")?);
            ("config.json", "quantization_config", method.unwrap_or("an unnamed method").to_string())
        }
        None if checkpoint.has("hf_quant_config.json") => {
            ("hf_quant_config.json", "the file", String::from("modelopt"))
        }
        None => return Ok(None),
    };
    let is_plain = |t: &Tensor| matches!(t.dtype(), DType::F64 | DType::F32 | DType::F16 | DType::BF16);
    if method != "bitnet" && checkpoint.tensors.iter().all(is_plain) {
        return Ok(Some(format!(
            "{file} says that the weights are quantized with {method}, but all are plain floats: {key} is taken for a leftover"
        )));
    }
    if unpack::METHODS.contains(&method.as_str()) {
        return Ok(None);
    }
    Err(Error::unsupported(format!("the checkpoint is quantized with {method}"))
        .file(&checkpoint.dir.join(file))
        .expected("weights in f32, f16 or bf16")
        .hint("take the checkpoint it was made from, or dequantize it with the tool that quantized it"))
}

/// Where index and shards disagree about tensors that are used, or that were missed: the cause of what else is wrong.
pub fn disagreements<T>(
    checkpoint: &Checkpoint,
    adopted: Result<T>,
    is_used: impl Fn(&str) -> bool,
) -> Result<T> {
    let all = checkpoint.disagreements.iter();
    let matters = all.filter(|d| if d.is_held { is_used(&d.tensor) } else { adopted.is_err() });
    match Error::all(matters.map(|d| d.error()).collect()) {
        Some(e) => Err(e),
        None => adopted,
    }
}
