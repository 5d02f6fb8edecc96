//! TIES (arXiv 2306.01708): of each vector only the largest magnitudes are kept (trim), the weighted sum of the vectors
//! elects a sign for each element, and only vectors with that sign are added: `out = CP + λ·Σ w·d [/ Σ w]`.
//! As mergekit, with two differences: elements as large as the smallest that is kept are all kept, so that none is
//! chosen by its place; and with a single vector `normalize` is off by default, as it would only cancel the weight.

use super::params::{DENSITY, LAMBDA, NORMALIZE, Params};
use super::task_arithmetic::TASK_ARITHMETIC;
use super::{Method, Place, Ranks, Survey, Term, magnitudes};
use ggraft_formats::vectors::add_elected;

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
    /// Elements at a time.
    const RUN: usize = 1024;
    // The weighted difference of each vector, and what it counts in the mean. Added up by size, the vectors may be given in
    // any order.
    let mut votes = vec![(0.0, 0.0); terms.len() * RUN];
    for (run, values) in values.chunks_mut(RUN).enumerate() {
        let votes = &mut votes[..values.len() * terms.len()];
        for (v, t) in terms.iter().enumerate() {
            for (i, vote) in votes.iter_mut().skip(v).step_by(terms.len()).enumerate() {
                *vote = (t.weight * delta(v, run * RUN + i), t.share);
            }
        }
        add_elected(values, votes, lambda, normalize);
    }
}
