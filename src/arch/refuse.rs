//! What looks like a model and is none, or is not the one that its `config.json` says: adapters, weights without
//! their prefix, an index of other shards. One cause has one message.

use super::families::Family;
use ggraft_formats::{Checkpoint, Error, Model, Result, Tensor};

const ADAPTER_CONFIG: &str = "adapter_config.json";
const MERGE_FIRST: &str =
    "merge the adapter into its base model first: ggraft merge --onto MODEL --adapter DIR";

/// Refuses a GGUF that holds no model.
pub fn gguf(model: &Model) -> Result<()> {
    let kind = model.metadata.str("general.type").unwrap_or("model");
    let refused = |what: &str, hint: &str| {
        let e = Error::unsupported(format!("this is {what}, not a model")).hint(hint);
        Err(model.containers.iter().fold(e, |e, file| e.file(file.path())))
    };
    match kind {
        "adapter" => refused(
            "a LoRA adapter",
            "merge it into its base model first: ggraft merge --onto MODEL --adapter FILE",
        ),
        "imatrix" => refused("an importance matrix", "give it with --imatrix"),
        _ if model.metadata.get("adapter.type").is_some() => refused(
            "an adapter",
            "merge it into its base model first: ggraft merge --onto MODEL --adapter FILE",
        ),
        _ => Ok(()),
    }
}

/// Refuses an adapter, but for what the page that is found knows as a part of a model; says so if one lies beside a model, for
/// it is not applied.
pub fn adapter(checkpoint: &Checkpoint, page: impl FnOnce() -> Result<Family>) -> Result<Option<String>> {
    let is_part = |t: &&Tensor| {
        [".lora_A", ".lora_B", ".lora_embedding_", ".lora_magnitude"].iter().any(|p| t.name.contains(p))
    };
    let mut parts = checkpoint.tensors.iter().filter(is_part).peekable();
    let page = parts.peek().and_then(|_| page().ok());
    let is_named = |part: &&Tensor| page.as_ref().is_some_and(|page| page.names(&part.name));
    let mut others = parts.filter(|part| !is_named(part)).peekable();
    let lies_within = others.peek().is_some();
    if let Some(part) = others.find(|part| page.as_ref().is_none_or(|page| !page.ignores(&part.name, 0))) {
        return Err(Error::unsupported("this is a LoRA adapter, not a model")
            .file(&checkpoint.dir)
            .tensor(&part.name)
            .hint(MERGE_FIRST));
    }
    if lies_within {
        return Ok(Some(String::from(
            "the adapters for its tasks are GGUFs of their own: `ggraft convert` writes them beside the model's, as lora-TASK-NAME.gguf",
        )));
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
