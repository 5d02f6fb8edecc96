//! Nothing is merged: weights pass as they are, or times a scale, which the rules of the weights tell. With layers of
//! several models as CP that is mergekit's passthrough: `out = scale * CP`. A scale of 1 leaves the bytes alone.

use super::task_arithmetic::TASK_ARITHMETIC;
use super::{Method, Place, Term};

pub(crate) const PASSTHROUGH: Method = Method {
    name: "passthrough",
    formula: "out = CP, times what --weights says",
    paper: "https://arxiv.org/abs/2403.13257",
    vectors: [0, 0],
    reads_base: false,
    combine,
    ..TASK_ARITHMETIC
};

fn combine(values: &mut [f64], _: &[Term<'_>], place: &Place<'_>) {
    values.iter_mut().for_each(|x| *x *= place.factor);
}
