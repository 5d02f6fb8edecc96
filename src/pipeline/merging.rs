//! Models that are merged: matched once, then planned for each set of weights and each target.

use super::{Loaded, Plan, Target};
use crate::arch;
use crate::checkpoint::{Card, Source};
use crate::merge::{self, Graft, Vector};
use crate::output::plan::in_company;
use ggraft_formats::{Model, Result};
use std::sync::Arc;

/// Matches `vectors` with `onto`; from the result every output is planned. `how` is a method such as `CHAT_VECTOR`, or all
/// that may be decided about a merge.
///
/// # Errors
/// The models do not belong together: shapes, vocabularies, configurations, or weights that show another parent.
pub fn graft(onto: Loaded, vectors: &[Vector], how: impl Into<merge::Options>) -> Result<Grafted> {
    let models = vectors.iter().flat_map(|v| [&v.chat, &v.base]);
    models.flat_map(|m| m.reads.all()).for_each(|stamp| onto.model.reads.add(stamp));
    arch::check_merge(&onto.model)?;
    let mut how = how.into();
    if let Some(source) = &onto.source {
        how.held = Some(source.checkpoint.tensors.iter().map(|t| t.name.clone()).collect());
    }
    how.stack = onto.stack;
    let fitted = vectors.iter().map(|vector| fitted(vector, &onto.model)).collect::<Result<Vec<_>>>()?;
    let mut graft = Graft::new(onto.model, &fitted, how)?;
    graft.notes.splice(0..0, onto.notes);
    Ok(Grafted { graft, source: onto.source, command: String::from("ggraft merge") })
}

/// `vector` with gates and ups of experts as `onto` has them.
fn fitted(vector: &Vector, onto: &Model) -> Result<Vector> {
    let of = |model: &Model| Ok(arch::as_in(model, onto)?.unwrap_or_else(|| model.clone()));
    Ok(Vector { chat: of(&vector.chat)?, base: of(&vector.base)? })
}

/// Models that belong together.
pub struct Grafted {
    pub graft: Graft,
    /// The checkpoint of CP, if it is not a GGUF.
    source: Option<Arc<Source>>,
    /// The command that merges them, but for weight and type; it stands in model cards.
    pub command: String,
}

impl Grafted {
    /// Plans the output with each set of weights (one a vector) and for each target, in this order.
    ///
    /// # Errors
    /// Those of [`super::convert`], for the merged model.
    pub fn plans(&self, weights: &[Vec<f64>], targets: &[Target]) -> Result<Vec<Plan>> {
        let mut plans = Vec::with_capacity(weights.len() * targets.len());
        for weights in weights {
            let (estimated, measured) = (Arc::default(), Arc::default());
            for target in targets {
                let model = self.graft.model(weights)?;
                let (vocabulary, left_out) = self.graft.tokens(weights);
                let notes = [&self.graft.notes[..], &left_out].concat();
                let source = self.source.clone();
                let loaded = Loaded::new(model, notes, source);
                let (estimated, measured) = (Arc::clone(&estimated), Arc::clone(&measured));
                let merged = Loaded { estimated, measured, ..loaded };
                let card = |model: &Model| Some(self.card(model, weights, target));
                let fates = Some((self.graft.verdicts(), self.graft.weights(weights)));
                let origins = self.graft.origins(weights);
                let mut plan = Plan::new(merged, self.graft.onto(), fates, target, origins, card)?;
                plan.vocabulary = Some(Arc::new(vocabulary));
                plan.passes = self.graft.passes();
                plans.push(plan);
            }
        }
        in_company(&mut plans);
        Ok(plans)
    }

    fn card(&self, model: &Model, weights: &[f64], target: &Target) -> Card {
        let command = match weights {
            // A vector, or a recipe, has its weight in itself.
            [w, ..] if self.command.contains(" --chat ") => {
                format!("{} --weight {w} --type {}", self.command, target.kind.name())
            }
            _ => format!("{} --type {}", self.command, target.kind.name()),
        };
        Card {
            name: model.metadata.str("general.name").unwrap_or("A merged model").to_string(),
            formula: Some(self.graft.method().formula),
            origins: self.graft.origins(weights),
            licence: self.graft.licence().map(String::from),
            command,
            notes: self.graft.notes.clone(),
            ..Card::default()
        }
    }
}
