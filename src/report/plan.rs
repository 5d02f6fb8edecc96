//! The plan and the summary as text.

use super::vocabulary::write_vocabulary;
use crate::output::plan::{Fetched, Plan, Step};
use ggraft_formats::DType;
use ggraft_formats::error::Printable;
use ggraft_formats::write::Part;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Prints notes, a line each, unless nothing is to be printed.
pub fn print_notes(notes: &[String], quiet: bool) {
    for note in notes.iter().filter(|_| !quiet) {
        _ = writeln!(std::io::stderr(), "{}", Printable(note));
    }
}

/// Prints what is going to happen.
pub fn print_plan(plan: &Plan, output: &Path, threads: usize) {
    let mut out = std::io::stderr().lock();
    // A closed stderr must not stop the work.
    _ = write_plan(&mut out, plan, output, threads);
}

fn write_plan(out: &mut impl Write, plan: &Plan, output: &Path, threads: usize) -> std::io::Result<()> {
    for note in &plan.notes {
        writeln!(out, "{}", Printable(note))?;
    }
    if let Some(vocabulary) = &plan.vocabulary {
        write_vocabulary(out, vocabulary)?;
    }
    writeln!(out, "{} tensors, {} weights:", plan.steps.len(), plan.elements())?;
    for ((fate, from, to), (count, bytes)) in plan.classes() {
        writeln!(out, "  {count:>5} {fate:<9} {from:>7} -> {to:<7} {:>10}", size(bytes))?;
    }
    for (reason, names) in kept(plan) {
        writeln!(out, "kept from CP ({reason}): {}", Printable(&names.join(", ")))?;
    }
    for (name, reason) in &plan.dropped {
        writeln!(out, "dropped ({reason}): {}", Printable(name))?;
    }
    let fallbacks: Vec<String> = plan.steps.iter().filter_map(Step::fallback_note).collect();
    for note in &fallbacks {
        writeln!(out, "fallback: {}", Printable(note))?;
    }
    if !fallbacks.is_empty() {
        writeln!(
            out,
            "{} of {} tensor(s) required fallback quantization",
            fallbacks.len(),
            plan.steps.len()
        )?;
    }
    for line in plan.budget.iter().flat_map(|account| account.lines()) {
        writeln!(out, "{line}")?;
    }
    writeln!(
        out,
        "{}: {}, {}, {:.4} bits a weight",
        Printable(&output.to_string_lossy()),
        if plan.budget.is_some() { format!("file type {}", plan.kind.name()) } else { plan.encoding() },
        size(plan.total),
        plan.bits_per_weight()
    )?;
    for part in parts(plan, output) {
        let name = part.path.file_name().unwrap_or_default().to_string_lossy();
        writeln!(out, "  part {}: {} tensors, {}", Printable(&name), part.tensors, size(part.bytes))?;
    }
    for fetched in plan.fetched() {
        writeln!(out, "{}", fetched_line(&fetched, plan.passes))?;
    }
    let dir = output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let free = fs4::available_space(dir).map_or(String::from("unknown"), size);
    writeln!(
        out,
        "disk: {} needed, {free} free; memory: {} on {threads} threads",
        size(plan.total),
        size(plan.memory(threads))
    )
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

/// Prints what is going to become of every tensor, a line each.
pub fn print_tensors(plan: &Plan) {
    let mut out = std::io::stderr().lock();
    for step in &plan.steps {
        let weights: Vec<String> = step.weights.iter().map(f64::to_string).collect();
        let weights = if weights.is_empty() { String::new() } else { format!(" x {}", weights.join(", ")) };
        let reason = step.verdict.map_or(String::new(), |v| format!(" ({})", v.reason));
        let shape = step.shape.to_string();
        let (from, to) = (step.from.to_string(), step.to.to_string());
        let name = Printable(&step.name).to_string();
        // A closed stderr must not stop the work.
        _ = writeln!(out, "{name:<40} {shape:>18} {from:>7} -> {to:<7} {}{weights}{reason}", step.fate());
    }
}

/// The files of a split output; none if it is not split.
fn parts(plan: &Plan, output: &Path) -> Vec<Part> {
    let layout = (!plan.is_directory()).then(|| plan.layout(output).ok()).flatten();
    let parts = layout.map(|layout| layout.parts()).unwrap_or_default();
    if parts.len() > 1 { parts } else { Vec::new() }
}

/// The tensors that a merge leaves as they are, by reason.
fn kept(plan: &Plan) -> BTreeMap<&'static str, Vec<String>> {
    let mut kept: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for s in &plan.steps {
        if let Some(v) = s.verdict.filter(|v| v.fate == crate::merge::Fate::Kept) {
            kept.entry(v.reason).or_default().push(s.name.clone());
        }
    }
    kept
}

/// Prints what was done.
pub fn print_summary(plan: &Plan, output: &Path, elapsed: Duration) {
    let seconds = elapsed.as_secs_f64();
    let rate = size((plan.total as f64 / seconds.max(1e-9)) as u64);
    let name = output.to_string_lossy();
    _ = writeln!(
        std::io::stderr(),
        "wrote {} ({}) in {seconds:.1} s, {rate}/s; verified by reading its header back",
        Printable(&name),
        size(plan.total)
    );
    for line in vanished(plan) {
        _ = writeln!(std::io::stderr(), "{}", Printable(&line));
    }
    if let Some(loss) = plan.loss() {
        _ = writeln!(
            std::io::stderr(),
            "rounding to 16 bits adds an error of {:.1} % of the change that the merge makes; {:.1} % of the changed weights keep no trace of it",
            loss.lost_share() * 100.0,
            loss.traceless_share() * 100.0
        );
    }
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
    let misplaced: Vec<String> = plan
        .steps
        .iter()
        .filter_map(|step| {
            let count = step.vanished.misplaced();
            (count > 0).then(|| format!("{} ({count} blocks)", step.name))
        })
        .collect();
    let told = format!(
        "warning: iq3_s, as llama.cpp writes it, stores what follows 32 zeros in their place: {}; --tensor-type gives them another dtype",
        misplaced.join(", ")
    );
    by_dtype.into_iter().map(line).chain((!misplaced.is_empty()).then_some(told)).collect()
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
