//! What a model would be like at several sizes, as a table: a row for each, from the smallest.

use super::plan::size;
use crate::arrange::Arrange;
use crate::output::plan::Plan;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Dtypes of a file that are named.
const FEW: usize = 4;

/// The table of plans that budgets have made.
pub fn sweep_text(plans: &[&Plan]) -> String {
    let mut out = format!(
        "{:>10} {:>8} {:>10} {:>12} {:>20}  {}",
        "size", "bpw", "est. KLD", "of mixture", "mixture", "weights by dtype"
    );
    let mut plans = plans.to_vec();
    plans.arrange_by_key(|plan| plan.total);
    for plan in plans {
        let Some(account) = &plan.budget else { continue };
        let mixed = account.divergence_of_fixed().map_or(String::from("-"), |nats| format!("{nats:.5}"));
        let mixture = format!("{} ({})", account.fixed.name, size(account.fixed.bytes));
        // Writing to a string cannot fail.
        _ = write!(
            out,
            "\n{:>10} {:>8.4} {:>10.5} {mixed:>12} {mixture:>20}  {}",
            size(plan.total),
            plan.bits_per_weight(),
            account.divergence(),
            dtypes(plan)
        );
    }
    out
}

/// The dtypes that most weights have, with their shares.
fn dtypes(plan: &Plan) -> String {
    let mut shares: BTreeMap<String, u64> = BTreeMap::new();
    for step in &plan.steps {
        *shares.entry(step.to.to_string()).or_default() += step.shape.elements();
    }
    let mut shares: Vec<(String, u64)> = shares.into_iter().collect();
    shares.arrange_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let all = plan.elements().max(1) as f64;
    let part = |(dtype, count): &(String, u64)| format!("{dtype} {:.0} %", *count as f64 * 100.0 / all);
    let told: Vec<String> = shares.iter().take(FEW).map(part).collect();
    told.join(", ") + if shares.len() > FEW { ", …" } else { "" }
}
