//! A grafted model must stop after its turn. When CP has no chat template, the chat model's is handed over,
//! and with it the end of turn that the template writes: the same token, under the id that it has in CP.

use crate::vocab::Tokens;
use ggraft_formats::{Metadata, Result};

const TEMPLATE: &str = "tokenizer.chat_template";
const TURN_ENDS: [&str; 3] =
    ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

/// Hands `chat`'s template and turn ends over to `out`, unless `out` has a template. Returns what was done.
pub(super) fn chat_template(out: &mut Metadata, chat: &Metadata) -> Result<Vec<String>> {
    if out.get(TEMPLATE).is_some() {
        return Ok(Vec::new());
    }
    let templates: Vec<_> = chat.iter().filter(|(key, _)| key.starts_with(TEMPLATE)).collect();
    if templates.is_empty() {
        return Ok(vec![String::from("neither CP nor the chat model has a chat template")]);
    }
    for (key, value) in templates {
        out.set(key, value.clone());
    }
    let mut notes = vec![String::from("CP has no chat template: the chat model's is taken")];
    let (Some(ours), Some(theirs)) = (Tokens::of(out)?, Tokens::of(chat)?) else { return Ok(notes) };
    let mut changes = Vec::new();
    for key in TURN_ENDS {
        let id = chat.u64(key).and_then(|id| usize::try_from(id).ok());
        let Some(token) = id.and_then(|id| theirs.tokens.get(id)) else { continue };
        let id = ours.tokens.iter().position(|t| t == token).and_then(|id| u32::try_from(id).ok());
        match id {
            Some(id) if out.u64(key) == Some(id.into()) => {}
            Some(id) => {
                notes.push(format!("{key} becomes {id} ('{token}'), as in the chat model"));
                changes.push((key, id));
            }
            None => notes.push(format!(
                "warning: the chat model's {key} is '{token}', which is not a token of CP: the model may not stop after its turn"
            )),
        }
    }
    for (key, id) in changes {
        out.set(key, id);
    }
    Ok(notes)
}
