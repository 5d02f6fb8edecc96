//! SCE (arXiv 2408.07990): select the elements in which the vectors differ most (the share `select_topk` of those that differ at
//! all, by variance), calculate for each vector a weight e, its share of the squares, and erase elements against the sign of
//! the sum: `out = CP + Σ w·e·d / Σ e` over the vectors that are left. As mergekit: where the mean squares of all vectors
//! add up to less than 1e-6, each e is 1 / n, and Σ e is at least 1e-6. Unlike it, elements whose variance is that of the
//! last that is selected are all selected, so that none is chosen by its place; and all is in f64.

use super::params::{Params, SELECT_TOPK};
use super::task_arithmetic::TASK_ARITHMETIC;
use super::{Method, Pair, Place, Ranks, Rows, Survey, Term, add, sorted_sum};

pub(crate) const SCE: Method = Method {
    name: "sce",
    formula: "out = CP + sum of w * e * select(chat - base) where the sign is the elected one, divided by those e, the vectors' shares of the squares",
    paper: "https://arxiv.org/abs/2408.07990",
    params: &[&SELECT_TOPK],
    survey,
    combine,
    ..TASK_ARITHMETIC
};

/// A smaller sum of e counts as this, and below this sum of squares all e are one.
const SMALL: f64 = 1e-6;

fn survey(params: &Params) -> Survey {
    let squares = Rows { of: squares, join: |a, b| a + b };
    match selects(params) {
        true => {
            Survey::Ranks(Ranks { scores: |_, pairs, _| vec![variances(pairs)], ranks, then: Some(squares) })
        }
        false => Survey::Rows(squares),
    }
}

fn selects(params: &Params) -> bool {
    params.select_topk < 1.0
}

fn variances(pairs: &[Pair<'_>]) -> Vec<f32> {
    let elements = pairs.first().map_or(0, |p| p.chat.len());
    (0..elements).map(|i| variance(pairs.iter().map(|p| p.chat[i] - p.base[i]).collect())).collect()
}

/// The variance of one element over the vectors.
fn variance(deltas: Vec<f64>) -> f32 {
    let n = deltas.len() as f64;
    let mean = sorted_sum(deltas.clone()) / n;
    (sorted_sum(deltas.iter().map(|d| (d - mean) * (d - mean)).collect()) / n) as f32
}

/// The largest and the smallest variance that are selected; if none is, the largest that may be is 0.
fn ranks(params: &Params, _: usize, elements: u64, zeros: u64) -> Vec<u64> {
    match (params.select_topk * elements.saturating_sub(zeros) as f64) as u64 {
        0 => vec![u64::MAX, 0],
        selected => vec![0, selected - 1],
    }
}

/// Whether elements of this variance are selected.
fn is_selected(variance: f32, place: &Place<'_>) -> bool {
    let variance = f64::from(variance);
    match place.facts {
        [most, least, ..] if selects(place.params) => variance > 0.0 && (*least..=*most).contains(&variance),
        _ => true,
    }
}

/// The sum of each vector's squares over the selected elements of one row, and the number of all elements.
fn squares(_: &[f64], pairs: &[Pair<'_>], place: &Place<'_>) -> Vec<f64> {
    let variances = if selects(place.params) { variances(pairs) } else { Vec::new() };
    let of = |p: &Pair<'_>| {
        let selected = p.chat.iter().zip(p.base).enumerate();
        let selected = selected.filter(|(i, _)| variances.get(*i).is_none_or(|v| is_selected(*v, place)));
        selected.map(|(_, (c, b))| (c - b) * (c - b)).sum()
    };
    let elements = pairs.first().map_or(0, |p| p.chat.len()) as f64;
    pairs.iter().map(of).chain([elements]).collect()
}

/// Each vector's share of the squares.
fn shares(place: &Place<'_>, vectors: usize) -> Vec<f64> {
    let facts = place.facts.get(if selects(place.params) { 2 } else { 0 }..).unwrap_or_default();
    let [squares @ .., elements] = facts else { return vec![1.0; vectors] };
    let means: Vec<f64> = squares.iter().map(|s| s / elements).collect();
    let total = sorted_sum(means.clone());
    match total < SMALL {
        true => vec![1.0 / vectors as f64; vectors],
        false => means.iter().map(|mean| mean / total).collect(),
    }
}

fn combine(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>) {
    let shares = shares(place, terms.len());
    let selects = selects(place.params);
    // The difference, the share and the weight of each vector; by size, so that they may be given in any order.
    let mut votes = vec![(0.0, 0.0, 0.0); terms.len()];
    for (i, x) in values.iter_mut().enumerate() {
        for ((vote, t), share) in votes.iter_mut().zip(terms).zip(&shares) {
            *vote = (t.chat[i] - t.base[i], *share, t.weight);
        }
        if selects && !is_selected(variance(votes.iter().map(|vote| vote.0).collect()), place) {
            continue;
        }
        votes
            .sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2)));
        let sum: f64 = votes.iter().map(|(d, ..)| d).sum();
        let (mut mixed, mut share) = (0.0, 0.0);
        for (d, e, w) in votes.iter().filter(|(d, ..)| if sum >= 0.0 { *d > 0.0 } else { *d < 0.0 }) {
            mixed += w * e * d;
            share += e;
        }
        *x = add(*x, mixed / share.max(SMALL));
    }
}
