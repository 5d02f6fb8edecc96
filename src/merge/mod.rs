//! Merging: what becomes of every tensor of the model that is grafted onto, and how its weights are computed.
//! The map: `method` has the methods, `models` what may be merged, `tokens` the rows of token tables, `pairing` what
//! becomes of each tensor, `weights` how much each gets, or each of its `parts`.
//! The chat vector (arXiv 2310.04799) is task arithmetic with one vector: `out = CP + w * (chat - base)`.

mod fate;
pub mod glob;
pub mod method;
mod models;
mod options;
mod own;
mod pairing;
mod parts;
mod stack;
pub mod tokens;
pub mod weights;

pub use fate::{Fate, Verdict};
pub use method::{CHAT_VECTOR, METHODS, Method, Param, Params, Rescale, Thinning};
pub use models::{Allowed, Kinship, Origin, Vector, paired};
pub(crate) use models::{SLICE, stackable};
pub use options::Options;
pub use own::Own;
pub use stack::{Slice, Stack};
pub use tokens::{Copied, Summary, TemplateChoice, VectorSummary, VocabularyChoices};

use crate::arch::{Trainer, Values};
use crate::stages::Stages;
use ggraft_formats::{DType, Error, Model, Result, Tensor};
use method::{Merged, Sources};
use models::{Places, Provenance};
use own::Share;
use parts::{Factors, Run};
use std::collections::HashMap;
use std::sync::Arc;
use tokens::Overlay;
use weights::Names;

/// Models that belong together, matched tensor by tensor and ready to be merged with any weights.
pub struct Graft {
    /// CP with the metadata of the output; tensors that are merged still have CP's rows.
    model: Model,
    /// One for each tensor of the model.
    verdicts: Vec<Verdict>,
    /// The tensors that are merged together, one for each merged tensor of the model.
    sources: Vec<Option<Arc<Sources>>>,
    /// Rows of chat that take the place of others, for each tensor of the model.
    overlays: Vec<Option<Arc<Overlay>>>,
    /// What the weights are multiplied with, for each tensor of the model.
    factors: Vec<Factors>,
    /// And each vector's own, besides.
    shares: Vec<Share>,
    options: Options,
    provenance: Provenance,
    /// Where the models of each vector stand.
    places: Vec<Places>,
    /// The name of each vector that is an adapter.
    adapters: Vec<Option<String>>,
    /// What the user should know, a sentence each.
    pub notes: Vec<String>,
    /// What becomes of the tokens.
    pub vocabulary: Arc<Summary>,
    /// Is told how looking at the weights goes on.
    pub stages: Arc<dyn Stages>,
}

impl Graft {
    /// Matches `vectors` with `onto`. Reads no weights; models that do not belong together are refused, with
    /// all their differences at once.
    pub fn new(onto: Model, vectors: &[Vector], options: impl Into<Options>) -> Result<Graft> {
        let options = options.into();
        method::check(options.method, &options.params, vectors.len())?;
        let mut notes = Vec::new();
        if !options.own.iter().any(Own::thins) {
            notes.extend(method::unthinned(options.method, &options.params));
        }
        notes.extend(models::congruent(&onto, vectors, options.allow_mismatch)?);
        let provenance = Provenance::of(&onto, vectors, &options)?;
        notes.extend(provenance.note());
        let places = Places::of(&onto, vectors, options.method);
        let adapters = provenance.adapters();
        let mut model = onto;
        let mut prepared = tokens::prepare(&mut model, vectors, &options.vocabulary)?;
        notes.append(&mut prepared.notes);
        let mut verdicts = pairing::verdicts(&model, vectors, &prepared.tables)?;
        let names = Names::of(&model, options.held.as_deref());
        let mut factors = options.rules.spread(&names)?;
        if let Some(stack) = &options.stack {
            notes.push(stack.note(|model| provenance.slice(model)));
            factors = stack.factors(&model, options.held.as_deref(), factors)?;
        }
        let told = weights::summary(&options.rules, &factors);
        notes.extend(told.map(|told| format!("the rules multiply the weight by {told}")));
        let (shares, told) =
            own::spread(&options.own, (options.method, &options.params), &names, vectors.len())?;
        notes.extend(told);
        notes.extend(options.rules.without_effect(&names));
        let by_name: Vec<_> = vectors.iter().map(|v| (named(&v.chat), named(&v.base))).collect();
        let values = Values::of(model.architecture().unwrap_or_default());
        let (mut sources, mut overlays) = (Vec::new(), Vec::new());
        let each = model.tensors.iter().zip(&mut verdicts).zip(factors.iter().zip(&shares));
        for ((tensor, verdict), (factor, share)) in each {
            if !options.method.takes_vectors() {
                sources.push(options.scaled(tensor, factor, verdict, &values)?);
                overlays.push(None);
                continue;
            }
            let table = prepared.tables.remove(tensor.name.as_str());
            let overlay = table.as_ref().and_then(|table| table.overlay.clone());
            let without = factor.same() == Some(0.0) || share.is_nothing();
            if without && overlay.is_none() {
                *verdict = Verdict { fate: Fate::Kept, reason: "its weight is 0" };
            }
            let pairs = match (table, verdict.fate) {
                _ if without => None,
                (Some(table), _) => Some(table.pairs).filter(|pairs| !pairs.is_empty()),
                (None, Fate::Merged) => Some(matched(tensor, &by_name)?),
                (None, Fate::Kept) => None,
            };
            // Of an adapter chat and base are one where it says nothing.
            let alone = pairs.filter(|pairs| !pairs.iter().all(|(chat, base)| chat.shares_rows(base)));
            if alone.is_none() && verdict.fate == Fate::Merged && !without && overlay.is_none() {
                *verdict = Verdict { fate: Fate::Kept, reason: "no adapter changes it" };
            }
            let sourced = |pairs| options.sources(tensor, pairs, &values, share.params.clone());
            sources.push(alone.map(sourced).transpose()?);
            overlays.push(overlay);
        }
        let sources = together(sources, &Trainer::of(model.architecture().unwrap_or_default()))?;
        let vocabulary = Arc::new(prepared.summary);
        let stages = Arc::new(());
        Ok(Graft {
            model,
            verdicts,
            sources,
            overlays,
            factors,
            shares,
            options,
            provenance,
            places,
            adapters,
            notes,
            vocabulary,
            stages,
        })
    }

    /// CP, with the metadata of the output.
    pub fn onto(&self) -> &Model {
        &self.model
    }

    /// One for each tensor of the model.
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// Looks at some weights of every tensor: how the models are related, for each vector. Tells what was found, or
    /// stops if they are not, unless that is `allowed`.
    pub fn check_kinship(&self, allowed: Allowed) -> Result<Vec<String>> {
        let sources: Vec<Arc<Sources>> = self.sources.iter().flatten().cloned().collect();
        let mut notes = Vec::new();
        for (v, (figures, places)) in
            models::measure(&sources, &*self.stages)?.iter().zip(&self.places).enumerate()
        {
            if let Some(name) = &self.adapters[v] {
                notes.push(models::moved(name, figures));
                continue;
            }
            let place = places.judge(figures, &sources, v, allowed.base_is_onto)?;
            notes.extend(models::judge(figures, place, allowed)?);
        }
        Ok(notes)
    }

    /// The figures of `check_kinship`: those of every merged tensor, for each vector.
    pub fn kinship(&self) -> Result<Vec<Vec<Kinship>>> {
        let sources: Vec<Arc<Sources>> = self.sources.iter().flatten().cloned().collect();
        models::measure(&sources, &*self.stages)
    }

    /// The merged model with these weights, one a vector; its rows are computed when they are read. Models of
    /// one graft that are read side by side decode their sources once.
    pub fn model(&self, weights: &[f64]) -> Result<Model> {
        let mut tensors = Vec::with_capacity(self.model.tensors.len());
        let factors = self.factors.iter().zip(&self.shares);
        let parts = self.model.tensors.iter().zip(&self.sources).zip(&self.overlays).zip(factors);
        for (((tensor, sources), overlay), (factor, share)) in parts {
            let merged = match sources {
                None => tensor.clone(),
                Some(sources) => {
                    let runs = Run::all(factor, &share.factors);
                    for run in &runs {
                        let each = weights.iter().enumerate();
                        let effective: Vec<f64> = each.map(|(v, w)| run.share(v, *w) * run.factor).collect();
                        (self.options.method.check)(&effective, &self.options.params)
                            .map_err(|e| e.tensor(&tensor.name))?;
                    }
                    let rows = Merged { sources: Arc::clone(sources), weights: weights.to_vec(), runs };
                    Tensor::new(&tensor.name, *tensor.shape(), DType::F32, Arc::new(rows))?
                }
            };
            // A vector without weight copies only what is asked for by name: CP comes out bit for bit.
            let copied = overlay.as_ref().map_or(Ok(None), |overlay| overlay.over(&merged, weights))?;
            tensors.push(copied.unwrap_or(merged));
        }
        let mut model = Model { tensors, ..self.model.clone() };
        self.provenance.write(&self.options, weights, &mut model.metadata);
        Ok(model)
    }

    /// What becomes of the tokens with these weights, and what they leave out.
    pub fn tokens(&self, weights: &[f64]) -> (Summary, Vec<String>) {
        (self.vocabulary.with(weights), self.vocabulary.left_out(weights))
    }

    /// The models that the output with these weights comes from, CP first.
    pub fn origins(&self, weights: &[f64]) -> Vec<Origin> {
        self.provenance.origins(weights)
    }

    /// The licence that all models have, if it is one.
    pub fn licence(&self) -> Option<&str> {
        self.provenance.licence()
    }

    pub fn method(&self) -> &'static Method {
        self.options.method
    }

    /// How often the weights are read.
    pub fn passes(&self) -> u64 {
        let passes = self.sources.iter().flatten().map(|s| self.options.method.passes(&s.params));
        passes.max().unwrap_or_else(|| self.options.method.passes(&self.options.params))
    }

    /// How much each tensor of the model gets of each vector, on average where its parts get different shares; nothing
    /// where none is merged into it.
    pub fn weights(&self, weights: &[f64]) -> Vec<Vec<f64>> {
        let of = |factors: &Factors, share: &Share| {
            let mean = |v: usize| match share.factors.get(v) {
                Some(own) => factors.times(own).mean(),
                None => factors.mean(),
            };
            weights.iter().enumerate().map(|(v, w)| w * mean(v)).collect()
        };
        let each = self.sources.iter().zip(self.factors.iter().zip(&self.shares));
        each.map(|(sources, (factors, share))| sources.as_ref().map_or(Vec::new(), |_| of(factors, share)))
            .collect()
    }
}

/// Lets the tensors that are one to the trainer be one to the method.
///
/// # Errors
/// They are thinned out differently.
fn together(sources: Vec<Option<Sources>>, trainer: &Trainer) -> Result<Vec<Option<Arc<Sources>>>> {
    let places: HashMap<String, usize> =
        sources.iter().enumerate().filter_map(|(i, s)| Some((s.as_ref()?.name().to_string(), i))).collect();
    let groups: Vec<Vec<usize>> = sources
        .iter()
        .flatten()
        .map(|s| trainer.together(s.name()).iter().filter_map(|name| places.get(name).copied()).collect())
        .collect();
    let mut sources = sources;
    for group in groups.into_iter().filter(|group: &Vec<usize>| group.len() > 1) {
        let all: Vec<&Sources> = group.iter().filter_map(|i| sources.get(*i)?.as_ref()).collect();
        let mut pairs = all.iter().zip(all.iter().skip(1));
        if let Some((one, other)) = pairs.find(|(one, other)| one.params != other.params) {
            return Err(Error::unsupported(
                "tensors that are one in the checkpoint must be thinned out alike",
            )
            .tensor(other.name())
            .expected(format!("the parameters of {}", one.name()))
            .hint("name them by the checkpoint's name"));
        }
        let kin: Vec<_> = all.iter().map(|s| s.own.clone()).collect();
        let facts = Arc::default();
        for i in group {
            if let Some(Some(one)) =
                sources.get_mut(i).filter(|s| s.as_ref().is_some_and(|s| s.kin.is_empty()))
            {
                (one.kin, one.facts) = (kin.clone(), Arc::clone(&facts));
            }
        }
    }
    Ok(sources.into_iter().map(|one| one.map(Arc::new)).collect())
}

/// Chat and base of each vector.
fn matched(onto: &Tensor, vectors: &[(Named<'_>, Named<'_>)]) -> Result<Vec<(Tensor, Tensor)>> {
    let find = |model: &Named<'_>| {
        let found = model.get(onto.name.as_str()).map(|t| Tensor::clone(t));
        found.ok_or_else(|| Error::invalid("the model does not hold this tensor").tensor(&onto.name))
    };
    vectors.iter().map(|(chat, base)| Ok((find(chat)?, find(base)?))).collect()
}

/// The tensors of a model by their names.
type Named<'a> = HashMap<&'a str, &'a Tensor>;

fn named(model: &Model) -> Named<'_> {
    model.tensors.iter().map(|t| (t.name.as_str(), t)).collect()
}
