//! Mistral's own layout of a checkpoint: `params.json` in place of `config.json`, and names of tensors that are not those of
//! Hugging Face. The names tell it, for a directory may hold both.
//! Specification: `--mistral-format` of llama.cpp's converter; the published repositories.

use ggraft_formats::{Checkpoint, Error, Metadata, Result};
use serde_json::{Value, json};

/// The file that tells the sizes.
pub const FILE: &str = "params.json";

/// The class of its page, which no `config.json` names.
pub const CLASS: &str = "MistralNative";

/// What it tells, with the class of its page, if the weights are of this layout.
pub fn params(checkpoint: &Checkpoint) -> Result<Option<Value>> {
    let is = checkpoint.tensors.iter().any(|t| t.name == "tok_embeddings.weight");
    if !is || !checkpoint.has(FILE) {
        return Ok(None);
    }
    let mut params = checkpoint.required_json(FILE)?;
    if params.get("moe").is_some_and(|moe| !moe.is_null()) {
        return Err(Error::unsupported("experts in Mistral's own layout are not covered")
            .file(&checkpoint.dir.join(FILE))
            .found("'moe'")
            .hint("take the weights in Hugging Face's layout (model-*.safetensors and config.json)"));
    }
    if let Some(params) = params.as_object_mut() {
        params.insert(String::from("architectures"), json!([CLASS]));
    }
    Ok(Some(params))
}

/// Says so if the model sees, for nothing takes its tower out of this layout.
pub fn left(class: &str, checkpoint: &Checkpoint) -> Option<String> {
    let sees = checkpoint.tensors.iter().any(|t| t.name.starts_with("vision_encoder."));
    (class == CLASS && sees).then(|| {
        String::from(
            "what sees of the model is left out: it can be taken from Hugging Face's layout alone (--mmproj)",
        )
    })
}

/// Adds the tokenizer's keys to those of the model. Of this layout the tokenizer tells the number of tokens.
pub fn extend(metadata: &mut Metadata, tokenizer: Metadata, class: &str) {
    const TYPES: &str = "tokenizer.ggml.token_type";
    let key = format!("{}.vocab_size", metadata.str("general.architecture").unwrap_or_default());
    let mut size = (class == CLASS).then(|| metadata.remove(&key)).flatten();
    for (name, value) in tokenizer.iter() {
        metadata.set(name, value.clone());
        if let Some(size) = size.take_if(|_| name == TYPES) {
            metadata.set(&key, size);
        }
    }
}
