//! NuSLERP, mergekit's second spherical interpolation: of CP and one chat model, w of the way; or of two vectors from CP, the
//! second's share of the weights of the way, which are put on CP. Bases are not read. As mergekit: norms up to 1e-7 count as
//! that, an angle whose sine is below 1e-8 is a line, and the way may go beyond its ends. The arc lies between whole
//! tensors; with `nuslerp_flatten=false` between rows, and with `nuslerp_row_wise=true` then between columns (mergekit's
//! dimension 0). All in f64; sine and arc cosine are libm's.

use super::params::{NUSLERP_FLATTEN, NUSLERP_ROW_WISE, Params};
use super::products::triangle;
use super::task_arithmetic::TASK_ARITHMETIC;
use super::{Method, Pair, Place, Rows, Survey, Term, add, by_rows};
use ggraft_formats::{Error, Result};

pub(crate) const NUSLERP: Method = Method {
    name: "nuslerp",
    formula: "one chat: from CP to it along the arc, w of the way; two: out = CP + the point between chat1 - CP and chat2 - CP, w2 / (w1 + w2) of the way",
    paper: "https://doi.org/10.1145/325165.325242",
    params: &[&NUSLERP_FLATTEN, &NUSLERP_ROW_WISE],
    vectors: [1, 2],
    reads_base: false,
    check,
    survey,
    combine,
    ..TASK_ARITHMETIC
};

/// Norms up to this one count as it.
const SMALL: f64 = 1e-7;

/// Below this sine the arc is a line.
const FLAT: f64 = 1e-8;

/// Weights whose sum is smaller divide nothing.
const NOTHING: f64 = 1e-6;

fn survey(params: &Params) -> Survey {
    match (params.nuslerp_flatten, params.nuslerp_row_wise) {
        (true, _) => Survey::Rows(Rows { of: |onto, pairs, _| of_pairs(onto, pairs), join: |a, b| a + b }),
        (false, true) => Survey::Columns(|onto, pairs, _, column| {
            let one = |all| <[f64]>::get(all, column..=column).unwrap_or_default();
            let pairs: Vec<_> = pairs.iter().map(|p| Pair { chat: one(p.chat), base: &[] }).collect();
            of_pairs(one(onto), &pairs)
        }),
        (false, false) => Survey::Nothing,
    }
}

/// The products of the two ends of the arc.
fn of_pairs(onto: &[f64], pairs: &[Pair<'_>]) -> Vec<f64> {
    match pairs {
        [one] => triangle(&[onto, one.chat]),
        _ => {
            let from = |p: &Pair<'_>| p.chat.iter().zip(onto).map(|(c, x)| c - x).collect::<Vec<_>>();
            triangle(&pairs.iter().map(from).collect::<Vec<_>>())
        }
    }
}

fn combine(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>) {
    if terms.iter().all(|t| t.weight == 0.0) {
        return;
    }
    if place.params.nuslerp_flatten || place.facts.len() == 3 {
        let ends = ends(place.facts, terms);
        mix(values, terms, |_| ends);
    } else if place.params.nuslerp_row_wise {
        let columns: Vec<_> = place.facts.chunks_exact(3).map(|facts| ends(facts, terms)).collect();
        by_rows(values, terms, place, |values, terms, _| mix(values, terms, |i| columns[i]));
    } else {
        by_rows(values, terms, place, |values, terms, _| {
            let pairs: Vec<_> = terms.iter().map(|t| Pair { chat: t.chat, base: t.base }).collect();
            let ends = ends(&of_pairs(values, &pairs), terms);
            mix(values, terms, |_| ends);
        });
    }
}

/// What the two ends are multiplied with.
fn ends(products: &[f64], terms: &[Term<'_>]) -> [f64; 2] {
    let ([aa, ab, bb], shares) = (
        <[f64; 3]>::try_from(products).unwrap_or_default(),
        match terms {
            [a, b] => [a.share, b.share].map(|s| s / (a.share + b.share)),
            [one] => [1.0 - one.weight, one.weight],
            _ => [1.0, 0.0],
        },
    );
    let norm = |square: f64| square.sqrt().max(SMALL);
    let angle = libm::acos((ab / (norm(aa) * norm(bb))).clamp(-1.0, 1.0));
    let sin = libm::sin(angle);
    if sin.abs() < FLAT { shares } else { shares.map(|s| libm::sin(s * angle) / sin) }
}

fn mix(values: &mut [f64], terms: &[Term<'_>], ends: impl Fn(usize) -> [f64; 2]) {
    match terms {
        [Term { chat, weight: 1.0, .. }] => values.copy_from_slice(chat),
        [Term { chat, .. }] => {
            for (i, (x, c)) in values.iter_mut().zip(*chat).enumerate() {
                let [a, b] = ends(i);
                *x = a * *x + b * c;
            }
        }
        [first, second] => {
            // What a rule multiplies the weights with.
            let factor = (first.weight + second.weight) / (first.share + second.share);
            for (i, x) in values.iter_mut().enumerate() {
                let [a, b] = ends(i);
                *x = add(*x, factor * (a * (first.chat[i] - *x) + b * (second.chat[i] - *x)));
            }
        }
        _ => {}
    }
}

fn check(weights: &[f64], _: &Params) -> Result<()> {
    match weights {
        [a, b] if (a + b).abs() < NOTHING && *a != 0.0 => {
            Err(Error::usage("the two weights of nuslerp must not add up to zero").found(format!("{a}, {b}")))
        }
        _ => Ok(()),
    }
}
