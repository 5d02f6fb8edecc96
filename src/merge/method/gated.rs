//! The chat vector, gated by conflict (J. Park, EasyLLMFeaturePorter, 2024): where the language training moved a weight
//! far, CP keeps it. `out = CP + Σ w·(1 − sigmoid(12·n − 6))·(chat − base)`, where n is |CP − base| brought to 0..1 by
//! its smallest and largest value in the tensor; where these differ by less than 1e-6 nothing is gated. As published,
//! but in f64 and with w. The exponential is libm's, the same on every machine.

use super::task_arithmetic::TASK_ARITHMETIC;
use super::{Method, Pair, Place, Rows, Survey, Term, add_all};

pub(crate) const GATED: Method = Method {
    name: "gated",
    formula: "out = CP + sum of w * (1 - sigmoid(12 * n - 6)) * (chat - base), n = abs(CP - base) scaled to 0..1",
    paper: "https://github.com/StableFluffy/EasyLLMFeaturePorter",
    survey: |_| Survey::Rows(Rows { of: extremes, join: f64::max }),
    combine,
    ..TASK_ARITHMETIC
};

/// A narrower range of |CP - base| than this is not gated.
const NARROW: f64 = 1e-6;

/// The largest |CP - base| of each vector in one row, and the smallest, negated.
fn extremes(onto: &[f64], pairs: &[Pair<'_>], _: &Place<'_>) -> Vec<f64> {
    let mut found = Vec::with_capacity(2 * pairs.len());
    for p in pairs {
        let moved = || onto.iter().zip(p.base).map(|(x, b)| (x - b).abs());
        found.push(moved().fold(0.0, f64::max));
        found.push(-moved().fold(f64::INFINITY, f64::min));
    }
    found
}

fn combine(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>) {
    add_all(values, terms, |v, t, i, x| {
        let gate = match place.facts.get(2 * v..2 * v + 2) {
            Some([most, minus_least]) if most + minus_least >= NARROW => {
                let n = ((x - t.base[i]).abs() + minus_least) / (most + minus_least);
                1.0 / (1.0 + libm::exp(12.0 * n - 6.0))
            }
            _ => 1.0,
        };
        t.weight * gate * (t.chat[i] - t.base[i])
    });
}
