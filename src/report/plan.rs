//! The plan and the summary as text. What several outputs have in common is told once; then come the outputs, each with
//! its type and size.

use super::layers::together;
use super::vocabulary::write_vocabulary;
use crate::device;
use crate::merge::{Fate, Verdict};
use crate::output::plan::{Fetched, Plan, Step};
use ggraft_formats::DType;
use ggraft_formats::error::Printable;
use ggraft_formats::write::Part;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A fallback names so many tensors; all stand in the JSON and in the report.
const FEW: usize = 6;

/// Plans and the paths of their outputs.
type Plans = [(Plan, PathBuf)];

/// What is going to happen, in lines; nothing of it is obeyed by a terminal.
pub fn plan_text(plans: &Plans, threads: usize) -> String {
    let mut out = String::new();
    let notes = |plan: &Plan| plan.notes.iter().map(|note| Printable(note).to_string()).collect();
    common(&mut out, plans, notes);
    common(&mut out, plans, |plan| plan.vocabulary.iter().map(|summary| write_vocabulary(summary)).collect());
    common(&mut out, plans, |plan| vec![treatment(plan)]);
    outputs(&mut out, plans);
    let fetched = |plan: &Plan| plan.fetched().iter().map(|one| fetched_line(one, plan.passes)).collect();
    common(&mut out, plans, fetched);
    room(&mut out, plans, threads);
    out
}

/// Paragraphs that all plans have, then those that only some have, behind the names of their outputs.
fn common(out: &mut String, plans: &Plans, of: impl Fn(&Plan) -> Vec<String>) {
    let mut told: Vec<(String, Vec<&Path>)> = Vec::new();
    for (plan, path) in plans {
        for text in of(plan) {
            match told.iter_mut().find(|(known, _)| *known == text) {
                Some((_, paths)) => paths.push(path),
                None => told.push((text, vec![path])),
            }
        }
    }
    for (text, paths) in told.into_iter().filter(|(text, _)| !text.trim().is_empty()) {
        if paths.len() < plans.len() {
            let names = paths.iter().map(|path| shown(path)).collect::<Vec<_>>().join(", ");
            line(out, format_args!("{names}:"));
        }
        line(out, format_args!("{}", text.trim_end()));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    _ = writeln!(out, "{text}");
}

fn shown(path: &Path) -> String {
    Printable(&path.to_string_lossy()).to_string()
}

/// What becomes of the tensors.
fn treatment(plan: &Plan) -> String {
    let mut out = String::new();
    line(&mut out, format_args!("{} tensors, {} weights:", plan.steps.len(), plan.elements()));
    for ((fate, from, to), (count, bytes)) in plan.classes() {
        line(&mut out, format_args!("  {count:>5} {fate:<9} {from:>7} -> {to:<7} {:>10}", size(bytes)));
    }
    for (reason, names) in kept(plan) {
        let names = together(&names).join(", ");
        line(&mut out, format_args!("kept from onto ({reason}): {}", Printable(&names)));
    }
    for (name, reason) in &plan.dropped {
        line(&mut out, format_args!("dropped ({reason}): {}", Printable(name)));
    }
    fallbacks(&mut out, plan);
    for told in plan.budget.iter().flat_map(|account| account.lines()) {
        line(&mut out, format_args!("{told}"));
    }
    out
}

/// The tensors that do not get what their mixture says, by the reason.
fn fallbacks(out: &mut String, plan: &Plan) {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for step in &plan.steps {
        if let Some(wanted) = step.fallback {
            let (row, block) = (step.shape.row(), wanted.block());
            let why = format!("rows of {row} do not fill whole {wanted} blocks of {block} -> {}", step.to);
            groups.entry(why).or_default().push(&step.name);
        }
    }
    for (why, names) in groups {
        let more = names.len().saturating_sub(FEW);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let few = names.iter().take(FEW).copied().collect::<Vec<_>>().join(", ");
        line(
            out,
            format_args!(
                "fallback: {} of {} tensors, {why}: {}{more}",
                names.len(),
                plan.steps.len(),
                Printable(&few)
            ),
        );
    }
}

fn outputs(out: &mut String, plans: &Plans) {
    let kind = |plan: &Plan| match plan.budget {
        Some(_) => format!("file type {}", plan.kind.name()),
        None => plan.encoding(),
    };
    if let [(plan, path)] = plans {
        line(
            out,
            format_args!(
                "{}: {}, {}, {:.4} bits per weight",
                shown(path),
                kind(plan),
                size(plan.total),
                plan.bits_per_weight()
            ),
        );
        return parts(out, plan, path);
    }
    line(out, format_args!("{} outputs:", plans.len()));
    let width = plans.iter().map(|(plan, _)| kind(plan).len()).max().unwrap_or(0);
    line(out, format_args!("  {:<width$} {:>10} {:>8}  file", "type", "size", "bpw"));
    for (plan, path) in plans {
        let (kind, bits) = (kind(plan), plan.bits_per_weight());
        line(out, format_args!("  {kind:<width$} {:>10} {bits:>8.4}  {}", size(plan.total), shown(path)));
        parts(out, plan, path);
    }
}

/// The files of a split output.
fn parts(out: &mut String, plan: &Plan, output: &Path) {
    let layout = (!plan.is_directory()).then(|| plan.layout(output).ok()).flatten();
    let parts: Vec<Part> = layout.map(|layout| layout.parts()).unwrap_or_default();
    for part in parts.iter().filter(|_| parts.len() > 1) {
        let name = &part.name;
        line(out, format_args!("  part {}: {} tensors, {}", Printable(name), part.tensors, size(part.bytes)));
    }
}

/// What is read from elsewhere, and how often.
fn fetched_line(fetched: &Fetched, passes: u64) -> String {
    let often = match passes {
        1 => String::new(),
        n => format!(", {n} times, as the method looks at whole tensors first; --download fetches it once"),
    };
    let from = fetched.from.to_string_lossy();
    format!("to be fetched: {} from {}{often}", size(fetched.bytes), Printable(&from))
}

/// What the work takes, and what the model will.
fn room(out: &mut String, plans: &Plans, threads: usize) {
    let needed = plans.iter().map(|(plan, _)| plan.total).sum();
    let dir = plans.first().and_then(|(_, path)| existing(path));
    let free = dir.and_then(|dir| fs4::available_space(dir).ok()).map_or(String::from("unknown"), size);
    let memory = plans.iter().map(|(plan, _)| plan.memory(threads)).max().unwrap_or(0);
    line(
        out,
        format_args!(
            "disk: {} needed, {free} free; ggraft's own memory: {} on {threads} threads",
            size(needed),
            size(memory)
        ),
    );
    let runs = |plan: &Plan| !plan.is_directory() && (!plan.is_adapter() || plans.len() == 1);
    let mut needs: Vec<u64> =
        plans.iter().filter(|(plan, _)| runs(plan)).map(|(plan, _)| plan.total).collect();
    needs.sort_unstable();
    let cache = plans.iter().find_map(|(plan, _)| device::cache(plan.metadata()));
    if let (Some(cache), Some(least)) = (cache, needs.first()) {
        let most = needs.last().filter(|most| *most != least);
        let range = most.map_or(size(*least), |most| format!("{} to {}", size(*least), size(*most)));
        line(
            out,
            format_args!(
                "memory to run it: {range}, and at most {} for {} tokens of context",
                size(cache.bytes),
                cache.tokens
            ),
        );
    }
}

/// The nearest folder of a path that is there.
fn existing(path: &Path) -> Option<&Path> {
    let folders = path.ancestors().skip(1);
    folders.map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir }).find(|dir| dir.is_dir())
}

/// What is going to become of every tensor, a line each.
pub fn tensors_text(plan: &Plan) -> String {
    let mut out = String::new();
    for step in &plan.steps {
        let weights: Vec<String> = step.weights.iter().map(f64::to_string).collect();
        let weights = if weights.is_empty() { String::new() } else { format!(" x {}", weights.join(", ")) };
        let reason = step.verdict.map_or(String::new(), |v| format!(" ({})", v.reason));
        let shape = step.shape.to_string();
        let (from, to) = (step.from.to_string(), step.to.to_string());
        let name = Printable(&step.name).to_string();
        line(
            &mut out,
            format_args!("{name:<40} {shape:>18} {from:>7} -> {to:<7} {}{weights}{reason}", step.fate()),
        );
    }
    out
}

/// The tensors that a merge leaves as they are, by reason.
fn kept(plan: &Plan) -> BTreeMap<&'static str, Vec<&str>> {
    let mut kept: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for s in &plan.steps {
        let is_told = |v: &Verdict| v.fate == Fate::Kept && v.reason != Verdict::PASSED;
        if let Some(v) = s.verdict.filter(is_told) {
            kept.entry(v.reason).or_default().push(&s.name);
        }
    }
    kept
}

/// What was done, in lines.
pub fn summary_text(plan: &Plan, output: &Path, elapsed: Duration) -> String {
    let mut out = String::new();
    let seconds = elapsed.as_secs_f64();
    let rate = size((plan.total as f64 / seconds.max(1e-9)) as u64);
    line(
        &mut out,
        format_args!(
            "wrote {} ({}) in {seconds:.1} s, {rate}/s; verified by reading its header back",
            shown(output),
            size(plan.total)
        ),
    );
    vanished(plan).iter().for_each(|told| line(&mut out, format_args!("{}", Printable(told))));
    if let Some(loss) = plan.loss() {
        line(
            &mut out,
            format_args!(
                "rounding to 16 bits adds an error of {:.1} % of the change that the merge makes; {:.1} % of the changed weights keep no trace of it",
                loss.lost_share() * 100.0,
                loss.traceless_share() * 100.0
            ),
        );
    }
    out
}

/// What was stored as zeros because it is too small for the scales of its dtype, a line for each dtype; and what was
/// stored in the wrong place.
fn vanished(plan: &Plan) -> Vec<String> {
    let mut by_dtype: BTreeMap<DType, Vec<String>> = BTreeMap::new();
    for step in &plan.steps {
        if let Some((count, largest)) = step.vanished.found() {
            let what = if step.to.is_quantized() { "blocks" } else { "rows" };
            by_dtype
                .entry(step.to)
                .or_default()
                .push(format!("{} ({count} {what}, up to {largest:e})", step.name));
        }
    }
    let line = |(dtype, tensors): (DType, Vec<String>)| {
        format!("warning: too small for {dtype}, so stored as zeros: {}", tensors.join(", "))
    };
    let misplaced: Vec<String> = plan.steps.iter().filter_map(misplaced).collect();
    let told = format!(
        "warning: iq3_s, as llama.cpp writes it, stores what follows 32 zeros in their place: {}; --tensor-type gives them another dtype",
        misplaced.join(", ")
    );
    by_dtype.into_iter().map(line).chain((!misplaced.is_empty()).then_some(told)).collect()
}

fn misplaced(step: &Step) -> Option<String> {
    let count = step.vanished.misplaced();
    (count > 0).then(|| format!("{} ({count} blocks)", step.name))
}

/// Bytes for people, in binary units.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = next;
    }
    format!("{amount:.2} {unit}")
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_read_well() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.00 KiB");
        assert_eq!(size(5 << 30), "5.00 GiB");
    }
}
