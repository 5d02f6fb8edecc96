//! The Karcher mean: of CP and the chat models, each scaled to length 1, the point of the sphere whose squared distances along
//! it are least; it gets the mean of their lengths. CP counts `cp-weight` (1), each chat model its w; bases are not read.
//! The mean lies in the span of the models, so all steps are taken on their inner products, in f64. As mergekit: it begins at
//! the mean and makes `max_iter` steps at most, until one is shorter than `tol`; models no longer than `tol` have no
//! direction. Where none has, CP stays.

use super::params::{CP_WEIGHT, MAX_ITER, Params, TOL};
use super::products::{product, triangle};
use super::task_arithmetic::TASK_ARITHMETIC;
use super::{Method, Place, Rows, Survey, Term, sorted_sum};
use ggraft_formats::{Error, Result};

pub(crate) const KARCHER: Method = Method {
    name: "karcher",
    formula: "out = the mean of CP and chat on the sphere, weighted cp-weight (1) and w, times the mean of their lengths",
    paper: "https://doi.org/10.1002/cpa.3160300502",
    params: &[&CP_WEIGHT, &MAX_ITER, &TOL],
    reads_base: false,
    check,
    survey: |_| {
        Survey::Rows(Rows {
            of: |onto, pairs, _| {
                triangle(&[onto].into_iter().chain(pairs.iter().map(|p| p.chat)).collect::<Vec<_>>())
            },
            join: |a, b| a + b,
        })
    },
    combine,
    ..TASK_ARITHMETIC
};

fn combine(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>) {
    if terms.iter().all(|t| t.weight == 0.0) {
        return;
    }
    let own = place.params.cp_weight.unwrap_or(1.0);
    let weights: Vec<f64> = [own].into_iter().chain(terms.iter().map(|t| t.weight)).collect();
    let Some(scales) = Sphere::new(place.facts, &weights, place.params.tol).mean(place.params) else {
        return;
    };
    for (i, x) in values.iter_mut().enumerate() {
        let all = [*x].into_iter().chain(terms.iter().map(|t| t.chat[i]));
        *x = sorted_sum(all.zip(&scales).map(|(x, scale)| scale * x).collect());
    }
}

/// The models on the sphere.
struct Sphere<'a> {
    products: &'a [f64],
    norms: Vec<f64>,
    /// Their parts of the mean of lengths.
    shares: Vec<f64>,
    /// Those that have a direction.
    valid: Vec<usize>,
}

impl Sphere<'_> {
    fn new<'a>(products: &'a [f64], weights: &[f64], tol: f64) -> Sphere<'a> {
        let n = weights.len();
        let total = sorted_sum(weights.to_vec());
        let norms: Vec<f64> = (0..n).map(|i| product(products, n, i, i).sqrt()).collect();
        let valid = (0..n).filter(|i| norms[*i] > tol && weights[*i] > 0.0).collect();
        Sphere { products, norms, shares: weights.iter().map(|w| w / total).collect(), valid }
    }

    /// The cosine of two models.
    fn cosine(&self, a: usize, b: usize) -> f64 {
        product(self.products, self.norms.len(), a, b) / (self.norms[a] * self.norms[b])
    }

    /// The product of one model, as long as 1, and a sum of them.
    fn along(&self, a: usize, sum: &[f64]) -> f64 {
        sorted_sum(self.valid.iter().map(|b| sum[*b] * self.cosine(a, *b)).collect())
    }

    fn length(&self, sum: &[f64]) -> f64 {
        sorted_sum(self.valid.iter().map(|a| sum[*a] * self.along(*a, sum)).collect()).max(0.0).sqrt()
    }

    /// What each model is multiplied with.
    fn mean(&self, params: &Params) -> Option<Vec<f64>> {
        let first = *self.valid.first()?;
        let n = self.norms.len();
        let total = sorted_sum(self.valid.iter().map(|i| self.shares[*i]).collect());
        let share = |i: usize| self.shares[i] / total;
        let mut at = vec![0.0; n];
        self.valid.iter().for_each(|i| at[*i] = share(*i));
        let length = self.length(&at);
        if length < params.tol {
            at.fill(0.0);
            at[first] = 1.0;
        } else {
            at.iter_mut().for_each(|x| *x /= length);
        }
        for _ in 0..params.max_iter {
            let mut step = vec![0.0; n];
            let mut back = Vec::new();
            for i in &self.valid {
                let cosine = self.along(*i, &at).clamp(-1.0, 1.0);
                let angle = libm::acos(cosine);
                if angle >= params.tol {
                    step[*i] = share(*i) * (angle / libm::sin(angle));
                    back.push(step[*i] * cosine);
                }
            }
            let back = sorted_sum(back);
            step.iter_mut().zip(&at).for_each(|(s, x)| *s -= back * x);
            let length = self.length(&step);
            if length < params.tol {
                break;
            }
            let (cos, sin) = (libm::cos(length), libm::sin(length) / length);
            at.iter_mut().zip(&step).for_each(|(x, s)| *x = cos * *x + sin * s);
            let length = self.length(&at);
            if length > params.tol {
                at.iter_mut().for_each(|x| *x /= length);
            }
        }
        let length = sorted_sum(self.norms.iter().zip(&self.shares).map(|(n, s)| n * s).collect());
        let scale = |(x, norm): (&f64, &f64)| if *x == 0.0 { 0.0 } else { length * x / norm };
        Some(at.iter().zip(&self.norms).map(scale).collect())
    }
}

fn check(weights: &[f64], params: &Params) -> Result<()> {
    let mut all = weights.iter().chain(&params.cp_weight);
    match all.find(|w| **w < 0.0) {
        None => Ok(()),
        Some(w) => Err(Error::usage("a mean on the sphere takes no negative weights")
            .expected("weights from 0 on")
            .found(w)),
    }
}
