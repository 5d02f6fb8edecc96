//! DARE (arXiv 2311.03099): of each vector only a random share of the elements is kept, and they are scaled up for those
//! that are dropped; then as task arithmetic (`dare_linear`) or with TIES' election of signs (`dare_ties`).
//! What is kept depends on seed, tensor name, vector index and element index alone. As mergekit, the kept elements are
//! scaled to the tensor's sum of magnitudes; `rescale=density` scales by 1 / density, as the paper does.

use super::draw::{Draws, regain, share};
use super::params::{DENSITY, LAMBDA, NORMALIZE, Params, RESCALE, Rescale, SEED};
use super::task_arithmetic::TASK_ARITHMETIC;
use super::ties::elect;
use super::{Method, Pair, Place, Rows, Survey, Term, add_all};

pub(crate) const DARE_LINEAR: Method = Method {
    name: "dare_linear",
    formula: "out = CP + sum of w * rescale(drop(chat - base))",
    paper: "https://arxiv.org/abs/2311.03099",
    params: &[&DENSITY, &RESCALE, &SEED],
    survey,
    combine: combine_linear,
    ..TASK_ARITHMETIC
};

pub(crate) const DARE_TIES: Method = Method {
    name: "dare_ties",
    formula: "out = CP + lambda * sum of w * rescale(drop(chat - base)) where the sign is the elected one",
    params: &[&DENSITY, &RESCALE, &SEED, &LAMBDA, &NORMALIZE],
    combine: combine_ties,
    ..DARE_LINEAR
};

/// The sums of magnitudes are wanted only where they scale.
fn survey(params: &Params) -> Survey {
    if params.thins() && params.rescale == Rescale::Norm {
        Survey::Rows(Rows { of: magnitudes, join: |a, b| a + b })
    } else {
        Survey::Nothing
    }
}

/// The sums of all and of the kept magnitudes of each vector in one row.
fn magnitudes(_: &[f64], pairs: &[Pair<'_>], place: &Place<'_>) -> Vec<f64> {
    let mut sums = Vec::with_capacity(2 * pairs.len());
    for (v, p) in pairs.iter().enumerate() {
        let draw = Draw::new(place, v);
        let (mut all, mut kept) = (0.0, 0.0);
        for (i, (c, b)) in p.chat.iter().zip(p.base).enumerate() {
            let d = (c - b).abs();
            all += d;
            kept += if draw.keeps(i) { d } else { 0.0 };
        }
        sums.extend([all, kept]);
    }
    sums
}

/// What to keep of one vector, and how to scale it.
struct Draw {
    draws: Draws,
    /// Of 2^53 draws, so many keep their element.
    kept: u64,
    scale: f64,
}

impl Draw {
    fn new(place: &Place<'_>, vector: usize) -> Draw {
        let (rescale, density) = (place.params.rescale, place.params.of(vector).density);
        let scale = if rescale == Rescale::Density { 1.0 / density } else { regain(place, vector) };
        Draw { draws: Draws::new(place, vector), kept: share(density), scale }
    }

    fn keeps(&self, i: usize) -> bool {
        self.draws.at(i) < self.kept
    }
}

fn draws(terms: &[Term<'_>], place: &Place<'_>) -> Vec<Draw> {
    (0..terms.len()).map(|v| Draw::new(place, v)).collect()
}

fn thinned(draw: &Draw, t: &Term<'_>, i: usize) -> f64 {
    if draw.keeps(i) { draw.scale * (t.chat[i] - t.base[i]) } else { 0.0 }
}

fn combine_linear(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>) {
    let draws = draws(terms, place);
    add_all(values, terms, |v, t, i, _| t.weight * thinned(&draws[v], t, i));
}

fn combine_ties(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>) {
    let draws = draws(terms, place);
    let normalize = place.params.normalize.unwrap_or(false);
    elect(values, terms, place.params.lambda, normalize, |v, i| thinned(&draws[v], &terms[v], i));
}
