//! DELLA (arXiv 2406.11617): of each vector a random share of the elements is kept, those that are large in their row more
//! often (MagPrune); then TIES' election of signs (`della`), or as task arithmetic (`della_linear`). An element is kept with
//! probability density − epsilon (the smallest of its row) to density + epsilon (the largest), linear in its rank. As mergekit,
//! the kept elements are scaled to the tensor's sum of magnitudes; `rescale=density` scales each by 1 / its probability, as
//! the paper does. Unlike it, what is kept depends on seed, tensor, vector and element alone, and equal magnitudes have their
//! mean rank.

use super::draw::{Draws, regain, share};
use super::params::{DENSITY, EPSILON, LAMBDA, NORMALIZE, Params, RESCALE, Rescale, SEED, Thinning};
use super::products::differences;
use super::task_arithmetic::TASK_ARITHMETIC;
use super::ties::elect;
use super::{Method, Pair, Place, Rows, Survey, Term, add_all, by_rows};
use ggraft_formats::{Error, Result};

pub(crate) const DELLA: Method = Method {
    name: "della",
    formula: "out = CP + lambda * sum of w * rescale(drop(chat - base)), small elements dropped more often, where the sign is the elected one, divided by those w",
    paper: "https://arxiv.org/abs/2406.11617",
    params: &[&DENSITY, &EPSILON, &RESCALE, &SEED, &LAMBDA, &NORMALIZE],
    fits,
    survey,
    combine: combine_elected,
    ..TASK_ARITHMETIC
};

pub(crate) const DELLA_LINEAR: Method = Method {
    name: "della_linear",
    formula: "out = CP + sum of w * rescale(drop(chat - base)), small elements dropped more often",
    params: &[&DENSITY, &EPSILON, &RESCALE, &SEED],
    combine: combine_linear,
    ..DELLA
};

fn fits(params: &Params) -> Result<()> {
    let Params { density, epsilon, .. } = *params;
    if density == 1.0 || density + epsilon < 1.0 && density - epsilon > 0.0 {
        return Ok(());
    }
    Err(Error::usage("density and epsilon of della do not go together")
        .expected("density - epsilon above 0 and density + epsilon below 1, or a density of 1")
        .found(format!("density={density} epsilon={epsilon}")))
}

/// The sums of magnitudes are wanted only where they scale.
fn survey(params: &Params) -> Survey {
    match params.thins() && params.rescale == Rescale::Norm {
        true => Survey::Rows(Rows { of: magnitudes, join: |a, b| a + b }),
        false => Survey::Nothing,
    }
}

/// The sums of all and of the kept magnitudes of each vector in one row.
fn magnitudes(_: &[f64], pairs: &[Pair<'_>], place: &Place<'_>) -> Vec<f64> {
    let mut sums = Vec::with_capacity(2 * pairs.len());
    let unscaled = Params { rescale: Rescale::Nothing, ..place.params.clone() };
    for (v, deltas) in differences(pairs).into_iter().enumerate() {
        let all: f64 = deltas.iter().map(|d| d.abs()).sum();
        let kept = pruned(deltas, &Place { params: &unscaled, ..*place }, v);
        sums.extend([all, kept.iter().map(|d| d.abs()).sum()]);
    }
    sums
}

/// What is left of the differences of vector `v` in one row, scaled.
fn pruned(mut deltas: Vec<f64>, place: &Place<'_>, v: usize) -> Vec<f64> {
    let (rescale, Thinning { density, epsilon, .. }) = (place.params.rescale, place.params.of(v));
    if density == 1.0 {
        return deltas;
    }
    let (draws, scale) = (Draws::new(place, v), regain(place, v));
    let last = deltas.len().saturating_sub(1) as f64;
    let ranks = ranks(&deltas);
    for (i, (d, rank)) in deltas.iter_mut().zip(ranks).enumerate() {
        let part = if last == 0.0 { 0.5 } else { rank / last };
        let probability = density - epsilon + part * 2.0 * epsilon;
        let scale = if rescale == Rescale::Density { 1.0 / probability } else { scale };
        *d = if draws.at(i) < share(probability) { scale * *d } else { 0.0 };
    }
    deltas
}

/// The rank of each magnitude, 0 the smallest; equal ones share the mean of theirs.
fn ranks(deltas: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..deltas.len()).collect();
    order.sort_unstable_by(|a, b| deltas[*a].abs().total_cmp(&deltas[*b].abs()));
    let mut ranks = vec![0.0; deltas.len()];
    let mut first = 0;
    for equal in order.chunk_by(|a, b| deltas[*a].abs() == deltas[*b].abs()) {
        let rank = first as f64 + (equal.len() - 1) as f64 / 2.0;
        equal.iter().for_each(|i| ranks[*i] = rank);
        first += equal.len();
    }
    ranks
}

/// Calls `f` with the values and terms of each row, and with what is left of each vector there.
fn each_row(
    values: &mut [f64],
    terms: &[Term<'_>],
    place: &Place<'_>,
    f: impl Fn(&mut [f64], &[Term<'_>], &[Vec<f64>]),
) {
    by_rows(values, terms, place, |values, terms, first| {
        let pairs: Vec<_> = terms.iter().map(|t| Pair { chat: t.chat, base: t.base }).collect();
        let place = Place { first, ..*place };
        let rows = differences(&pairs).into_iter().enumerate();
        let left: Vec<_> = rows.map(|(v, deltas)| pruned(deltas, &place, v)).collect();
        f(values, terms, &left);
    });
}

fn combine_linear(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>) {
    each_row(values, terms, place, |values, terms, left| {
        add_all(values, terms, |v, t, i, _| t.weight * left[v][i]);
    });
}

fn combine_elected(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>) {
    let normalize = place.params.normalize.unwrap_or(terms.len() > 1);
    each_row(values, terms, place, |values, terms, left| {
        elect(values, terms, place.params.lambda, normalize, |v, i| left[v][i]);
    });
}
