//! Arcee Fusion, mergekit's: of one chat model only the changes that matter most are put on CP: `out = CP + w·(chat − CP)` where
//! the importance is at least the median plus 1.5 times the distance of the quartiles. The importance is |chat − CP|
//! times the divergence of the row, KL(softmax(chat) ‖ softmax(CP)), 1e-8 added to each part. As mergekit, but in f64, where its
//! sums in f32 lose most digits of a divergence; and quantiles are those of the whole tensor, where mergekit takes a random
//! million of a larger one. Exponential and logarithm are libm's. Bases are not read.

use super::params::Params;
use super::task_arithmetic::TASK_ARITHMETIC;
use super::{Method, Place, Ranks, Survey, Term, add, by_rows};

pub(crate) const ARCEE_FUSION: Method = Method {
    name: "arcee_fusion",
    formula: "out = CP + w * (chat - CP) where abs(chat - CP) * KL(chat, CP) of the row is an outlier of the tensor",
    paper: "https://www.arcee.ai",
    vectors: [1, 1],
    reads_base: false,
    survey: |_| {
        Survey::Ranks(Ranks {
            scores: |onto, pairs, row| pairs.iter().map(|p| scores(p.chat, onto, row)).collect(),
            ranks,
            then: None,
        })
    },
    combine,
    ..TASK_ARITHMETIC
};

/// Is added to each part of a distribution.
const SMALL: f64 = 1e-8;

/// How many distances of the quartiles an outlier lies above the median.
const FAR: f64 = 1.5;

/// The median and the quartiles; in between the lower one counts.
fn ranks(_: &Params, _: usize, elements: u64, _: u64) -> Vec<u64> {
    let last = elements.saturating_sub(1);
    [2, 1, 3].into_iter().map(|quarters| last - (u128::from(last) * quarters / 4) as u64).collect()
}

/// The importance of each element.
fn scores(chat: &[f64], onto: &[f64], row: usize) -> Vec<f32> {
    let rows = chat.chunks(row.max(1)).zip(onto.chunks(row.max(1)));
    rows.flat_map(|(chat, onto)| {
        let divergence = divergence(chat, onto);
        chat.iter().zip(onto).map(move |(c, x)| ((c - x).abs() * divergence) as f32)
    })
    .collect()
}

/// The divergence of two rows.
fn divergence(chat: &[f64], onto: &[f64]) -> f64 {
    let (p, q) = (softmax(chat), softmax(onto));
    let terms = p.into_iter().zip(q).map(|(p, q)| p * libm::log(p / q));
    terms.sum::<f64>().max(0.0)
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let parts: Vec<f64> = row.iter().map(|x| libm::exp(x - most)).collect();
    let sum: f64 = parts.iter().sum();
    parts.into_iter().map(|x| x / sum + SMALL).collect()
}

fn combine(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>) {
    let [median, lower, upper] = *place.facts else { return };
    let least = median + FAR * (upper - lower);
    by_rows(values, terms, place, |values, terms, _| {
        let [t] = terms else { return };
        let scores = scores(t.chat, values, values.len());
        for ((x, c), score) in values.iter_mut().zip(t.chat).zip(scores) {
            if f64::from(score) >= least {
                *x = if t.weight == 1.0 { *c } else { add(*x, t.weight * (c - *x)) };
            }
        }
    });
}
