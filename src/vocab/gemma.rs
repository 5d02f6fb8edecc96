//! What the converter adds to a vocabulary of Gemma: no space before the text, and the end of a turn of Gemma 1, which
//! its files do not name. Serves the door.
//! Specification: the `set_vocab` of `GemmaModel`, `Gemma2Model`, `Gemma3Model` of llama.cpp's converter.

use super::{SPACE_PREFIX, Tokens};
use ggraft_formats::{Metadata, Result};

const GEMMA: &str = "GemmaForCausalLM";
const LATER: &[&str] =
    &["Gemma2ForCausalLM", "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration", "Gemma3TextModel"];

/// `<end_of_turn>`.
const END_OF_TURN: u32 = 107;

/// Adds to `metadata`, which holds the whole vocabulary of a model of `class`.
pub fn finish(class: &str, metadata: &mut Metadata) -> Result<()> {
    if class != GEMMA && !LATER.contains(&class) {
        return Ok(());
    }
    let holds = Tokens::of(metadata)?.is_some_and(|tokens| tokens.len() > END_OF_TURN as usize);
    if class == GEMMA && holds {
        metadata.set("tokenizer.ggml.eot_token_id", END_OF_TURN);
    }
    if metadata.str("tokenizer.ggml.model") == Some("llama") {
        metadata.set(SPACE_PREFIX, false);
    }
    Ok(())
}
