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
pub fn specials(class: &str, special: &mut Special, metadata: &Metadata, warnings: &mut Vec<String>) -> Result<()> {
    let Some((_, texts)) = FAMILIES.iter().find(|(name, _)| *name == class) else { return Ok(()) };
    let Some(tokens) = Tokens::of(metadata)? else { return Ok(()) };
    for (kind, text) in *texts {
        match tokens.tokens.iter().position(|token| token == text) {
            Some(id) => special.id(kind, &id.into(), None, warnings),
            None => warnings.push(format!("the {kind} token of this family, '{text}', is not in the vocabulary")),
        }
    }
    Ok(())
}

/// Writes what the converter of a family writes last.
pub fn last(class: &str, files: &Files, metadata: &mut Metadata) {
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
        _ => {}
    }
}
