//! Model stock (arXiv 2403.19522): the mean of several fine-tuned models, drawn back to the model they come from by how far
//! they agree. With n vectors `d = chat - base` and c their mean cosine, `out = CP + t/n·Σ w·d`, t = n·c / (1 + (n − 1)·c);
//! base is CP itself, or another model whose vectors are to be put on CP. As mergekit: the mean is that of all pairs' cosines,
//! a product of norms up to 1e-6 counts as that; `filter_wise` takes the cosines row by row. All in f64; a t that is not
//! finite (two opposite vectors) counts as 0.

use super::params::FILTER_WISE;
use super::products::{differences, product, triangle};
use super::task_arithmetic::TASK_ARITHMETIC;
use super::{Method, Pair, Place, Rows, Survey, Term, add_all, by_rows, sorted_sum};

pub(crate) const MODEL_STOCK: Method = Method {
    name: "model_stock",
    formula: "out = CP + t * mean of w * (chat - base), t = n * c / (1 + (n - 1) * c), c the mean cosine of the n vectors",
    paper: "https://arxiv.org/abs/2403.19522",
    params: &[&FILTER_WISE],
    vectors: [2, usize::MAX],
    survey: |params| match params.filter_wise {
        true => Survey::Nothing,
        false => Survey::Rows(Rows { of: |_, pairs, _| of_pairs(pairs), join: |a, b| a + b }),
    },
    combine,
    ..TASK_ARITHMETIC
};

/// Products of norms up to this one count as it.
const SMALL: f64 = 1e-6;

fn of_pairs(pairs: &[Pair<'_>]) -> Vec<f64> {
    triangle(&differences(pairs))
}

fn combine(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>) {
    if !place.params.filter_wise {
        return add_mean(values, terms, place.facts);
    }
    by_rows(values, terms, place, |values, terms, _| {
        let pairs: Vec<_> = terms.iter().map(|t| Pair { chat: t.chat, base: t.base }).collect();
        add_mean(values, terms, &of_pairs(&pairs));
    });
}

fn add_mean(values: &mut [f64], terms: &[Term<'_>], products: &[f64]) {
    let scale = ratio(products, terms.len()) / terms.len() as f64;
    add_all(values, terms, |_, t, i, _| t.weight * scale * (t.chat[i] - t.base[i]));
}

/// How much of the mean of `n` vectors is taken.
fn ratio(products: &[f64], n: usize) -> f64 {
    let mut cosines = Vec::new();
    for a in 0..n {
        for b in a + 1..n {
            let square = product(products, n, a, a) * product(products, n, b, b);
            let cosine = product(products, n, a, b) / square.sqrt().max(SMALL);
            cosines.push(cosine.clamp(-1.0, 1.0));
        }
    }
    let pairs = cosines.len() as f64;
    let (cosine, n) = (sorted_sum(cosines) / pairs, n as f64);
    let ratio = n * cosine / (1.0 + (n - 1.0) * cosine);
    if ratio.is_finite() { ratio } else { 0.0 }
}
