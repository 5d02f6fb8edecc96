//! Hashes of the weights alone, as they are stored: of each tensor, and of all of them in the order of the files, so
//! that a change of metadata changes no hash, and a split model has those of the joined one. Serves `cli`; what tells
//! whole files from others serves reports, comparisons and provenance too.
//! Specification: the README of llama.cpp's `llama-gguf-hash` (algorithms, namespace of the UUID, lines).

mod algorithm;
mod file;
mod manifest;

pub use algorithm::{ALGORITHMS, Algorithm};
pub use file::{hexadecimal, sha256};
pub use manifest::{Manifest, Verdict};

use crate::stages::Stages;
use algorithm::State;
use ggraft_formats::source::{Fetching, fetch_ahead, planned};
use ggraft_formats::{Error, Result, Tensor};
use rayon::prelude::*;
use std::ops::Range;

/// Bytes that are hashed at a time.
const CHUNK: usize = 1 << 24;

/// One hash: of a tensor, or of all.
pub struct Hash<'a> {
    pub algorithm: &'static Algorithm,
    /// None for the whole model.
    pub tensor: Option<&'a str>,
    /// In small hexadecimal digits; of a UUID with its dashes.
    pub digest: String,
}

/// Hashes `tensors` with each of `algorithms`, and gives `tell` every hash as soon as it is known: those of each
/// tensor if `layers`, at last those of all; `stages` are told of each tensor. The weights are read once, and every hash of a chunk is computed at the
/// same time: the hash of all is sequential by nature, so more threads than that would not be sooner.
pub fn hash<'a>(
    tensors: &'a [Tensor],
    algorithms: &[&'static Algorithm],
    layers: bool,
    stages: &dyn Stages,
    mut tell: impl FnMut(Hash<'a>) -> Result<()>,
) -> Result<()> {
    let start = || algorithms.iter().map(|a| a.start()).collect::<Vec<_>>();
    let mut whole = start();
    stages.begin("hashing", tensors.len());
    let pieces = tensors.iter().map(|t| Ok((t, parts(t)?))).collect::<Result<Vec<_>>>()?;
    let all = pieces.iter().flat_map(|(t, parts)| parts.iter().map(move |part| (t, part)));
    let mut reading =
        Reading { fetching: fetch_ahead(all.map(|(t, part)| planned(|| t.prefetch(part.clone())))), done: 0 };
    for (t, parts) in &pieces {
        let mut own: Vec<Box<dyn State>> = match layers {
            true => algorithms.iter().filter(|a| a.of_tensors).map(|a| a.start()).collect(),
            false => Vec::new(),
        };
        for part in parts {
            update(t, part, &mut own, &mut whole)?;
            reading.step();
        }
        stages.step();
        let known = algorithms.iter().filter(|a| a.of_tensors).zip(own);
        for (algorithm, state) in known {
            tell(Hash { algorithm, tensor: Some(&t.name), digest: state.finish() })?;
        }
    }
    stages.end();
    algorithms
        .iter()
        .zip(whole)
        .try_for_each(|(algorithm, state)| tell(Hash { algorithm, tensor: None, digest: state.finish() }))
}

/// How far the parts of all tensors are read.
struct Reading {
    fetching: Option<Fetching>,
    done: usize,
}

impl Reading {
    /// The next part is done.
    fn step(&mut self) {
        self.fetching.iter().for_each(|fetching| fetching.done(self.done));
        self.done += 1;
    }
}

/// The rows that are hashed at a time.
fn parts(t: &Tensor) -> Result<Vec<Range<usize>>> {
    let rows =
        usize::try_from(t.shape().rows()).map_err(|_| Error::invalid("too many rows").tensor(&t.name))?;
    if t.row_bytes() == 0 {
        return Ok(Vec::new());
    }
    let step = (CHUNK / t.row_bytes()).max(1);
    Ok((0..rows).step_by(step).map(|start| start..rows.min(start.saturating_add(step))).collect())
}

fn update(
    t: &Tensor,
    part: &Range<usize>,
    own: &mut [Box<dyn State>],
    whole: &mut [Box<dyn State>],
) -> Result<()> {
    t.with_rows(part.clone(), |bytes| {
        own.par_iter_mut().chain(whole.par_iter_mut()).for_each(|state| state.update(bytes));
        Ok(())
    })?;
    t.release(part.clone());
    Ok(())
}
