//! The model card of finished GGUF files, for the folder that they lie in. A card that is there already goes on with its
//! rows of other files.

use super::finished::Output;
use super::modelfile;
use super::plan::size;
use crate::checkpoint::{self, Card, File, Publication, is_sealed};
use crate::device;
use crate::merge::Origin;
use ggraft_formats::{Array, Metadata, Value};

/// What the hub may call the use of a model; the first that a model tells of itself is taken.
const TASKS: [&str; 6] = [
    "text-generation",
    "image-text-to-text",
    "feature-extraction",
    "sentence-similarity",
    "text-ranking",
    "translation",
];

const UNNAMED: &str = "A model";

/// What of a run the outputs do not tell.
#[derive(Clone, Copy)]
pub struct Making<'a> {
    /// What was typed, with paths reduced to names.
    pub command: &'a str,
    /// What a merge has computed.
    pub formula: Option<&'static str>,
    /// The recipe of a merge.
    pub recipe: Option<&'a str>,
}

/// The card of these outputs, which share a folder; `earlier` is the text of the card that is there, and what lies beside it.
pub fn card(outputs: &[&Output<'_>], made: Making<'_>, earlier: Option<(&str, &[String])>) -> Option<Card> {
    let plan = outputs.first()?.plan;
    let metadata = plan.metadata();
    let files = outputs.iter().flat_map(|o| o.files.iter().map(|file| (o.plan, file)));
    let files = files.map(|(plan, file)| File {
        name: file.name.clone(),
        kind: plan.encoding(),
        bits_per_weight: plan.bits_per_weight(),
        adapter: plan.is_adapter().then(|| adapter(plan.metadata())),
        size: size(file.bytes),
        sha256: file.sha256.clone(),
    });
    let mut notes: Vec<String> = Vec::new();
    for note in outputs.iter().flat_map(|o| &o.plan.notes) {
        if !notes.contains(note) {
            notes.push(note.clone());
        }
    }
    Some(Card {
        name: metadata.str("general.name").unwrap_or(UNNAMED).to_string(),
        formula: made.formula,
        origins: origins(outputs, &plan.origins),
        licence: metadata.str("general.license").map(String::from),
        command: made.command.to_string(),
        notes,
        files: files.collect(),
        publication: Publication {
            recipe: made.recipe.map(String::from),
            earlier: earlier.map_or_else(Vec::new, |(card, held)| rows(card, held, metadata)),
            runs: outputs.iter().all(|o| o.runs() || o.plan.is_adapter()),
            ..publication(metadata)
        },
    })
}

/// What an adapter is for.
fn adapter(metadata: &Metadata) -> String {
    metadata
        .str("adapter.lora.task_name")
        .map_or(String::from("an adapter"), |task| format!("adapter for {task}"))
}

/// The models of the outputs. Of those whose weights differ the names of the files tell them.
fn origins(outputs: &[&Output<'_>], first: &[Origin]) -> Vec<Origin> {
    let differs = |i: usize, origin: &Origin| {
        outputs.iter().any(|o| o.plan.origins.get(i).is_none_or(|other| other.weights != origin.weights))
    };
    let mut origins = first.to_vec();
    for (i, origin) in origins.iter_mut().enumerate() {
        if differs(i, origin) {
            origin.weights.clear();
        }
    }
    origins
}

/// Whether `card` is ours, as it was written, and of this model.
pub fn goes_on(card: &str, metadata: &Metadata) -> bool {
    let title = Card::title(metadata.str("general.name").unwrap_or(UNNAMED));
    is_sealed(card) && card.lines().any(|line| line == title)
}

/// The rows of those files in a card of ours that lie in the folder still.
fn rows(card: &str, held: &[String], metadata: &Metadata) -> Vec<String> {
    if !goes_on(card, metadata) {
        return Vec::new();
    }
    let table = card.lines().skip_while(|line| *line != "## Files").skip(1);
    let table = table.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty());
    let held: Vec<String> = held.iter().map(|name| checkpoint::link(name)).collect();
    let is_there = |line: &&str| held.iter().any(|link| line.starts_with(link));
    table.filter(is_there).map(String::from).collect()
}

/// What the metadata tells to those who choose a file.
fn publication(metadata: &Metadata) -> Publication {
    let list = |key: &str| match metadata.get(key) {
        Some(Value::Array(Array::Str(items))) => items.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    let by = metadata.str("general.quantized_by");
    let cache = device::cache(metadata)
        .map(|cache| format!("{} for {} tokens of context", size(cache.bytes), cache.tokens));
    Publication {
        languages: list("general.languages"),
        task: task(metadata, &list("general.tags")),
        quantized_by: Some(by.map_or_else(|| String::from("ggraft"), String::from)),
        cache,
        prompt: modelfile::prompt(metadata),
        importance: importance(metadata),
        ..Publication::default()
    }
}

fn task(metadata: &Metadata, tags: &[String]) -> &'static str {
    let told = TASKS.into_iter().find(|task| tags.iter().any(|tag| tag == task));
    let arch = metadata.str("general.architecture").unwrap_or_default();
    let pools = metadata.get(&format!("{arch}.pooling_type")).is_some();
    told.unwrap_or(if pools { "feature-extraction" } else { "text-generation" })
}

fn importance(metadata: &Metadata) -> Option<String> {
    if metadata.get("ggraft.importance").is_some() {
        return Some(String::from("estimated from the weights themselves"));
    }
    let file = metadata.str("quantize.imatrix.file")?;
    let dataset = metadata.str("quantize.imatrix.dataset").map(|set| format!(", measured on {set}"));
    let chunks = metadata.u64("quantize.imatrix.chunks_count").map(|n| format!(" in {n} chunks"));
    Some(format!("{file}{}{}", dataset.unwrap_or_default(), chunks.unwrap_or_default()))
}
