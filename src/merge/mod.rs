//! Merging: what becomes of every tensor of the model that is grafted onto, and how its weights are computed.
//! `METHODS` is the list; a method is one file with one `Method` constant and its line here.
//! The chat vector (arXiv 2310.04799) is task arithmetic with one vector: `out = CP + w * (chat - base)`.

mod handover;
mod pairing;
mod rows;
mod task_arithmetic;

use crate::vocab::Tokens;
use ggraft_formats::{DType, Error, Model, Result, Tensor};
use std::sync::Arc;

/// One source of change: the difference between a model and its parent, and how much of it to take.
pub struct Vector {
    pub chat: Model,
    pub base: Model,
    /// `w`, exactly as the user typed it.
    pub weight: f64,
}

/// The values of one vector at the elements that are being computed.
pub struct Term {
    pub chat: Vec<f64>,
    pub base: Vec<f64>,
    pub weight: f64,
}

/// A way of computing the output's weights.
pub struct Method {
    pub name: &'static str,
    /// Its formula, for people.
    pub formula: &'static str,
    /// Turns CP's values into the output's, element by element, in f64.
    combine: fn(values: &mut [f64], terms: &[Term]),
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

/// The merged model, whose rows are computed when they are read.
pub struct Grafted {
    pub model: Model,
    /// One for each tensor of the model.
    pub verdicts: Vec<Verdict>,
    /// What the user should know, a sentence each.
    pub notes: Vec<String>,
}

/// Grafts `vectors` onto `onto`. Reads no weights; models that do not belong together are refused, with all
/// their differences at once.
pub fn graft(onto: Model, vectors: Vec<Vector>, method: &'static Method) -> Result<Grafted> {
    pairing::same_family(&onto, &vectors)?;
    let mut notes = Vec::new();
    let mut grown = false;
    for v in &vectors {
        grown |= differ(&onto, &v.chat)? || differ(&onto, &v.base)?;
    }
    if grown {
        notes.push(String::from(
            "the vocabularies differ: the embeddings and the output head keep the rows of CP, all other tensors get the vector",
        ));
    }
    let verdicts = pairing::verdicts(&onto, &vectors, grown)?;
    let mut model = Model { metadata: onto.metadata, tensors: Vec::new(), containers: onto.containers };
    for (tensor, verdict) in onto.tensors.into_iter().zip(&verdicts) {
        model.tensors.push(match verdict.fate {
            Fate::Merged => merged(tensor, &vectors, method)?,
            Fate::Kept => tensor,
        });
    }
    for v in &vectors {
        notes.extend(handover::chat_template(&mut model.metadata, &v.chat.metadata)?);
    }
    Ok(Grafted { model, verdicts, notes })
}

/// Whether two models have different tokens; models without a vocabulary do not differ.
fn differ(a: &Model, b: &Model) -> Result<bool> {
    Ok(match (Tokens::of(&a.metadata)?, Tokens::of(&b.metadata)?) {
        (Some(a), Some(b)) => a.tokens != b.tokens,
        _ => false,
    })
}

fn merged(onto: Tensor, vectors: &[Vector], method: &'static Method) -> Result<Tensor> {
    let mut terms = Vec::with_capacity(vectors.len());
    for v in vectors {
        terms.push(rows::Pair {
            chat: find(&v.chat, &onto.name)?.clone(),
            base: find(&v.base, &onto.name)?.clone(),
            weight: v.weight,
        });
    }
    let (name, shape) = (onto.name.clone(), *onto.shape());
    Tensor::new(&name, shape, DType::F32, Arc::new(rows::Merged { onto, terms, method }))
}

fn find<'a>(model: &'a Model, name: &str) -> Result<&'a Tensor> {
    let found = model.tensors.iter().find(|t| t.name == name);
    found.ok_or_else(|| Error::invalid("the model does not hold this tensor").tensor(name))
}
