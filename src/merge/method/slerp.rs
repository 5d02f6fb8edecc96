//! Spherical interpolation (Shoemake 1985) from CP (t = 0) to one chat model (t = 1) along the arc between the whole
//! tensors; t is the weight, bases are not read. As mergekit: the angle is that of the normalized tensors (a norm up to
//! 1e-8 counts as 1), the tensors themselves are mixed, and nearly parallel ones (|cos| > 0.9995) linearly. All in f64
//! where mergekit has f32. Sine and arc cosine are libm's, the same on every machine.

use super::params::Params;
use super::task_arithmetic::TASK_ARITHMETIC;
use super::{Method, Pair, Place, Rows, Survey, Term};
use ggraft_formats::vectors::{mix, toward};
use ggraft_formats::{Error, Result};

pub(crate) const SLERP: Method = Method {
    name: "slerp",
    formula: "out = (sin((1 - w) * a) * CP + sin(w * a) * chat) / sin(a), a the angle between them",
    paper: "https://doi.org/10.1145/325165.325242",
    vectors: [1, 1],
    reads_base: false,
    check,
    survey: |_| Survey::Rows(Rows { of: products, join: |a, b| a + b }),
    combine,
    ..TASK_ARITHMETIC
};

/// Above this cosine the arc is taken for a line.
const PARALLEL: f64 = 0.9995;

/// Norms up to this one are not divided by.
const SMALL: f64 = 1e-8;

/// CP·CP, chat·chat and CP·chat of one row.
fn products(onto: &[f64], pairs: &[Pair<'_>], _: &Place<'_>) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    pairs.iter().flat_map(|p| [dot(onto, onto), dot(p.chat, p.chat), dot(onto, p.chat)]).collect()
}

fn combine(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>) {
    let ([term], [cp, chat, both]) = (terms, place.facts) else { return };
    let t = term.weight;
    let norm = |square: f64| Some(square.sqrt()).filter(|n| *n > SMALL).unwrap_or(1.0);
    let cos = both / (norm(*cp) * norm(*chat));
    if t == 0.0 {
        return;
    }
    if t == 1.0 {
        values.copy_from_slice(term.chat);
    } else if cos.abs() > PARALLEL {
        toward(values, term.chat, t);
    } else {
        let angle = libm::acos(cos);
        let (a, b) = (libm::sin((1.0 - t) * angle), libm::sin(t * angle));
        let sin = libm::sin(angle);
        mix(values, term.chat, a / sin, b / sin);
    }
}

fn check(weights: &[f64], _: &Params) -> Result<()> {
    match weights.iter().find(|w| !(0.0..=1.0).contains(*w)) {
        None => Ok(()),
        Some(w) => {
            Err(Error::usage("slerp goes from onto to chat").expected("a weight from 0 to 1").found(w))
        }
    }
}
