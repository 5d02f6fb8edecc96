//! Task arithmetic (arXiv 2212.04089): `out = CP + Σ w·(chat − base)`; with one vector, the chat vector
//! (arXiv 2310.04799).

use super::{Method, Place, Survey, Term, add_all};
use ggraft_formats::vectors::add_differences;

pub(crate) const TASK_ARITHMETIC: Method = Method {
    name: "task_arithmetic",
    formula: "out = CP + sum of w * (chat - base)",
    paper: "https://arxiv.org/abs/2212.04089",
    params: &[],
    vectors: [1, usize::MAX],
    reads_base: true,
    fits: |_| Ok(()),
    check: |_, _| Ok(()),
    survey: |_| Survey::Nothing,
    combine,
};

/// Each element in f64. Where the vector is zero, CP stays bit for bit, a negative zero too; where CP is the
/// base itself and w is 1, chat comes out exactly, which the subtraction in f64 alone would not promise.
fn combine(values: &mut [f64], terms: &[Term<'_>], _: &Place<'_>) {
    match terms {
        [Term { chat, base, weight, .. }] => add_differences(values, chat, base, *weight),
        _ => add_all(values, terms, |_, t, i, _| t.weight * (t.chat[i] - t.base[i])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::Params;

    fn combined(cp: f64, chat: f64, base: f64, weight: f64) -> f64 {
        let mut values = [cp];
        let place =
            Place { tensor: "t", first: 0, row: 1, params: &Params::default(), facts: &[], factor: 1.0 };
        combine(&mut values, &[Term { chat: &[chat], base: &[base], weight, share: weight }], &place);
        values[0]
    }

    #[test]
    fn a_zero_vector_keeps_negative_zero() {
        for (chat, base, w) in [(0.5, 0.5, 1.0), (0.5, 0.25, 0.0), (-0.5, -0.5, 0.3)] {
            assert_eq!(combined(-0.0, chat, base, w).to_bits(), (-0.0f64).to_bits());
        }
    }

    #[test]
    fn chat_comes_back_when_cp_is_the_base() {
        for chat in [-0.0, 1e-30, 3.5, -7.25e10] {
            assert_eq!(combined(1.0, chat, 1.0, 1.0).to_bits(), chat.to_bits());
        }
    }

    #[test]
    fn the_formula() {
        assert_eq!(combined(1.0, 3.0, 2.0, 0.5), 1.5);
    }
}
