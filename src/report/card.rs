//! The model card of finished GGUF files, for the folder that they lie in.

use super::finished::Output;
use super::plan::size;
use crate::checkpoint::{Card, File};
use crate::merge::Origin;

/// The card of these outputs, which share a folder; `formula` is what a merge has computed.
pub fn card(outputs: &[&Output<'_>], command: &str, formula: Option<&'static str>) -> Option<Card> {
    let plan = outputs.first()?.plan;
    let mut origins = plan.origins.clone();
    let differs = |i: usize, origin: &Origin| {
        outputs.iter().any(|o| o.plan.origins.get(i).is_none_or(|other| other.weights != origin.weights))
    };
    for (i, origin) in origins.iter_mut().enumerate() {
        if differs(i, origin) {
            // The names of the files tell the weights.
            origin.weights.clear();
        }
    }
    let mut notes: Vec<String> = Vec::new();
    for note in outputs.iter().flat_map(|o| &o.plan.notes) {
        if !notes.contains(note) {
            notes.push(note.clone());
        }
    }
    let files = outputs.iter().flat_map(|o| o.files.iter().map(|file| (o.plan, file)));
    let files = files.map(|(plan, file)| File {
        name: file.name.clone(),
        kind: plan.encoding(),
        bits_per_weight: plan.bits_per_weight(),
        size: size(file.bytes),
        sha256: file.sha256.clone(),
    });
    Some(Card {
        name: plan.metadata().str("general.name").unwrap_or("A model").to_string(),
        formula,
        origins,
        licence: plan.metadata().str("general.license").map(String::from),
        command: command.to_string(),
        notes,
        files: files.collect(),
    })
}
