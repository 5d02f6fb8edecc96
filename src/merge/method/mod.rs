//! What a merge method is. Chat, base and CP are f64 and hold the same elements of one tensor; a method turns CP's
//! into the output's, element by element. What it must know of the whole tensor first (norms, thresholds) a survey
//! of the tensor's rows finds out (`survey`). Vectors are summed by size, so that their order changes no bit.
//! `METHODS` is the list; a method is one file with one `Method` constant and its line here.

mod breadcrumbs;
mod dare;
mod gated;
mod linear;
mod merged;
pub(super) mod params;
mod slerp;
mod sources;
mod survey;
mod task_arithmetic;
mod ties;

pub use params::{Param, Params, Rescale};

pub(super) use merged::Merged;
pub(super) use sources::Sources;

use ggraft_formats::{Error, Result};

/// Every method.
pub const METHODS: &[Method] = &[
    task_arithmetic::TASK_ARITHMETIC,
    gated::GATED,
    linear::LINEAR,
    slerp::SLERP,
    ties::TIES,
    dare::DARE_LINEAR,
    dare::DARE_TIES,
    breadcrumbs::BREADCRUMBS,
];

/// The method of the chat vector.
pub const CHAT_VECTOR: &Method = &METHODS[0];

/// One vector's values.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    pub chat: &'a [f64],
    /// Empty, where the method reads no base.
    pub base: &'a [f64],
}

/// One vector's values and how much of it is to be added.
#[derive(Clone, Copy)]
pub struct Term<'a> {
    pub chat: &'a [f64],
    pub base: &'a [f64],
    /// `w`, times the factor that the rules give the tensor.
    pub weight: f64,
    /// `w` itself, as typed: what a method divides by that normalizes, so that the factor does not cancel out.
    pub share: f64,
}

/// Where the values come from, and what is known of their tensor.
pub struct Place<'a> {
    pub tensor: &'a str,
    /// The index in the tensor of the first value.
    pub first: u64,
    pub params: &'a Params,
    /// What the survey found; empty during the survey.
    pub facts: &'a [f64],
}

/// What must be found out about a whole tensor. It may not depend on weights: outputs of several weights share it.
pub enum Survey {
    Nothing,
    /// `of` gives some values for each row; over all rows, in their order, `join` makes one fact of each.
    Rows {
        of: fn(onto: &[f64], pairs: &[Pair<'_>], place: &Place<'_>) -> Vec<f64>,
        join: fn(f64, f64) -> f64,
    },
    /// Of a tensor of so many elements the two ranks (0 is the largest) at which `|chat - base|`, rounded to f32, is
    /// wanted: two facts a vector.
    Magnitudes(fn(params: &Params, elements: u64) -> [u64; 2]),
}

/// A way of computing the output's weights.
pub struct Method {
    pub name: &'static str,
    /// Its formula, for people.
    pub formula: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// The parameters that it takes.
    pub params: &'static [&'static Param],
    /// The most vectors that it can take.
    pub vectors: usize,
    /// Whether the base is read at all.
    pub reads_base: bool,
    /// Refuses weights, one a vector, that it cannot take.
    pub(crate) check: fn(weights: &[f64], params: &Params) -> Result<()>,
    pub(crate) survey: fn(&Params) -> Survey,
    /// Turns CP's values into the output's.
    pub(crate) combine: fn(values: &mut [f64], terms: &[Term<'_>], place: &Place<'_>),
}

impl Method {
    /// How often it reads the weights: to survey them, and to merge them.
    pub(crate) fn passes(&self, params: &Params) -> u64 {
        match (self.survey)(params) {
            Survey::Nothing => 1,
            Survey::Rows { .. } => 2,
            Survey::Magnitudes(_) => 3,
        }
    }

    /// What names say of a model that is merged so.
    pub fn mark(&self) -> String {
        if self.reads_base { String::from("chat-vector") } else { format!("{}-merge", self.name) }
    }
}

/// What a method adds to; a zero leaves it bit for bit, a negative zero too.
#[inline(always)]
pub(crate) fn add(x: f64, delta: f64) -> f64 {
    if delta == 0.0 { x } else { x + delta }
}

/// Gives each of `values` the sum of what `delta` makes of each term at that element, added up by size.
pub(crate) fn add_all(
    values: &mut [f64],
    terms: &[Term<'_>],
    delta: impl Fn(usize, &Term<'_>, usize, f64) -> f64,
) {
    let mut deltas = vec![0.0; terms.len()];
    for (i, x) in values.iter_mut().enumerate() {
        for (v, (d, term)) in deltas.iter_mut().zip(terms).enumerate() {
            *d = delta(v, term, i, *x);
        }
        deltas.sort_unstable_by(f64::total_cmp);
        *x = add(*x, deltas.iter().sum());
    }
}

/// Refuses more vectors than the method takes. Returns what the user should know.
pub(crate) fn check(method: &Method, params: &Params, vectors: usize) -> Result<Vec<String>> {
    if vectors > method.vectors {
        return Err(Error::usage(format!("the method {} takes fewer vectors", method.name))
            .expected(format!("at most {}", method.vectors))
            .found(vectors));
    }
    let thins = method.params.iter().any(|p| p.name == "density");
    Ok(if thins && params.density == 1.0 {
        vec![format!("the density is 1: {} keeps all elements of the vectors", method.name)]
    } else {
        Vec::new()
    })
}
