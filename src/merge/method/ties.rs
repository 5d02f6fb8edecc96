//! TIES (arXiv 2306.01708): of each vector only the largest magnitudes are kept (trim), the weighted sum of the vectors
//! elects a sign for each element, and only vectors with that sign are added: `out = CP + λ·Σ w·d [/ Σ w]`.
//! As mergekit, with two differences: elements as large as the smallest that is kept are all kept, so that none is
//! chosen by its place; and with a single vector `normalize` is off by default, as it would only cancel the weight.

use super::params::{DENSITY, LAMBDA, NORMALIZE, Params};
use super::task_arithmetic::TASK_ARITHMETIC;
use super::{Method, Place, Ranks, Survey, Term, add, magnitudes};
use ggraft_formats::vectors::elected;

pub(crate) const TIES: Method = Method {
    name: "ties",
    formula: "out = CP + lambda * sum of w * trim(chat - base) where the sign is the elected one, divided by those w",
    paper: "https://arxiv.org/abs/2306.01708",
    params: &[&DENSITY, &LAMBDA, &NORMALIZE],
    survey,
    combine,
    ..TASK_ARITHMETIC
};

fn survey(params: &Params) -> Survey {
    match params.thins() {
        true => Survey::Ranks(Ranks { scores: magnitudes, ranks, then: None }),
        false => Survey::Nothing,
    }
}

/// The smallest magnitude that is kept; at least one element is.
fn ranks(params: &Params, vector: usize, elements: u64, _: u64) -> Vec<u64> {
    let kept = (params.of(vector).density * elements as f64) as u64;
    vec![kept.max(1) - 1]
}

fn combine(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>) {
    let normalize = place.params.normalize.unwrap_or(terms.len() > 1);
    elect(values, terms, place.params.lambda, normalize, |v, i| {
        let d = terms[v].chat[i] - terms[v].base[i];
        let least = place.facts.get(v).copied().unwrap_or(0.0);
        if f64::from(d.abs() as f32) >= least { d } else { 0.0 }
    });
}

/// Adds those of the differences that `delta` gives for vector and element whose sign is elected.
pub(crate) fn elect(
    values: &mut [f64],
    terms: &[Term<'_>],
    lambda: f64,
    normalize: bool,
    delta: impl Fn(usize, usize) -> f64,
) {
    // The weighted difference of each vector, and what it counts in the mean.
    let mut votes = vec![(0.0, 0.0); terms.len()];
    for (i, x) in values.iter_mut().enumerate() {
        for (v, (vote, t)) in votes.iter_mut().zip(terms).enumerate() {
            *vote = (t.weight * delta(v, i), t.share);
        }
        // Added up by size, the vectors may be given in any order.
        *x = add(*x, lambda * elected(&mut votes, normalize));
    }
}
