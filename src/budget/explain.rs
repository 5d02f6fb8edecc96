//! Why each tensor has its dtype: what it costs, and what the next smaller and larger would. Served are the plan
//! that people read and the one that programs do.

use super::field::Field;
use super::measure::Measured;
use super::solve::Price;
use crate::arrange::Arrange;
use crate::ftype::{self, Assignment, Facts, Ftype, Reason};
use crate::roles::{self, Role};
use ggraft_formats::{DType, Error, Result};
use std::collections::BTreeMap;

/// What was spent, and what for.
#[derive(Clone, Debug)]
pub struct Account {
    /// The most bytes, of the file or of the weights.
    pub limit: u64,
    pub spent: u64,
    /// Whether bytes of weights count, and not those of the file.
    pub is_weights: bool,
    /// The divergence that was asked for, if no size was.
    pub aim: Option<f64>,
    /// The sum of sensitivity x relative squared error over the tensors.
    pub error: f64,
    /// Nats for each unit of that.
    pub nats: f64,
    /// The mixture that it is compared with.
    pub fixed: Fixed,
    /// The tensors whose dtype was chosen, in the order of the output.
    pub choices: Vec<Chosen>,
}

/// A fixed mixture of about the same size.
#[derive(Clone, Debug)]
pub struct Fixed {
    pub name: &'static str,
    pub bytes: u64,
    /// None if there is no encoder for one of its dtypes, so that it cannot be measured.
    pub error: Option<f64>,
}

/// The dtype of one tensor.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub name: String,
    pub role: Role,
    pub dtype: DType,
    /// What the fixed mixture gives it.
    pub fixed: DType,
    /// How much a relative error of it counts.
    pub sensitivity: f64,
    /// Its squared error as a part of its squared weights.
    pub relative: f64,
    /// Their product.
    pub error: f64,
    /// The rows that were measured.
    pub rows: usize,
    pub smaller: Option<Step>,
    pub larger: Option<Step>,
}

/// Another dtype that a tensor could have had.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub dtype: DType,
    /// Bytes fewer, or more.
    pub bytes: u64,
    /// The error more, or less.
    pub error: f64,
}

/// What was known when the dtypes were chosen.
pub(super) struct Books<'a> {
    pub facts: &'a Facts<'a>,
    pub menus: &'a [Vec<DType>],
    pub prices: &'a [Vec<Price>],
    pub measured: &'a [Measured],
    pub field: &'a Field,
}

pub(super) struct Totals {
    pub limit: u64,
    pub overhead: u64,
    pub is_weights: bool,
    pub ftype: &'static Ftype,
    pub fixed_bytes: u64,
}

/// The account of these picks; `fixed` are the dtypes of the mixture that they are compared with.
pub(super) fn account(
    books: &Books,
    picks: &[usize],
    given: &[Assignment],
    fixed: &[Assignment],
    totals: Totals,
) -> Account {
    let (mut spent, mut error, mut fixed_error) = (totals.overhead, 0.0, Some(0.0));
    let mut choices = Vec::new();
    for (i, pick) in picks.iter().enumerate() {
        let (prices, name) = (&books.prices[i], books.facts.tensors[i].name);
        spent += prices[*pick].bytes;
        error += prices[*pick].cost;
        let of_fixed = books.menus[i].iter().position(|dtype| *dtype == fixed[i].dtype);
        fixed_error = fixed_error.zip(of_fixed).map(|(sum, at)| sum + prices[at].cost);
        if given[i].reason == Reason::Budget {
            choices.push(Chosen {
                name: name.to_string(),
                role: Role::of(name),
                dtype: given[i].dtype,
                fixed: fixed[i].dtype,
                sensitivity: books.field.sensitivity(name),
                relative: books.measured[i].errors[*pick],
                error: prices[*pick].cost,
                rows: books.measured[i].rows,
                smaller: neighbour(&books.menus[i], prices, *pick, false),
                larger: neighbour(&books.menus[i], prices, *pick, true),
            });
        }
    }
    choices.arrange_by(|a, b| ftype::order(&a.name).cmp(&ftype::order(&b.name)));
    let fixed = Fixed { name: totals.ftype.name, bytes: totals.fixed_bytes, error: fixed_error };
    let nats = books.field.nats();
    Account {
        limit: totals.limit,
        aim: None,
        nats,
        spent,
        is_weights: totals.is_weights,
        error,
        fixed,
        choices,
    }
}

/// The next choice in size that is larger and costs less, or smaller and costs more.
fn neighbour(menu: &[DType], prices: &[Price], pick: usize, larger: bool) -> Option<Step> {
    let now = prices[pick];
    let others = prices.iter().zip(menu).filter(|(p, _)| match larger {
        true => p.bytes > now.bytes && p.cost < now.cost,
        false => p.bytes < now.bytes && p.cost > now.cost,
    });
    let steps = others.map(|(p, dtype)| Step {
        dtype: *dtype,
        bytes: p.bytes.abs_diff(now.bytes),
        error: (p.cost - now.cost).abs(),
    });
    steps.min_by(|a, b| a.bytes.cmp(&b.bytes).then(a.error.total_cmp(&b.error)))
}

impl Account {
    /// The mean KL divergence from the model as it was, in nats, that is estimated.
    pub fn divergence(&self) -> f64 {
        self.nats * self.error
    }

    /// The same of the fixed mixture, if it can be told.
    pub fn divergence_of_fixed(&self) -> Option<f64> {
        self.fixed.error.map(|error| self.nats * error)
    }

    /// Refuses an output that is larger than its budget: the headers of a split one are only estimated before.
    pub fn keeps(&self, bytes: u64) -> Result<()> {
        if self.is_weights || self.aim.is_some() || bytes <= self.limit {
            return Ok(());
        }
        Err(Error::usage("the parts are larger than the budget")
            .expected(format!("at most {} bytes", self.limit))
            .found(bytes)
            .hint("give a smaller --target-size by the difference, or fewer parts"))
    }

    /// The lines of a plan for people: the sum, then for each role its dtypes and the layers that have them.
    pub fn lines(&self) -> Vec<String> {
        let what = if self.is_weights { "bytes of weights" } else { "bytes" };
        let Fixed { name, bytes, error } = &self.fixed;
        let fixed = match error {
            Some(error) => format!("the fixed mixture {name} has {error:.5} in {bytes} {what}"),
            None => format!("the fixed mixture {name} takes {bytes} {what}, and cannot be written"),
        };
        let spent = match self.aim {
            Some(aim) => format!("budget: {} {what}, the fewest for a KL divergence of {aim}", self.spent),
            None => format!(
                "budget: {} of {} {what} spent ({:.2} %)",
                self.spent,
                self.limit,
                self.spent as f64 * 100.0 / self.limit.max(1) as f64
            ),
        };
        let mut lines = vec![
            spent,
            format!(
                "expected error (sum of sensitivity x relative squared error): {:.5}; {fixed}",
                self.error
            ),
            format!("estimated KL divergence: {:.5}", self.divergence()),
        ];
        let mut roles: Vec<(Role, BTreeMap<DType, Vec<&Chosen>>)> = Vec::new();
        for choice in &self.choices {
            let at = roles.iter().position(|(role, _)| *role == choice.role).unwrap_or_else(|| {
                roles.push((choice.role, BTreeMap::new()));
                roles.len() - 1
            });
            roles[at].1.entry(choice.dtype).or_default().push(choice);
        }
        for (role, dtypes) in roles {
            let parts: Vec<String> =
                dtypes.iter().map(|(dtype, of)| format!("{dtype}{}", places(of))).collect();
            let error: f64 = dtypes.values().flatten().map(|c| c.error).sum();
            lines.push(format!("  {role:<18} error {error:.5}  {}", parts.join(", ")));
        }
        lines
    }
}

/// The layers of some tensors of a role, runs drawn together; nothing for tensors of no layer.
fn places(of: &[&Chosen]) -> String {
    let mut layers: Vec<u64> = of.iter().filter_map(|c| roles::layer(&c.name)).collect();
    layers.sort_unstable();
    layers.dedup();
    let runs: Vec<String> = layers
        .chunk_by(|a, b| a + 1 == *b)
        .map(|run| match run {
            [one] => one.to_string(),
            [first, .., last] => format!("{first}-{last}"),
            [] => String::new(),
        })
        .collect();
    if runs.is_empty() { String::new() } else { format!(" (layers {})", runs.join(" ")) }
}
