//! Model breadcrumbs (arXiv 2312.06795): of each vector the largest magnitudes (the share gamma: outliers) are dropped,
//! then the smallest ones until the share `density` is left, and what is left is added: `out = CP + Σ w·mask·d`.
//! As mergekit: where both shares do not fit, fewer outliers are dropped. Elements as large as the last that is kept, at
//! either end, are kept too, so that none is chosen by its place.

use super::params::{DENSITY, GAMMA, Params, Thinning};
use super::task_arithmetic::TASK_ARITHMETIC;
use super::{Method, Place, Ranks, Survey, Term, add_all, magnitudes};

pub(crate) const BREADCRUMBS: Method = Method {
    name: "breadcrumbs",
    formula: "out = CP + sum of w * (chat - base) without its largest and smallest elements",
    paper: "https://arxiv.org/abs/2312.06795",
    params: &[&DENSITY, &GAMMA],
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

/// The largest and the smallest magnitude that are kept. Where the share is less than an element none is: then the
/// largest that may be is 0, and the smallest the largest there is.
fn ranks(params: &Params, vector: usize, elements: u64, _: u64) -> Vec<u64> {
    let share = |of: f64| (of * elements as f64) as u64;
    let Thinning { density, gamma, .. } = params.of(vector);
    let kept = share(density);
    if kept == 0 {
        return vec![u64::MAX, 0];
    }
    let dropped = share(gamma).min(elements.saturating_sub(kept));
    vec![dropped, dropped + kept - 1]
}

fn combine(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>) {
    add_all(values, terms, |v, t, i, _| {
        let d = t.chat[i] - t.base[i];
        let size = f64::from(d.abs() as f32);
        match place.facts.get(2 * v..2 * v + 2) {
            Some([most, least]) if size > *most || size < *least => 0.0,
            _ => t.weight * d,
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_one_element_is_none() {
        let params = |density| Params { density, gamma: 0.1, ..Params::default() };
        assert_eq!(ranks(&params(0.5), 0, 10, 0), [1, 5]);
        assert_eq!(ranks(&params(0.05), 0, 10, 0), [u64::MAX, 0]);
        let (chat, base) = ([3.0, -1.0, 0.5], [0.0; 3]);
        let term = Term { chat: &chat, base: &base, weight: 1.0, share: 1.0 };
        // The survey finds no magnitude so far down, and the largest of all.
        let params = params(0.05);
        let place = Place { tensor: "t", first: 0, row: 3, params: &params, facts: &[0.0, 3.0], factor: 1.0 };
        let mut values = [1.0, 2.0, 3.0];
        combine(&mut values, &[term], &place);
        assert_eq!(values, [1.0, 2.0, 3.0]);
    }
}
