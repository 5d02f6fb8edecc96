//! What an adapter is called: told by its own card and directory, as a model is. It has no size of its own.
//! Specification: `gguf.Metadata` of llama.cpp's gguf-py, as its `convert_lora_to_gguf.py` uses it.

use super::general;
use super::id::Size;
use crate::arch::config::Config;
use ggraft_formats::{Checkpoint, Metadata, Result};
use serde_json::Map;

/// `general.*` of the adapter in `checkpoint`, from `type` on.
pub(crate) fn adapter(checkpoint: &Checkpoint, warnings: &mut Vec<String>) -> Result<Metadata> {
    let file = checkpoint.dir.join("config.json");
    let json = checkpoint.json("config.json")?.unwrap_or_else(|| serde_json::json!({}));
    let config = Config::new(file, json)?;
    let counted = general::metadata(checkpoint, &config, &Size::default(), &Map::new(), warnings)?;
    let mut metadata = Metadata::new();
    for (key, value) in counted.iter() {
        match key {
            "general.type" => {
                metadata.set(key, "adapter");
                metadata.set("adapter.type", "lora");
            }
            _ => metadata.set(key, value.clone()),
        }
    }
    Ok(metadata)
}
