//! The weighted mean (model soups, arXiv 2203.05482) of CP and the chat models; bases are not read:
//! `out = CP + Σ w·(chat − CP) / (u + Σ w)`, where u is CP's own weight. By default CP has what the others leave of
//! 1, so that nothing is divided. That is mergekit's `linear`, normalized, with CP as one of the models.

use super::params::{CP_WEIGHT, Params};
use super::task_arithmetic::TASK_ARITHMETIC;
use super::{Method, Place, Term, add, add_all};
use ggraft_formats::vectors::toward;
use ggraft_formats::{Error, Result};

pub(crate) const LINEAR: Method = Method {
    name: "linear",
    formula: "out = CP + sum of w * (chat - CP), divided by the sum of the weights",
    paper: "https://arxiv.org/abs/2203.05482",
    params: &[&CP_WEIGHT],
    reads_base: false,
    check,
    combine,
    ..TASK_ARITHMETIC
};

fn combine(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>) {
    let shares: Vec<f64> = terms.iter().map(|t| t.share).collect();
    let total = total(&shares, place.params);
    match terms {
        [Term { chat, weight, .. }] if *weight == total => values.copy_from_slice(chat),
        [Term { chat, weight, .. }] if total == 1.0 => toward(values, chat, *weight),
        _ if total == 1.0 => add_all(values, terms, |_, t, i, x| t.weight * (t.chat[i] - x)),
        _ => {
            let onto = values.to_vec();
            values.fill(0.0);
            add_all(values, terms, |_, t, i, _| t.weight * (t.chat[i] - onto[i]));
            values.iter_mut().zip(onto).for_each(|(sum, x)| *sum = add(x, *sum / total));
        }
    }
}

/// The sum of all weights, in an order that does not depend on that of the vectors.
fn total(shares: &[f64], params: &Params) -> f64 {
    let Some(cp) = params.cp_weight else { return 1.0 };
    let mut all = [&[cp], shares].concat();
    all.sort_unstable_by(f64::total_cmp);
    all.iter().sum()
}

fn check(weights: &[f64], params: &Params) -> Result<()> {
    if total(weights, params) == 0.0 {
        return Err(Error::usage("the weights of a linear merge must not add up to zero")
            .hint("choose another --weight or cp-weight"));
    }
    Ok(())
}
