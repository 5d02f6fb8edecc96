//! A whole chat vector in a directory: the differences of all tensors under the trainer's names, beside the config and
//! the tokenizer of chat, by whose tokens the rows of the tables find theirs in another model.

use crate::arch::{self, Values, Zeros};
use crate::merge::{CHAT_VECTOR, Graft, Options, Vector};
use crate::text::Printable;
use crate::unpack;
use bstr::BString;
use ggraft_formats::{Array, Checkpoint, DType, Error, Model, Result, Tensor};
use std::collections::HashSet;
use std::sync::Arc;

/// What `config.json` says of a directory that holds a vector and no model: what it was taken from.
pub const MARK: &str = "ggraft_vector";
const CONFIG: &str = "config.json";

/// The same in the metadata of the output.
pub const TOLD: &str = "ggraft.vector";

/// Whether this is a vector.
pub fn is(checkpoint: &Checkpoint) -> Result<bool> {
    Ok(checkpoint.json(CONFIG)?.is_some_and(|config| config.get(MARK).is_some()))
}

/// Refuses a vector where a model is due.
pub fn refuse(checkpoint: &Checkpoint) -> Result<()> {
    if !is(checkpoint)? {
        return Ok(());
    }
    Err(Error::unsupported("this is a chat vector, not a model")
        .file(&checkpoint.dir)
        .hint("put it on a model: ggraft merge --onto MODEL --adapter DIR"))
}

/// chat - base, as a model whose weights are those of the vector; what is to be told.
///
/// # Errors
/// The models are not of one shape.
pub fn difference(chat: &Model, base: &Model, held: Option<Vec<String>>) -> Result<(Model, Vec<String>)> {
    let how = Options { held, ..CHAT_VECTOR.into() };
    let vector = Vector { chat: as_adapter(chat.clone()), base: base.clone() };
    let graft = Graft::new(blank(chat)?, &[vector], how)?;
    let mut model = graft.model(&[1.0])?;
    let name = |model: &Model| model.metadata.str("general.name").unwrap_or("a model").to_string();
    model.metadata.retain(|key| !key.starts_with("ggraft.") && !key.starts_with("general.base_model."));
    model.metadata.set(TOLD, format!("{} - {}", name(chat), name(base)));
    Ok((model, [graft.notes, unmatched(chat, base)].concat()))
}

/// Says so if there are tokens without a difference.
fn unmatched(chat: &Model, base: &Model) -> Vec<String> {
    fn tokens(model: &Model) -> &[BString] {
        match model.metadata.get("tokenizer.ggml.tokens").and_then(|v| v.as_array()) {
            Some(Array::Str(all)) => all,
            _ => &[],
        }
    }
    let known: HashSet<&BString> = tokens(base).iter().collect();
    let new: Vec<&BString> = tokens(chat).iter().filter(|token| !known.contains(token)).collect();
    let note = |first: &&BString| {
        let (count, first) = (new.len(), first.to_string());
        let first = Printable(&first);
        format!(
            "{count} tokens of chat are not base's, {first} the first: their rows are zeros in the vector"
        )
    };
    new.first().map(note).into_iter().collect()
}

/// `model`, which is merged as adapters are: it has no say in the vocabulary, and is no relative to be judged.
fn as_adapter(mut model: Model) -> Model {
    model.metadata.set("general.type", "adapter");
    model
}

/// The vector that `checkpoint` holds.
pub fn vector(checkpoint: Checkpoint, options: &arch::Options) -> Result<Vector> {
    let adopted = arch::adopt(&unpack::unpacked(checkpoint)?, options)?;
    Ok(Vector { base: blank(&adopted.model)?, chat: as_adapter(adopted.model) })
}

/// `model` with weights that are zero to the trainer.
fn blank(model: &Model) -> Result<Model> {
    let values = Values::of(model.architecture().unwrap_or_default());
    let zeros = |t: &Tensor| {
        let zeros = Tensor::new(&t.name, *t.shape(), DType::F32, Arc::new(Zeros))?;
        values.get(&t.name).applied(zeros)
    };
    let tensors = model.tensors.iter().map(zeros).collect::<Result<_>>()?;
    Ok(Model { tensors, containers: Vec::new(), ..model.clone() })
}
