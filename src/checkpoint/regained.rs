//! A GGUF as the checkpoint that it may have come from: its files are written in memory, its tensors have the trainer's names,
//! and all of it is read again as any checkpoint is. What then is not as the GGUF says is told.
//! Specification: the files that `save_pretrained` of transformers writes.

use super::{CARD, Source, modules};
use crate::arch::{self, about};
use crate::vocab;
use ggraft_formats::mmap::Mapping;
use ggraft_formats::model::parse_json;
use ggraft_formats::source::{Container, Folder, Remote};
use ggraft_formats::{Checkpoint, DType, Error, Metadata, Model, Result, Tensor, Value as Told};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files that lie in memory.
struct Memory(HashMap<PathBuf, Vec<u8>>);

impl Remote for Memory {
    fn has(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    fn whole(&self, path: &Path) -> Result<Option<Mapping>> {
        Ok(self.0.get(path).map(|bytes| Mapping::of_bytes(bytes.clone(), path, "")))
    }

    fn container(&self, path: &Path) -> Result<Container> {
        let file = self.whole(path)?.map(Container::Mapped);
        file.ok_or_else(|| Error::invalid("no weights lie here").file(path))
    }

    fn hands(&self) -> usize {
        1
    }
}

/// Weights in blocks as floats, which is how checkpoints have them: where there are some, all weights as floats of one dtype,
/// for some of them may become one tensor.
pub fn plain(model: Model) -> Result<Model> {
    let is_float = |t: &Tensor| matches!(t.dtype(), DType::F64 | DType::F32 | DType::F16 | DType::BF16);
    if model.tensors.iter().all(is_float) {
        return Ok(model);
    }
    let plain = |tensor: Tensor| tensor.encode(DType::F32, None);
    let tensors = model.tensors.into_iter().map(plain).collect::<Result<_>>()?;
    Ok(Model { tensors, ..model })
}

/// The checkpoint of a GGUF, and what a user should know about it.
///
/// # Errors
/// There is no page for its architecture, or it has tensors that the page does not know; its tokenizer cannot be written.
pub fn source(model: &Model) -> Result<(Source, Vec<String>)> {
    let model = arch::apart(plain(model.clone())?)?;
    let place = model.containers.first().map_or(PathBuf::new(), |file| file.path().to_path_buf());
    let whole = model.clone();
    let (model, dense) = arch::modules::apart(model);
    let back = arch::regain(&model).map_err(|e| e.file(&place))?;
    let words = vocab::regained(&model.metadata).map_err(|e| e.file(&place))?;
    let mut notes = words.notes;
    let mut config = back.config;
    config["torch_dtype"] = json!(usual(&model));
    let mut files: Vec<(String, Vec<u8>)> = words.files;
    if let Some(all) = super::template::listed(&model.metadata) {
        with_templates(&mut files, &all)?;
    }
    let mut put = |name: &str, json: &Value| files.push((name.into(), format!("{json:#}\n").into_bytes()));
    put("config.json", &config);
    let sampling = about::sampling_of(&model.metadata);
    put("generation_config.json", &Value::Object(sampling));
    files.extend(modules::regained(&model.metadata, &dense)?);
    files.push((CARD.into(), card(&model.metadata)));
    files.extend(super::template::regained(&model.metadata));
    let dir = place.with_extension("");
    let held = files.into_iter().map(|(name, bytes)| (dir.join(name), bytes)).collect();
    let tensors = back.tensors.into_iter().map(|named| named.tensor.renamed(&named.name)).collect();
    let checkpoint = Checkpoint {
        folder: Folder::elsewhere(Arc::new(Memory(held))),
        dir,
        tensors,
        format: "safetensors",
        ..Checkpoint::default()
    };
    notes.extend(checked(&checkpoint, &whole, !dense.is_empty())?);
    if checkpoint.has("modules.json") {
        let further = if dense.is_empty() { "further modules (Dense, Normalize)" } else { "Normalize" };
        notes.push(format!(
            "a GGUF tells how the vectors of a text become one, and not whether that one goes through {further}"
        ));
    }
    if !back.made.is_empty() {
        let names = back.made.join(", ");
        notes.push(format!("config.json cannot say the values that the GGUF has in {names}"));
    }
    if !back.multiplied.is_empty() {
        let names = back.multiplied.join(", ");
        notes.push(format!(
            "what the trainer multiplies weights with is in the GGUF's, and config.json says one: {names}"
        ));
    }
    if !back.untold.is_empty() {
        notes.push(format!(
            "a GGUF does not tell {}: transformers takes the defaults of its model type",
            back.untold.join(", ")
        ));
    }
    if !back.is_known {
        notes.push(String::from(
            "transformers does not have this class: it needs the code that was published with the model (auto_map)",
        ));
    }
    Ok((Source { checkpoint, metadata: model.metadata, is_projector: false, stored: Vec::new() }, notes))
}

/// The dtype of the most weights, as PyTorch calls it.
fn usual(model: &Model) -> &'static str {
    let of = |dtype: DType| {
        let those = model.tensors.iter().filter(|t| t.dtype() == dtype);
        those.map(|t| t.shape().elements()).fold(0u64, u64::saturating_add)
    };
    let all = [(DType::F32, "float32"), (DType::F16, "float16"), (DType::BF16, "bfloat16")];
    all.into_iter().max_by_key(|(dtype, _)| of(*dtype)).map_or("float32", |(_, name)| name)
}

/// Reads the checkpoint again, and says what is not as the GGUF has it.
fn checked(checkpoint: &Checkpoint, model: &Model, dense: bool) -> Result<Vec<String>> {
    let pre = model.metadata.str("tokenizer.ggml.pre").map(String::from);
    let again = match arch::adopt(checkpoint, &arch::Options { dense, ..Default::default() }) {
        Ok(again) => again,
        Err(_) => arch::adopt(checkpoint, &arch::Options { pre, dense, ..Default::default() })?,
    };
    let mut other: Vec<String> = Vec::new();
    let shown = |value: Option<&Told>| match value {
        None => String::from("nothing"),
        Some(Told::Array(array)) => format!("{} values", array.len()),
        Some(value) => arch::json(value).to_string(),
    };
    for (key, told) in model.metadata.iter().filter(|(key, _)| matters(key)) {
        let found = again.model.metadata.get(key);
        if !arch::same(Some(told), found) {
            other.push(format!("{key} (the GGUF has {}, the directory {})", shown(Some(told)), shown(found)));
        }
    }
    for (key, found) in again.model.metadata.iter().filter(|(key, _)| matters(key)) {
        if model.metadata.get(key).is_none() {
            other.push(format!("{key} (the GGUF has nothing, the directory {})", shown(Some(found))));
        }
    }
    let held: HashMap<&str, &Tensor> = again.model.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    for tensor in &model.tensors {
        if held.get(tensor.name.as_str()).is_none_or(|t| t.shape() != tensor.shape()) {
            other.push(format!("the tensor {}", tensor.name));
        }
    }
    let sentence = || format!("the directory does not say all that the GGUF says: {}", other.join("; "));
    Ok((!other.is_empty()).then(sentence).into_iter().collect())
}

/// Whether a key says something of the model, not of its file.
fn matters(key: &str) -> bool {
    const OF_FILES: [&str; 3] = ["general.file_type", "general.quantization_version", "general.alignment"];
    let other = ["ggraft.", "split.", "quantize.", "general.quantized_by"];
    !OF_FILES.contains(&key) && !other.iter().any(|start| key.starts_with(start))
}

/// Says several chat templates where loaders look for them.
fn with_templates(files: &mut [(String, Vec<u8>)], all: &Value) -> Result<()> {
    if let Some((name, bytes)) = files.iter_mut().find(|(name, _)| name == "tokenizer_config.json") {
        let mut config = parse_json(bytes, Path::new(name.as_str()))?;
        config["chat_template"] = all.clone();
        *bytes = format!("{config:#}\n").into_bytes();
    }
    Ok(())
}

/// The model card: what `general.*` says, for the hub.
fn card(metadata: &Metadata) -> Vec<u8> {
    let mut text = String::from("---\n");
    for (key, value) in about::card_of(metadata) {
        text.push_str(&format!("{key}: {}\n", super::card::yaml(&value)));
    }
    let name = metadata.str("general.name").unwrap_or("A model");
    text.push_str(&format!("---\n\n# {}\n", crate::text::Printable(name)));
    text.into_bytes()
}
