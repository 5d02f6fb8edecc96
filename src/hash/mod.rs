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
use ggraft_formats::{Error, Result, Tensor};
use rayon::prelude::*;

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
    for t in tensors {
        let mut own: Vec<Box<dyn State>> = match layers {
            true => algorithms.iter().filter(|a| a.of_tensors).map(|a| a.start()).collect(),
            false => Vec::new(),
        };
        update(t, &mut own, &mut whole)?;
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

fn update(t: &Tensor, own: &mut [Box<dyn State>], whole: &mut [Box<dyn State>]) -> Result<()> {
    let rows =
        usize::try_from(t.shape().rows()).map_err(|_| Error::invalid("too many rows").tensor(&t.name))?;
    if t.row_bytes() == 0 {
        return Ok(());
    }
    let step = (CHUNK / t.row_bytes()).max(1);
    for start in (0..rows).step_by(step) {
        let part = start..rows.min(start.saturating_add(step));
        t.with_rows(part.clone(), |bytes| {
            own.par_iter_mut().chain(whole.par_iter_mut()).for_each(|state| state.update(bytes));
            Ok(())
        })?;
        t.release(part);
    }
    Ok(())
}
