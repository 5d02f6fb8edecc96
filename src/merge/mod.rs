//! Merging: what becomes of every tensor of the model that is grafted onto, and how its weights are computed.
//! The map: `method` has the methods, `models` what may be merged, `tokens` the rows of token tables, `pairing` what
//! becomes of each tensor, `weights` how much each gets.
//! The chat vector (arXiv 2310.04799) is task arithmetic with one vector: `out = CP + w * (chat - base)`.

pub mod glob;
pub mod method;
mod models;
mod pairing;
pub mod tokens;
pub mod weights;

pub use method::{CHAT_VECTOR, METHODS, Method, Param, Params, Rescale};
pub use models::{Allowed, Kinship, Origin, Vector};
pub use tokens::{Copied, Summary, TemplateChoice, VectorSummary, VocabularyChoices};

use crate::arch::Values;
use ggraft_formats::{DType, Error, Model, Result, Tensor};
use method::{Merged, Sources};
use models::Provenance;
use std::sync::Arc;
use tokens::{Overlay, overlaid};
use weights::Rules;

/// How to merge: a method, what it is told, and what the weights are multiplied with, tensor by tensor.
pub struct Options {
    pub method: &'static Method,
    pub params: Params,
    pub rules: Rules,
    /// Whether models may differ in what their weights were trained under (rope, norm epsilon, window).
    pub allow_mismatch: bool,
    pub vocabulary: VocabularyChoices,
}

impl Options {
    fn sources(&self, onto: &Tensor, pairs: Vec<(Tensor, Tensor)>, values: &Values) -> Result<Arc<Sources>> {
        let value = values.get(&onto.name);
        Ok(Arc::new(Sources::new(onto.clone(), pairs, value, self.method, self.params)?))
    }
}

impl From<&'static Method> for Options {
    /// The method with its defaults, the same weight for every tensor.
    fn from(method: &'static Method) -> Options {
        Options {
            method,
            params: Params::default(),
            rules: Rules::default(),
            allow_mismatch: false,
            vocabulary: VocabularyChoices::default(),
        }
    }
}

/// What becomes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// Computed by the method.
    Merged,
    /// As it is in CP.
    Kept,
}

impl Fate {
    /// The word for it in plans and reports.
    pub fn word(self) -> &'static str {
        match self {
            Fate::Merged => "merged",
            Fate::Kept => "kept",
        }
    }
}

/// What becomes of one tensor, and why.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    pub fate: Fate,
    pub reason: &'static str,
}

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
    /// What the weights are multiplied with, one for each tensor of the model.
    factors: Vec<f64>,
    options: Options,
    provenance: Provenance,
    /// What the user should know, a sentence each.
    pub notes: Vec<String>,
    /// What becomes of the tokens.
    pub vocabulary: Arc<Summary>,
}

impl Graft {
    /// Matches `vectors` with `onto`. Reads no weights; models that do not belong together are refused, with
    /// all their differences at once.
    pub fn new(onto: Model, vectors: &[Vector], options: impl Into<Options>) -> Result<Graft> {
        let options = options.into();
        let mut notes = method::check(&options, vectors.len())?;
        notes.extend(models::congruent(&onto, vectors, options.allow_mismatch)?);
        let provenance = Provenance::of(&onto, vectors)?;
        notes.extend(provenance.note());
        let mut model = onto;
        let mut prepared = tokens::prepare(&mut model, vectors, &options.vocabulary)?;
        notes.append(&mut prepared.notes);
        let mut verdicts = pairing::verdicts(&model, vectors, &prepared.tables)?;
        let names: Vec<&str> = model.tensors.iter().map(|t| t.name.as_str()).collect();
        let factors = options.rules.factors(&names)?;
        notes.extend(weights::summary(&options.rules, &factors));
        let values = Values::of(model.architecture().unwrap_or_default());
        let (mut sources, mut overlays) = (Vec::new(), Vec::new());
        for ((tensor, verdict), factor) in model.tensors.iter().zip(&mut verdicts).zip(&factors) {
            let table = prepared.tables.remove(tensor.name.as_str());
            let overlay = table.as_ref().and_then(|table| table.overlay.clone());
            if *factor == 0.0 && overlay.is_none() {
                *verdict = Verdict { fate: Fate::Kept, reason: "its weight is 0" };
            }
            sources.push(match (table, verdict.fate) {
                _ if *factor == 0.0 => None,
                (Some(table), _) if table.pairs.is_empty() => None,
                (Some(table), _) => Some(options.sources(tensor, table.pairs, &values)?),
                (None, Fate::Merged) => Some(options.sources(tensor, matched(tensor, vectors)?, &values)?),
                (None, Fate::Kept) => None,
            });
            overlays.push(overlay);
        }
        let vocabulary = Arc::new(prepared.summary);
        Ok(Graft { model, verdicts, sources, overlays, factors, options, provenance, notes, vocabulary })
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
        let mut notes = Vec::new();
        for figures in self.kinship()? {
            notes.extend(models::judge(&figures, allowed)?);
        }
        Ok(notes)
    }

    /// The figures of `check_kinship`: those of every merged tensor, for each vector.
    pub fn kinship(&self) -> Result<Vec<Vec<Kinship>>> {
        let sources: Vec<Arc<Sources>> = self.sources.iter().flatten().cloned().collect();
        models::measure(&sources)
    }

    /// The merged model with these weights, one a vector; its rows are computed when they are read. Models of
    /// one graft that are read side by side decode their sources once.
    pub fn model(&self, weights: &[f64]) -> Result<Model> {
        // With no weight at all nothing of chat is taken unless it is asked for by name: CP comes out bit for bit.
        let copies = weights.iter().any(|w| *w != 0.0) || !self.options.vocabulary.copy_tokens.is_empty();
        let mut tensors = Vec::with_capacity(self.model.tensors.len());
        let parts = self.model.tensors.iter().zip(&self.sources).zip(&self.overlays).zip(&self.factors);
        for (((tensor, sources), overlay), factor) in parts {
            let merged = match sources {
                None => tensor.clone(),
                Some(sources) => {
                    let effective: Vec<f64> = weights.iter().map(|w| w * factor).collect();
                    (self.options.method.check)(&effective, &self.options.params)
                        .map_err(|e| e.tensor(&tensor.name))?;
                    let rows =
                        Merged { sources: Arc::clone(sources), weights: weights.to_vec(), factor: *factor };
                    Tensor::new(&tensor.name, *tensor.shape(), DType::F32, Arc::new(rows))?
                }
            };
            tensors.push(match overlay.as_ref().filter(|_| copies) {
                None => merged,
                Some(overlay) => overlaid(&merged, overlay)?,
            });
        }
        let mut model = Model { tensors, ..self.model.clone() };
        self.provenance.write(&self.options, weights, &mut model.metadata);
        Ok(model)
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

    /// How much each tensor of the model gets of each vector; nothing where none is merged into it.
    pub fn weights(&self, weights: &[f64]) -> Vec<Vec<f64>> {
        let each = |(sources, factor): (&Option<Arc<Sources>>, &f64)| match sources {
            Some(_) => weights.iter().map(|w| w * factor).collect(),
            None => Vec::new(),
        };
        self.sources.iter().zip(&self.factors).map(each).collect()
    }
}

/// Chat and base of each vector.
fn matched(onto: &Tensor, vectors: &[Vector]) -> Result<Vec<(Tensor, Tensor)>> {
    let pair = |v: &Vector| Ok((find(&v.chat, &onto.name)?.clone(), find(&v.base, &onto.name)?.clone()));
    vectors.iter().map(pair).collect()
}

fn find<'a>(model: &'a Model, name: &str) -> Result<&'a Tensor> {
    let found = model.tensors.iter().find(|t| t.name == name);
    found.ok_or_else(|| Error::invalid("the model does not hold this tensor").tensor(name))
}
