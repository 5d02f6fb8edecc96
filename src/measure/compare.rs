//! What differs between two models, GGUF or checkpoint, of any dtypes: tensor by tensor in figures that agree with an
//! oracle in f64, and key by key in their metadata. Rows are read in pieces by all threads and their figures added in the
//! order of the file, so the result depends on nothing else. Serves `ggraft diff`.

use crate::arch;
use crate::hash::sha256;
use crate::stages::Stages;
use crate::unpack::{self, unscaled};
use ggraft_formats::figures::Figures;
use ggraft_formats::source::{fetch_ahead, planned};
use ggraft_formats::write::{BLOCK, CHUNK};
use ggraft_formats::{Checkpoint, DType, Error, Input, Result, Shape, Tensor, Value};
use rayon::prelude::*;
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

/// What two models hold.
pub struct Difference {
    /// Tensors in the order of the first model, then those that only the second one holds.
    pub tensors: Vec<Compared>,
    /// Keys of metadata that differ, in the same order.
    pub metadata: Vec<Key>,
}

/// A tensor in both models.
pub struct Compared {
    pub name: String,
    /// What the first model holds of this name.
    pub a: Option<(Shape, DType)>,
    pub b: Option<(Shape, DType)>,
    pub verdict: Compare,
}

/// What was found of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Compare {
    /// Only one model holds it.
    Missing,
    /// It has two shapes.
    Shapes,
    /// Its numbers beside each other, those of the first model as `a`.
    Numbers(Figures),
    /// There are no numbers to be decoded; whether dtypes and bytes are the same.
    Bytes { equal: bool },
}

impl Compare {
    /// Whether both models hold the same: of numbers the same values, of whatever dtype.
    pub fn is_equal(&self) -> bool {
        match self {
            Compare::Missing | Compare::Shapes => false,
            Compare::Numbers(figures) => figures.is_equal(),
            Compare::Bytes { equal } => *equal,
        }
    }
}

/// A key of metadata that differs; `None` where it is missing.
pub struct Key {
    pub name: String,
    pub a: Option<Datum>,
    pub b: Option<Datum>,
}

/// One piece of metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// Of a GGUF.
    Typed(Value),
    /// Of a checkpoint's JSON files.
    Json(Json),
    /// The sha256 of a file of a checkpoint.
    File(String),
}

impl Difference {
    /// Compares two models. Checkpoints are compared under the trainer's names; where only one model is a GGUF, the
    /// other one is adopted into its words.
    pub fn of(a: &Path, b: &Path, stages: &dyn Stages) -> Result<Difference> {
        let (a, b) = match (ggraft_formats::open(a)?, ggraft_formats::open(b)?) {
            (Input::Checkpoint(a), Input::Checkpoint(b)) => {
                (Side::checkpoint(unpack::seen(a)?)?, Side::checkpoint(unpack::seen(b)?)?)
            }
            (a, b) => (Side::model(a)?, Side::model(b)?),
        };
        let tensors = compare_tensors(&a.tensors, &b.tensors, stages)?;
        Ok(Difference { tensors, metadata: keys(a.data, b.data) })
    }

    /// The figures of all tensors together.
    pub fn total(&self) -> Figures {
        let figures = |t: &Compared| match t.verdict {
            Compare::Numbers(figures) => figures,
            _ => Figures::default(),
        };
        self.tensors.iter().map(figures).sum()
    }

    /// Whether tensors, shapes, dtypes and metadata are all the same.
    pub fn is_none(&self) -> bool {
        let same = |t: &Compared| t.verdict.is_equal() && dtype(&t.a) == dtype(&t.b);
        self.metadata.is_empty() && self.tensors.iter().all(same)
    }
}

fn dtype(side: &Option<(Shape, DType)>) -> Option<DType> {
    side.map(|(_, dtype)| dtype)
}

/// One of the models.
struct Side {
    tensors: Vec<Tensor>,
    data: Vec<(String, Datum)>,
}

/// The files of a checkpoint that are compared key by key, and those that are compared whole.
const OBJECTS: [&str; 4] =
    ["config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json"];
const FILES: [&str; 5] =
    ["tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "chat_template.jinja"];

impl Side {
    fn checkpoint(checkpoint: Checkpoint) -> Result<Side> {
        let mut data = Vec::new();
        for name in OBJECTS {
            if let Some(Json::Object(object)) = checkpoint.json(name)? {
                data.extend(object.into_iter().map(|(key, v)| (format!("{name}: {key}"), Datum::Json(v))));
            }
        }
        for name in FILES {
            if let Some(file) = checkpoint.bytes(name)? {
                data.push((name.to_string(), Datum::File(sha256(&file))));
            }
        }
        Ok(Side { tensors: checkpoint.tensors, data })
    }

    fn model(input: Input) -> Result<Side> {
        let model = match input {
            Input::Model(model) => model,
            Input::Checkpoint(checkpoint) => {
                arch::adopt(&unpack::unpacked(checkpoint)?, &arch::Options::default())?.model
            }
        };
        let model = unscaled(model)?;
        let typed = |(key, value): (&str, &Value)| (key.to_string(), Datum::Typed(value.clone()));
        Ok(Side { data: model.metadata.iter().map(typed).collect(), tensors: model.tensors })
    }
}

/// Some rows of a pair of tensors.
struct Piece<'a> {
    pair: usize,
    a: &'a Tensor,
    b: &'a Tensor,
    rows: Range<usize>,
}

fn compare_tensors(a: &[Tensor], b: &[Tensor], stages: &dyn Stages) -> Result<Vec<Compared>> {
    let known: HashMap<&str, &Tensor> = b.iter().map(|t| (t.name.as_str(), t)).collect();
    let (mut found, mut pieces) = (Vec::with_capacity(a.len()), Vec::new());
    let held = |t: &Tensor| (*t.shape(), t.dtype());
    for a in a {
        let b = known.get(a.name.as_str()).copied();
        let verdict = match b {
            None => Compare::Missing,
            Some(b) if a.shape().significant() != b.shape().significant() => Compare::Shapes,
            Some(b) if [a, b].iter().any(|t| t.dtype().traits().decode.is_none()) => {
                Compare::Bytes { equal: a.dtype() == b.dtype() && same_bytes(a, b)? }
            }
            Some(b) => {
                pieces.extend(rows(a)?.map(|rows| Piece { pair: found.len(), a, b, rows }));
                Compare::Numbers(Figures::default())
            }
        };
        found.push(Compared { name: a.name.clone(), a: Some(held(a)), b: b.map(held), verdict });
    }
    stages.begin("comparing", pieces.len());
    let needed = |piece: &Piece<'_>| {
        planned(|| [piece.a, piece.b].iter().for_each(|t| t.prefetch(piece.rows.clone())))
    };
    let fetching = fetch_ahead(pieces.iter().map(needed));
    let figures = |(i, piece): (usize, &Piece<'_>)| {
        let figures = piece.figures();
        fetching.iter().for_each(|fetching| fetching.done(i));
        stages.step();
        figures
    };
    let figures = pieces.par_iter().enumerate().map(figures).collect::<Result<Vec<_>>>()?;
    stages.end();
    for (piece, figures) in pieces.iter().zip(figures) {
        if let Some(Compare::Numbers(sum)) = found.get_mut(piece.pair).map(|c| &mut c.verdict) {
            *sum = *sum + figures;
        }
    }
    let names: HashSet<&str> = a.iter().map(|t| t.name.as_str()).collect();
    let only = b.iter().filter(|t| !names.contains(t.name.as_str()));
    found.extend(only.map(|t| Compared {
        name: t.name.clone(),
        a: None,
        b: Some(held(t)),
        verdict: Compare::Missing,
    }));
    Ok(found)
}

/// The rows of a tensor in pieces.
fn rows(t: &Tensor) -> Result<impl Iterator<Item = Range<usize>> + use<>> {
    let rows = usize::try_from(t.shape().rows())
        .map_err(|_| Error::invalid("the tensor has too many rows").tensor(&t.name))?;
    let step = (CHUNK / t.row_elements()?.max(1)).max(1);
    Ok((0..rows).step_by(step).map(move |first| first..rows.min(first.saturating_add(step))))
}

impl Piece<'_> {
    fn figures(&self) -> Result<Figures> {
        let row = self.a.row_elements()?;
        let step = (BLOCK / row.max(1)).max(1);
        let mut sum = Figures::default();
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for first in self.rows.clone().step_by(step) {
            let part = first..self.rows.end.min(first + step);
            a.resize(part.len() * row, 0.0);
            b.resize(part.len() * row, 0.0);
            self.a.decode_rows_f64(part.clone(), &mut a)?;
            self.b.decode_rows_f64(part, &mut b)?;
            sum = sum + Figures::of_f64(&a, &b);
        }
        self.a.release(self.rows.clone());
        self.b.release(self.rows.clone());
        Ok(sum)
    }
}

fn same_bytes(a: &Tensor, b: &Tensor) -> Result<bool> {
    let pieces: Vec<Range<usize>> = rows(a)?.collect();
    let same = |rows: &Range<usize>| {
        let same = a.with_rows(rows.clone(), |a| b.with_rows(rows.clone(), |b| Ok(a == b)))?;
        a.release(rows.clone());
        b.release(rows.clone());
        Ok(same)
    };
    let same = pieces.par_iter().map(same).collect::<Result<Vec<_>>>()?;
    Ok(same.into_iter().all(|same| same))
}

/// The keys that differ. A float that is not a number is equal to itself here.
fn keys(a: Vec<(String, Datum)>, b: Vec<(String, Datum)>) -> Vec<Key> {
    let known: HashMap<&str, &Datum> = b.iter().map(|(key, datum)| (key.as_str(), datum)).collect();
    let names: HashSet<String> = a.iter().map(|(key, _)| key.clone()).collect();
    let equal = |a: &Datum, b: &Datum| a == b || format!("{a:?}") == format!("{b:?}");
    let mut found = Vec::new();
    for (name, a) in a {
        let b = known.get(name.as_str()).copied();
        if !b.is_some_and(|b| equal(&a, b)) {
            found.push(Key { name, a: Some(a), b: b.cloned() });
        }
    }
    let only = b.iter().filter(|(name, _)| !names.contains(name));
    found.extend(only.map(|(name, b)| Key { name: name.clone(), a: None, b: Some(b.clone()) }));
    found
}
