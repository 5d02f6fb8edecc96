//! What the converter knows of the special tokens of single families. Serves the door.
//! Specification: the `set_vocab` of `Glm4Model` and others of llama.cpp's converter.

use super::files::Files;
use super::special::Special;
use super::{SPACE_PREFIX, Tokens};
use ggraft_formats::{Metadata, Result};
use serde_json::Value;

/// Kinds of special tokens, and the texts that stand for those that no file names.
type Texts = &'static [(&'static str, &'static str)];

const GLM4: Texts =
    &[("eos", "<|endoftext|>"), ("eot", "<|user|>"), ("unk", "<|endoftext|>"), ("bos", "<|endoftext|>")];

const FAMILIES: &[(&str, Texts)] = &[("Glm4ForCausalLM", GLM4)];

/// Adds to `special` what the family of `class` names by text, where the tokens of `metadata` hold it.
pub fn specials(
    class: &str,
    special: &mut Special,
    metadata: &Metadata,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let Some((_, texts)) = FAMILIES.iter().find(|(name, _)| *name == class) else { return Ok(()) };
    let Some(tokens) = Tokens::of(metadata)? else { return Ok(()) };
    for (kind, text) in *texts {
        match tokens.tokens.iter().position(|token| token == text) {
            Some(id) => special.id(kind, &id.into(), None, warnings),
            None => {
                warnings.push(format!("the {kind} token of this family, '{text}', is not in the vocabulary"))
            }
        }
    }
    Ok(())
}

/// The end of a text that Hunyuan's configs have unless they say so.
const HUNYUAN_END: u32 = 3;

/// Writes what the converter of a family writes last.
pub fn last(class: &str, config: &Value, files: &Files, metadata: &mut Metadata) -> Result<()> {
    match class {
        "NemotronForCausalLM" => {
            metadata.set("tokenizer.ggml.padding_token_id", 0u32);
            metadata.set("tokenizer.ggml.unknown_token_id", 1u32);
        }
        "Ernie4_5_ForCausalLM" | "Ernie4_5ForCausalLM" | "Ernie4_5_MoeForCausalLM" => {
            if let Some(prefix) = files.config("add_prefix_space").and_then(Value::as_bool) {
                metadata.set(SPACE_PREFIX, prefix);
            }
        }
        "HunYuanDenseV1ForCausalLM" => {
            let id =
                |value: Option<&Value>| value.and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
            metadata
                .set("tokenizer.ggml.eos_token_id", id(config.get("eod_token_id")).unwrap_or(HUNYUAN_END));
            let generation = files.checkpoint.json("generation_config.json")?.unwrap_or_default();
            let ends = generation.get("eos_token_id").and_then(Value::as_array);
            if let Some(turn) = ends.filter(|ends| ends.len() > 1).and_then(|ends| id(ends.first())) {
                metadata.set("tokenizer.ggml.eot_token_id", turn);
            }
        }
        _ => {}
    }
    Ok(())
}
