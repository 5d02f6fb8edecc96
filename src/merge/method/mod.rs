//! What a merge method is. Chat, base and CP are f64 and hold the same elements of one tensor; a method turns CP's
//! into the output's, element by element. What it must know of the whole tensor first (norms, thresholds) a survey
//! of the tensor's rows finds out (`survey`). Vectors are summed by size, so that their order changes no bit.
//! `METHODS` is the list; a method is one file with one `Method` constant and its line here.

mod arcee_fusion;
mod breadcrumbs;
mod dare;
mod della;
mod draw;
mod gated;
mod karcher;
mod linear;
mod merged;
mod model_stock;
mod nuslerp;
pub(super) mod params;
mod passthrough;
mod products;
mod sce;
mod slerp;
mod sources;
mod survey;
mod task_arithmetic;
mod ties;

pub use params::{Param, Params, Rescale, Thinning};

pub(super) use merged::Merged;
pub(super) use sources::Sources;

use ggraft_formats::scores::distances;
use ggraft_formats::vectors::{plus as add, sum_by_size};
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
    model_stock::MODEL_STOCK,
    nuslerp::NUSLERP,
    karcher::KARCHER,
    sce::SCE,
    della::DELLA,
    della::DELLA_LINEAR,
    arcee_fusion::ARCEE_FUSION,
    passthrough::PASSTHROUGH,
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
    /// The index in the tensor of the first value, which begins a row.
    pub first: u64,
    /// The length of a row.
    pub row: usize,
    pub params: &'a Params,
    /// What the survey found; empty during the survey.
    pub facts: &'a [f64],
    /// What the rules multiply the weights of vectors with; where there is no vector, the values themselves.
    pub factor: f64,
}

/// What must be found out about a whole tensor. It may not depend on weights: outputs of several weights share it.
pub enum Survey {
    Nothing,
    Rows(Rows),
    /// What the values of one row are, summed over all rows: as many facts for each column.
    Columns(Column),
    Ranks(Ranks),
}

/// What one column of one row comes to.
pub type Column = fn(onto: &[f64], pairs: &[Pair<'_>], place: &Place<'_>, column: usize) -> Vec<f64>;

/// `of` gives some values for each row; over all rows, in their order, `join` makes one fact of each.
pub struct Rows {
    pub of: fn(onto: &[f64], pairs: &[Pair<'_>], place: &Place<'_>) -> Vec<f64>,
    pub join: fn(f64, f64) -> f64,
}

/// Lists of scores, each with one for every element of some rows.
pub type Scores = fn(onto: &[f64], pairs: &[Pair<'_>], row: usize) -> Vec<Vec<f32>>;

/// The scores at some ranks.
pub struct Ranks {
    /// One score, from 0 on, for every element of some rows; several lists of them are ranked apart.
    pub scores: Scores,
    /// The ranks (0 is the largest) that are wanted of this list of so many elements, so many of them zero: a fact each,
    /// and as many of every list.
    pub ranks: fn(params: &Params, list: usize, elements: u64, zeros: u64) -> Vec<u64>,
    /// Further facts behind them, for which those are known.
    pub then: Option<Rows>,
}

/// The sizes of each vector's differences.
pub(crate) fn magnitudes(_: &[f64], pairs: &[Pair<'_>], _: usize) -> Vec<Vec<f32>> {
    pairs.iter().map(|p| distances(p.chat, p.base)).collect()
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
    /// The least and the most vectors that it can take.
    pub vectors: [usize; 2],
    /// Whether the base is read at all.
    pub reads_base: bool,
    /// Refuses parameters that do not go together.
    pub(crate) fits: fn(&Params) -> Result<()>,
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
            Survey::Rows(_) | Survey::Columns(_) => 2,
            Survey::Ranks(ranks) => 3 + u64::from(ranks.then.is_some()),
        }
    }

    /// Whether vectors are added at all.
    pub fn takes_vectors(&self) -> bool {
        self.vectors[1] > 0
    }

    /// What names say of a model that is merged so.
    pub fn mark(&self) -> String {
        if self.reads_base { String::from("chat-vector") } else { format!("{}-merge", self.name) }
    }
}

/// Calls `f` with the values and terms of one row after the other, and the index of the row's first element.
pub(crate) fn by_rows(
    values: &mut [f64],
    terms: &[Term<'_>],
    place: &Place<'_>,
    f: impl Fn(&mut [f64], &[Term<'_>], u64),
) {
    let row = place.row.max(1);
    for (r, values) in values.chunks_mut(row).enumerate() {
        let at = r * row..r * row + values.len();
        let part = |all| <[f64]>::get(all, at.clone()).unwrap_or_default();
        let terms: Vec<_> =
            terms.iter().map(|t| Term { chat: part(t.chat), base: part(t.base), ..*t }).collect();
        f(values, &terms, place.first + at.start as u64);
    }
}

/// The sum, added up by size.
pub(crate) fn sorted_sum(mut all: Vec<f64>) -> f64 {
    sum_by_size(&mut all)
}

/// Gives each of `values` the sum of what `delta` makes of each term at that element, added up by size.
pub(crate) fn add_all(
    values: &mut [f64],
    terms: &[Term<'_>],
    delta: impl Fn(usize, &Term<'_>, usize, f64) -> f64,
) {
    if let [term] = terms {
        values.iter_mut().enumerate().for_each(|(i, x)| *x = add(*x, delta(0, term, i, *x)));
        return;
    }
    let mut deltas = vec![0.0; terms.len()];
    for (i, x) in values.iter_mut().enumerate() {
        for (v, (d, term)) in deltas.iter_mut().zip(terms).enumerate() {
            *d = delta(v, term, i, *x);
        }
        *x = add(*x, sum_by_size(&mut deltas));
    }
}

/// Refuses more vectors than the method takes, and parameters that do not go together.
pub(crate) fn check(method: &Method, params: &Params, vectors: usize) -> Result<()> {
    let [least, most] = method.vectors;
    if vectors > 0 && most == 0 {
        return Err(Error::usage(format!("the method {} takes no vectors", method.name))
            .expected("--onto alone, or a recipe with slices")
            .found(vectors)
            .hint("leave out --chat, --base, --vector and --adapter"));
    }
    if vectors > most {
        return Err(Error::usage(format!("the method {} takes fewer vectors", method.name))
            .expected(format!("at most {most}"))
            .found(vectors));
    }
    if vectors < least {
        return Err(Error::usage(format!("the method {} takes several vectors", method.name))
            .expected(format!("at least {least}"))
            .found(vectors)
            .hint("give each as --vector CHAT:BASE:W, with the --onto model as BASE"));
    }
    (method.fits)(params)
}

/// Says so if a method that thins vectors out is told to keep all of them.
pub(crate) fn unthinned(method: &Method, params: &Params) -> Option<String> {
    let thins = method.params.iter().any(|p| p.name == "density");
    (thins && params.density == 1.0)
        .then(|| format!("the density is 1: {} keeps all elements of the vectors", method.name))
}
