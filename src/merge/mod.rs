//! Merging: what becomes of every tensor of the model that is grafted onto, and how its weights are computed.
//! `METHODS` is the list; a method is one file with one `Method` constant and its line here.
//! The chat vector (arXiv 2310.04799) is task arithmetic with one vector: `out = CP + w * (chat - base)`.

mod growth;
mod kinship;
mod pairing;
mod parents;
mod rows;
mod summary;
mod task_arithmetic;
mod template;
pub mod templates;
mod token_rows;
mod untrained;
mod vocabulary;

pub use kinship::{Allowed, Kinship};
pub use summary::{Copied, Summary, VectorSummary};
pub use template::TemplateChoice;
pub use vocabulary::VocabularyChoices;

use ggraft_formats::{DType, Error, Model, Result, Tensor};
use rows::{Merged, Sources};
use std::sync::Arc;
use token_rows::{Overlay, overlaid};

/// A direction of change: the difference between a chat model and its parent.
pub struct Vector {
    pub chat: Model,
    pub base: Model,
}

/// The values of one vector at the elements that are being computed.
pub struct Term<'a> {
    pub chat: &'a [f64],
    pub base: &'a [f64],
    /// `w`, exactly as the user typed it.
    pub weight: f64,
}

/// A way of computing the output's weights.
pub struct Method {
    pub name: &'static str,
    /// Its formula, for people.
    pub formula: &'static str,
    /// Turns CP's values into the output's, element by element, in f64.
    combine: fn(values: &mut [f64], terms: &[Term<'_>]),
}

/// Every method.
pub const METHODS: &[Method] = &[task_arithmetic::TASK_ARITHMETIC];

/// The method of the chat vector.
pub const CHAT_VECTOR: &Method = &METHODS[0];

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
    method: &'static Method,
    /// What the user should know, a sentence each.
    pub notes: Vec<String>,
    /// What becomes of the tokens.
    pub vocabulary: Arc<Summary>,
}

impl Graft {
    /// Matches `vectors` with `onto`. Reads no weights; models that do not belong together are refused, with
    /// all their differences at once.
    pub fn new(
        onto: Model,
        vectors: &[Vector],
        method: &'static Method,
        allow_mismatch: bool,
        choices: &VocabularyChoices,
    ) -> Result<Graft> {
        let mut notes = parents::congruent(&onto, vectors, allow_mismatch)?;
        let mut model = onto;
        let mut prepared = vocabulary::prepare(&mut model, vectors, choices)?;
        notes.append(&mut prepared.notes);
        let verdicts = pairing::verdicts(&model, vectors, &prepared.tables)?;
        let mut sources = Vec::with_capacity(verdicts.len());
        let mut overlays = Vec::with_capacity(verdicts.len());
        for (tensor, verdict) in model.tensors.iter().zip(&verdicts) {
            let table = prepared.tables.remove(tensor.name.as_str());
            sources.push(match (&table, verdict.fate) {
                (Some(table), _) if table.pairs.is_empty() => None,
                (Some(table), _) => Some(Arc::new(Sources::new(tensor.clone(), table.pairs.clone()))),
                (None, Fate::Merged) => Some(Arc::new(matched(tensor, vectors)?)),
                (None, Fate::Kept) => None,
            });
            overlays.push(table.and_then(|table| table.overlay));
        }
        Ok(Graft {
            model,
            verdicts,
            sources,
            overlays,
            method,
            notes,
            vocabulary: Arc::new(prepared.summary),
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
        let mut notes = Vec::new();
        for figures in self.kinship()? {
            notes.extend(kinship::judge(&figures, allowed)?);
        }
        Ok(notes)
    }

    /// The figures of `check_kinship`: those of every merged tensor, for each vector.
    pub fn kinship(&self) -> Result<Vec<Vec<Kinship>>> {
        let sources: Vec<Arc<Sources>> = self.sources.iter().flatten().cloned().collect();
        kinship::measure(&sources)
    }

    /// The merged model with these weights, one a vector; its rows are computed when they are read. Models of
    /// one graft that are read side by side decode their sources once.
    pub fn model(&self, weights: &[f64]) -> Result<Model> {
        let mut tensors = Vec::with_capacity(self.model.tensors.len());
        for ((tensor, sources), overlay) in self.model.tensors.iter().zip(&self.sources).zip(&self.overlays) {
            let merged = match sources {
                None => tensor.clone(),
                Some(sources) => {
                    let rows = Merged {
                        sources: Arc::clone(sources),
                        weights: weights.to_vec(),
                        method: self.method,
                    };
                    Tensor::new(&tensor.name, *tensor.shape(), DType::F32, Arc::new(rows))?
                }
            };
            tensors.push(match overlay {
                None => merged,
                Some(overlay) => overlaid(&merged, overlay)?,
            });
        }
        Ok(Model { tensors, ..self.model.clone() })
    }
}

fn matched(onto: &Tensor, vectors: &[Vector]) -> Result<Sources> {
    let mut pairs = Vec::with_capacity(vectors.len());
    for v in vectors {
        pairs.push((find(&v.chat, &onto.name)?.clone(), find(&v.base, &onto.name)?.clone()));
    }
    Ok(Sources::new(onto.clone(), pairs))
}

fn find<'a>(model: &'a Model, name: &str) -> Result<&'a Tensor> {
    let found = model.tensors.iter().find(|t| t.name == name);
    found.ok_or_else(|| Error::invalid("the model does not hold this tensor").tensor(name))
}
