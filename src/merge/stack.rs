//! CP as layers of several models: which they are, and what scales their weights. Tensors before the layers are the first
//! slice's, those behind them the last one's; rules of a slice go by the layers' numbers in its model, and gradients from
//! its first layer to its last.
//! Specification: `MergePlanner.plan_slice` of mergekit 0.1.4.

use super::parts::{Factors, Named};
use super::weights::{Names, Rules};
use crate::arch::Trainer;
use crate::roles;
use ggraft_formats::{Error, Model, Result, Tensor};
use std::collections::BTreeMap;
use std::ops::Range;

/// The layers that a model consists of, from the first on.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// The models that they are of, each once; their tensors are not needed.
    pub models: Vec<Model>,
    pub slices: Vec<Slice>,
}

/// Layers of one model that follow each other.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Which of the models.
    pub model: usize,
    /// Their numbers there.
    pub layers: Range<u64>,
    /// What the weights are multiplied with.
    pub scale: Rules,
}

impl Stack {
    /// Adds the models of another one that it does not know.
    pub fn extend(&mut self, other: &Stack) {
        let files = |m: &Model| m.containers.iter().map(|file| file.path().to_path_buf()).collect::<Vec<_>>();
        for model in &other.models {
            if self.models.iter().all(|known| files(known) != files(model)) {
                self.models.push(model.clone());
            }
        }
    }

    /// Refuses scales where a method merges, which has weights instead.
    pub fn unscaled(&self) -> Result<()> {
        if self.slices.iter().all(|slice| slice.scale.is_empty()) {
            return Ok(());
        }
        Err(Error::usage("slices are scaled by the method passthrough only")
            .found("a slice with a scale, of a model that is merged")
            .hint("leave out the scale, or put the slices together in a recipe of their own"))
    }

    /// What it is, for people; `name` tells what a model is called.
    pub(super) fn note(&self, name: impl Fn(usize) -> String) -> String {
        let one = |slice: &Slice| {
            let Range { start, end } = slice.layers;
            let scaled = if slice.scale.is_empty() { "" } else { " (scaled)" };
            format!("{start}-{} of {}{scaled}", end.saturating_sub(1), name(slice.model))
        };
        let all: Vec<String> = self.slices.iter().map(one).collect();
        let layers: u64 = self.slices.iter().map(|slice| slice.layers.end - slice.layers.start).sum();
        format!("stacked: layers {} = {layers} layers", all.join(", "))
    }

    /// `factors` of the tensors of `model`, each times that of its slice.
    ///
    /// # Errors
    /// A rule matches nothing in any slice.
    pub(super) fn factors(
        &self,
        model: &Model,
        held: Option<&[String]>,
        factors: Vec<Factors>,
    ) -> Result<Vec<Factors>> {
        if self.slices.iter().all(|slice| slice.scale.is_empty()) {
            return Ok(factors);
        }
        let names = Names::of(model, held);
        let trainer = Trainer::of(model.architecture().unwrap_or_default());
        let trainer = match held {
            Some(held) => trainer.holding(held.iter().map(String::as_str)),
            None => trainer,
        };
        let mut factors = factors;
        let (mut next, mut idle) = (0, BTreeMap::<&str, (usize, usize, Option<Error>)>::new());
        for (i, slice) in self.slices.iter().enumerate() {
            let place = next..next + (slice.layers.end - slice.layers.start);
            next = place.end;
            let ends = [i == 0, i + 1 == self.slices.len()];
            let own: Vec<usize> =
                (0..model.tensors.len()).filter(|t| is_of(&model.tensors[*t].name, &place, ends)).collect();
            let named = |t: &usize| renamed(&model.tensors[*t], slice.layers.start, &place, &trainer, model);
            let layers = slice.layers.start as usize..slice.layers.end as usize;
            let some = names.some(own.iter().map(named).collect(), layers);
            let (found, without) = slice.scale.spread_over(&some)?;
            for (t, factor) in own.into_iter().zip(found) {
                factors[t] = factors[t].times(&factor);
            }
            slice.scale.texts().into_iter().for_each(|text| idle.entry(text).or_default().0 += 1);
            for (text, error) in without {
                let entry = idle.entry(text).or_default();
                (entry.1, entry.2) = (entry.1 + 1, Some(error));
            }
        }
        let problems = idle.into_values().filter(|(all, idle, _)| all == idle).filter_map(|(.., e)| e);
        Error::all(problems.collect()).map_or(Ok(factors), Err)
    }
}

/// Whether a tensor is one of these layers, or of what is before the first slice or behind the last one.
fn is_of(name: &str, layers: &Range<u64>, [first, last]: [bool; 2]) -> bool {
    match roles::layer(name) {
        Some(layer) => layers.contains(&layer),
        None if name.starts_with("output") => last,
        None => first,
    }
}

/// A tensor with the names that it had in its own model.
fn renamed(t: &Tensor, first: u64, place: &Range<u64>, trainer: &Trainer, model: &Model) -> Named {
    let mut named = Named::of(t, trainer, &model.metadata);
    let Some(layer) = roles::layer(&t.name) else { return named };
    let rest = t.name.splitn(3, '.').nth(2).unwrap_or_default();
    let old = t.clone().renamed(&format!("blk.{}.{rest}", layer - place.start + first));
    let before = Named::of(&old, trainer, &model.metadata);
    named.name = before.name;
    for (part, old) in named.parts.iter_mut().zip(before.parts) {
        (part.gguf, part.trainer) = (old.gguf, old.trainer);
    }
    named
}
