//! What became of one output, from the whole to single tensors.

use super::super::finished::Output;
use super::super::plan::size;
use super::heat::percent;
use super::text::{Cell, block, figure, heading, list, number, table, tile};
use super::{MAPS, Page, anchor, grid, relative, shares, stored, told, total};
use crate::output::plan::{Plan, Step};
use std::collections::BTreeMap;

pub fn section(out: &mut String, page: &Page<'_>, i: usize, output: &Output<'_>) {
    let plan = output.plan;
    heading(out, "h2", &anchor(i), &output.name());
    tiles(out, plan);
    classes(out, plan);
    budget(out, plan);
    maps(out, page, plan);
    shares::worst(out, plan);
    shares::shares(out, plan);
    // What was noticed of the inputs stands above.
    let own = plan.notes.iter().filter(|note| !page.finished.notes.contains(note)).cloned();
    let (warnings, notes): (Vec<String>, Vec<String>) = own.partition(|note| note.starts_with("warning: "));
    list(out, "Warnings", &warnings);
    folded(out, "Fallbacks", &plan.steps.iter().filter_map(Step::fallback_note).collect::<Vec<_>>());
    let dropped = plan.dropped.iter().map(|(name, reason)| format!("{name}: {reason}"));
    folded(out, "Dropped", &dropped.collect::<Vec<_>>());
    list(out, "Notes", &notes);
    files(out, output);
    tensors(out, plan);
}

/// A list that may be long, behind its number.
fn folded(out: &mut String, title: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    out.push_str("<details>\n");
    block(out, "summary", &format!("{title}: {}", items.len()));
    out.push_str("<ul>\n");
    items.iter().for_each(|item| block(out, "li", item));
    out.push_str("</ul>\n</details>\n");
}

fn tiles(out: &mut String, plan: &Plan) {
    out.push_str("<dl>\n");
    tile(out, "type", &plan.encoding());
    tile(out, "size", &size(plan.total));
    tile(out, "bits per weight", &format!("{:.4}", plan.bits_per_weight()));
    tile(out, "tensors", &plan.steps.len().to_string());
    tile(out, "weights", &grouped(plan.elements()));
    if let Some(needs) = plan.needs() {
        tile(out, "llama.cpp", &needs.to_string());
    }
    if total(plan, stored).is_some() {
        tile(out, "quantization error (relative RMS)", &relative(plan, stored));
    }
    if total(plan, Step::delta).is_some() {
        tile(out, "change by the merge (relative RMS)", &relative(plan, Step::delta));
    }
    out.push_str("</dl>\n");
}

/// A number with its digits in groups of three.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

fn classes(out: &mut String, plan: &Plan) {
    block(out, "h3", "Tensors by treatment");
    let rows = plan.classes().into_iter().map(|((fate, from, to), (count, bytes))| {
        vec![fate.into(), from.into(), to.into(), number(count), number(size(bytes))]
    });
    table(
        out,
        "Tensors by treatment",
        &["treatment", "from", "to", "tensors", "size"],
        &rows.collect::<Vec<_>>(),
    );
    let mut kept: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for s in plan.steps.iter().filter(|s| s.fate() == "kept") {
        kept.entry(s.verdict.map_or("", |v| v.reason)).or_default().push(&s.name);
    }
    for (reason, names) in kept {
        block(out, "p", &format!("Kept from onto ({reason}): {}", names.join(", ")));
    }
}

/// What a budget was spent on.
fn budget(out: &mut String, plan: &Plan) {
    let Some(account) = &plan.budget else { return };
    block(out, "h3", "Budget");
    account.lines().iter().for_each(|line| block(out, "p", line.trim()));
    let rows = account.choices.iter().map(|c| {
        vec![
            c.name.clone().into(),
            c.dtype.to_string().into(),
            c.fixed.to_string().into(),
            number(percent(c.relative.max(0.0).sqrt())),
            number(format!("{:.2e}", c.error)),
        ]
    });
    out.push_str("<details>\n");
    block(out, "summary", &format!("What each of {} tensors got", account.choices.len()));
    let other = format!("in {}", account.fixed.name);
    let heads = ["tensor", "dtype", &other, "relative error", "what it costs"];
    table(out, "What the budget was spent on", &heads, &rows.collect::<Vec<_>>());
    out.push_str("</details>\n");
}

/// Where the merge has moved the weights, and where storing them costs most.
fn maps(out: &mut String, page: &Page<'_>, plan: &Plan) {
    for ((title, caption, of), most) in MAPS.into_iter().zip(page.most) {
        let grid = grid(plan, of);
        if !grid.is_empty() {
            block(out, "h3", title);
            figure(out, &grid.svg(title, most), caption);
        }
    }
}

fn files(out: &mut String, output: &Output<'_>) {
    block(out, "h3", "Files");
    let rows = output.files.iter().map(|f| {
        vec![f.name.clone().into(), number(f.tensors), number(size(f.bytes)), Cell::Hash(f.sha256.clone())]
    });
    table(out, "Files", &["file", "tensors", "size", "sha256"], &rows.collect::<Vec<_>>());
}

fn tensors(out: &mut String, plan: &Plan) {
    out.push_str("<details>\n");
    block(out, "summary", &format!("All {} tensors", plan.steps.len()));
    let heads = [
        "tensor",
        "shape",
        "from",
        "to",
        "bytes",
        "treatment",
        "weight",
        "RMSE",
        "largest error",
        "relative",
        "cosine",
        "change",
    ];
    table(out, "All tensors", &heads, &plan.steps.iter().map(row).collect::<Vec<_>>());
    out.push_str("</details>\n");
}

fn row(step: &Step) -> Vec<Cell> {
    let scientific = |x: f64| format!("{x:.3e}");
    let weights: Vec<String> = step.weights.iter().map(f64::to_string).collect();
    let mut row: Vec<Cell> = vec![
        step.name.clone().into(),
        step.shape.to_string().into(),
        step.from.to_string().into(),
        step.to.to_string().into(),
        number(step.bytes),
        step.fate().into(),
        number(weights.join(", ")),
    ];
    row.extend(match stored(step) {
        Some(f) => [
            number(scientific(f.rmse())),
            number(scientific(f.largest)),
            number(told(f.relative(), percent)),
            number(told(f.cosine(), |x| format!("{x:.8}"))),
        ],
        None => ["0", "0", "0 %", "1"].map(number),
    });
    row.push(number(step.delta().map_or(String::from("-"), |f| told(f.relative(), percent))));
    row
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_stand_in_groups() {
        assert_eq!((grouped(12), grouped(3_016_448)), ("12".into(), "3\u{202f}016\u{202f}448".into()));
    }
}
