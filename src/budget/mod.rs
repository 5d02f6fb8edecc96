//! A budget instead of a mixture: `--target-size`, `--target-bpw` and `--target-kld` choose each tensor's dtype by what its
//! error is expected to cost the model's answers. Serves the plan of a run.
//! The map: `goal` is what may be asked for, `candidates` which dtypes a tensor may get, `measure` what each of them
//! loses and `known` keeps it, `field` how much a loss in that place matters, `sizes` counts the bytes, `solve` spends them, `yardstick` is the
//! mixture that the result is compared with, `explain` tells why.
//! The expectation: KL divergence grows with the sum over tensors of sensitivity x relative squared error, as in
//! the linearity theorem of arXiv 2411.17525; how well it holds here stands in `tests/support/budget/README.md`.

mod candidates;
mod explain;
mod field;
mod goal;
mod known;
mod measure;
mod sizes;
mod solve;
mod yardstick;

pub use explain::{Account, Chosen, Fixed, Step};
pub use goal::{Budget, bytes};
pub use known::Known;

use crate::estimate::{self, Named};
use crate::ftype::{self, Assignment, Facts, Ftype, Importance, Options, Reason};
use crate::roles::EMBEDDING;
use crate::stages::Stages;
use field::Field;
use ggraft_formats::source::{fetch_ahead, planned};
use ggraft_formats::{DType, Error, Model, Result, Tensor};
use goal::Limit;
use measure::{Columns, Measured};
use rayon::prelude::*;
use sizes::Sizes;
use solve::Price;

/// What is asked of the dtypes beside the budget.
pub struct Terms<'a> {
    pub options: &'a Options,
    pub importance: Option<&'a Importance>,
    /// What was measured of the model before.
    pub known: &'a Known,
    pub allow_requantize: bool,
    /// The ftype that the user named; without one, the nearest in size is compared with.
    pub ftype: Option<&'static Ftype>,
    /// The dtypes to choose from, if not all that there are.
    pub only: Option<&'static [DType]>,
    /// Bytes of the file beside its tensors.
    pub overhead: u64,
    /// Is told how the measuring goes on.
    pub stages: &'a dyn Stages,
}

/// The dtypes that a budget buys.
pub struct Bought {
    /// The fixed mixture that the file is nearest to, by whose number it goes.
    pub ftype: &'static Ftype,
    /// In the order of the tensors.
    pub assignments: Vec<Assignment>,
    pub account: Account,
}

/// Chooses the dtypes of `model`'s tensors. Reads a sample of their weights; the result does not depend on threads.
///
/// # Errors
/// Nothing is as small as the budget, or diverges as little; or the weights cannot be read.
pub fn choose(model: &Model, facts: &Facts, budget: &Budget, terms: &Terms) -> Result<Bought> {
    let terms = &Terms { only: budget.types(), ..*terms };
    let limit = budget.settled(&model.metadata)?;
    if let Limit::Divergence(most) = limit {
        return nearest(model, facts, most, terms);
    }
    match bought(model, facts, &limit, terms)? {
        Some(bought) => Ok(bought),
        None => {
            let sizes = Sizes::new(model, &limit, terms.overhead)?;
            Err(too_small(facts, terms, &sizes, yardstick::bytes_of(facts, &sizes, terms)?)?)
        }
    }
}

/// So many parts of a file are as near to the smallest that diverges little enough as is looked for.
const PARTS: u64 = 2000;

/// The smallest file whose estimated divergence is at most `most`.
fn nearest(model: &Model, facts: &Facts, most: f64, terms: &Terms) -> Result<Bought> {
    let sizes = Sizes::new(model, &Limit::Bytes(0), terms.overhead)?;
    let mut high = sizes.fixed();
    for tensor in &facts.tensors {
        let own = sizes.one(tensor, tensor.dtype)?;
        high = high.saturating_add(own.max(sizes.one(tensor, DType::F32)?));
    }
    let near = |found: &Bought| found.account.divergence() <= most;
    let of = |bytes, terms: &Terms| bought(model, facts, &Limit::Bytes(bytes), terms);
    let Some(mut best) = of(high, terms)?.filter(near) else {
        return Err(Error::usage("no choice of dtypes diverges so little")
            .expected(format!("an estimated KL divergence of at most {most}"))
            .hint("give a larger --target-kld, or free pinned tensors"));
    };
    // Most has been measured now: what is smaller is compared with other mixtures, whose dtypes may be new.
    let terms = &Terms { stages: &(), ..*terms };
    let mut low = 0;
    while high - low > (high / PARTS).max(1) {
        let middle = low + (high - low) / 2;
        match of(middle, terms)?.filter(near) {
            Some(found) => (high, best) = (middle, found),
            None => low = middle,
        }
    }
    best.account.aim = Some(most);
    best.account.limit = best.account.spent;
    Ok(best)
}

/// The dtypes that a limit of bytes buys; none if it is too small.
fn bought(model: &Model, facts: &Facts, budget: &Limit, terms: &Terms) -> Result<Option<Bought>> {
    let sizes = Sizes::new(model, budget, terms.overhead)?;
    let (ftype, fixed) = yardstick::compared(facts, terms, &sizes)?;
    let limit = yardstick::bytes_of(facts, &sizes, terms)?;
    let menus = menus(facts, &fixed, terms)?;
    if smallest(facts, &menus, &sizes)? > limit {
        return Ok(None);
    }
    let named = Named::of(model);
    let measured = measured(model, facts, &menus, &named, terms)?;
    let field = Field::new(facts, &measured.iter().map(|m| m.energy).collect::<Vec<_>>(), &named)?;
    let mut prices = Vec::with_capacity(menus.len());
    for ((tensor, menu), found) in facts.tensors.iter().zip(&menus).zip(&measured) {
        let sensitivity = field.sensitivity(tensor.name);
        let mut of_one = Vec::with_capacity(menu.len());
        for (dtype, error) in menu.iter().zip(&found.errors) {
            of_one.push(Price { bytes: sizes.one(tensor, *dtype)?, cost: sensitivity * error });
        }
        prices.push(of_one);
    }
    let mixture: Option<Vec<usize>> =
        menus.iter().zip(&fixed).map(|(menu, fixed)| menu.iter().position(|d| *d == fixed.dtype)).collect();
    let left = limit.saturating_sub(sizes.fixed());
    let Some(picks) = solve::solve(&prices, left, mixture.as_deref()) else { return Ok(None) };
    let assignments: Vec<Assignment> = fixed
        .iter()
        .zip(&menus)
        .zip(&picks)
        .map(|((fixed, menu), pick)| match fixed.reason {
            Reason::Kept(_) | Reason::Requested(_) => *fixed,
            _ => Assignment {
                dtype: menu[*pick],
                fallback: None,
                reason: Reason::Budget,
                needs_imatrix: fixed.needs_imatrix && menu[*pick] == fixed.dtype,
            },
        })
        .collect();
    let fixed_bytes = sizes.of(facts, &fixed)?;
    let account = explain::account(
        &explain::Books { facts, menus: &menus, prices: &prices, measured: &measured, field: &field },
        &picks,
        &assignments,
        &fixed,
        explain::Totals {
            limit,
            overhead: sizes.fixed(),
            is_weights: sizes.is_weights(),
            ftype,
            fixed_bytes,
        },
    );
    Ok(Some(Bought { ftype, assignments, account }))
}

/// What each tensor may be.
fn menus(facts: &Facts, fixed: &[Assignment], terms: &Terms) -> Result<Vec<Vec<DType>>> {
    let menu = |(tensor, fixed): (&ftype::TensorFact, &Assignment)| candidates::of(tensor, fixed, terms);
    let menus: Vec<Vec<DType>> = facts.tensors.iter().zip(fixed).map(menu).collect();
    match menus.iter().position(Vec::is_empty) {
        None => Ok(menus),
        Some(i) => Err(Error::unsupported("no dtype is to be had for this tensor")
            .tensor(facts.tensors[i].name)
            .hint("name one with --tensor-type")),
    }
}

/// The fewest bytes that can be.
fn smallest(facts: &Facts, menus: &[Vec<DType>], sizes: &Sizes) -> Result<u64> {
    let mut sum = sizes.fixed();
    for (tensor, menu) in facts.tensors.iter().zip(menus) {
        let mut least = u64::MAX;
        for dtype in menu {
            least = least.min(sizes.one(tensor, *dtype)?);
        }
        sum = sum.saturating_add(least);
    }
    Ok(sum)
}

/// The error for a limit that is too small. The least that is told is one that works: what a tensor may get depends on
/// the mixture that is nearest, and so on the limit.
fn too_small(facts: &Facts, terms: &Terms, sizes: &Sizes, limit: u64) -> Result<Error> {
    let elements: u64 = facts.tensors.iter().map(|t| t.shape.elements()).sum();
    let error = Error::usage("the budget is too small for the smallest choice of dtypes");
    let larger = |least: u64| match terms.only {
        Some(_) => String::from("give a smaller --context or another device, or free pinned tensors"),
        None => format!("give --target-size {least} or more, or free pinned tensors"),
    };
    let mut given = *sizes.budget;
    for _ in 0..=yardstick::YARDSTICKS.len() {
        let tried = Sizes { budget: &given, ..*sizes };
        let (_, fixed) = yardstick::compared(facts, terms, &tried)?;
        let least = smallest(facts, &menus(facts, &fixed, terms)?, &tried)?;
        let (next, enough) = match given {
            Limit::Bits(bits) => {
                // Rounded up, so that it suffices.
                let next = (least as f64 * 8.0 / elements.max(1) as f64 * 1e4).ceil() / 1e4;
                (Limit::Bits(next), next <= bits)
            }
            Limit::Bytes(bytes) => (Limit::Bytes(least), least <= bytes),
            Limit::Like(_) | Limit::Divergence(_) => (Limit::Bytes(least), false),
        };
        if enough {
            break;
        }
        given = next;
    }
    Ok(match given {
        Limit::Bits(enough) => error
            .expected(format!("at least {enough:.4} bits per weight"))
            .found(format!("{:.4}", limit as f64 * 8.0 / elements.max(1) as f64))
            .hint(format!("give --target-bpw {enough:.4} or more, or free pinned tensors")),
        Limit::Bytes(least) => {
            error.expected(format!("at least {least} bytes")).found(limit).hint(larger(least))
        }
        Limit::Like(_) | Limit::Divergence(_) => error,
    })
}

/// What each tensor would lose as each dtype of its menu.
fn measured(
    model: &Model,
    facts: &Facts,
    menus: &[Vec<DType>],
    named: &Named,
    terms: &Terms,
) -> Result<Vec<Measured>> {
    let most = measure::most(menus.len());
    let levels = terms.options.version.levels();
    let importance = |tensor: &Tensor| terms.importance.and_then(|i| i.weights(tensor));
    let search = |tensor: &Tensor| {
        ftype::search_of(terms.options.search, terms.importance.is_some(), importance(tensor).is_some())
    };
    let known = |tensor: &Tensor, menu: &[DType]| {
        terms.known.of(tensor, menu, importance(tensor), (levels, search(tensor)))
    };
    let needed = |(tensor, menu): (&Tensor, &Vec<DType>)| match known(tensor, menu) {
        Some(_) => Vec::new(),
        None => planned(|| measure::ask(tensor, most)),
    };
    let fetching = fetch_ahead(model.tensors.iter().zip(menus).map(needed));
    let measure = |tensor: &Tensor, menu: &[DType]| {
        // An embedding is looked up, also where it serves as the output.
        let reads = tensor.name != EMBEDDING;
        let gains = reads.then(|| estimate::gains(named, tensor)).transpose()?.flatten();
        let columns = Columns { gains, importance: importance(tensor), levels, search: search(tensor) };
        terms.known.measured(tensor, menu, &columns, most)
    };
    let one = |(i, (tensor, menu)): (usize, (&Tensor, &Vec<DType>))| {
        let found = known(tensor, menu).map_or_else(|| measure(tensor, menu), Ok);
        fetching.iter().for_each(|fetching| fetching.done(i));
        terms.stages.step();
        found
    };
    debug_assert_eq!(model.tensors.len(), facts.tensors.len());
    terms.stages.begin("measuring what each dtype loses", menus.len());
    let found = model.tensors.par_iter().zip(menus).enumerate().map(one).collect();
    terms.stages.end();
    found
}
