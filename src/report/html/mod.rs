//! A report as a page for people: one file, no scripts, nothing from elsewhere, drawings in SVG. Its policy forbids the
//! browser to load or run anything, so that not even a mistake here could let a hostile file do it.

mod heat;
mod text;

use super::finished::{Finished, Output};
use super::plan::size;
use crate::measure::figures::Figures;
use crate::merge::tokens::matching::{Class, Count};
use crate::merge::{Summary, VectorSummary};
use crate::output::plan::{Plan, Step};
use heat::{Grid, bars, percent};
use std::collections::BTreeMap;
use text::{Cell, block, list, number, table, tile};

const STYLE: &str = include_str!("style.css");
/// What stands before the title, with the policy.
const HEAD: &str = include_str!("head.html");

/// The page.
pub fn page(finished: &Finished<'_>) -> String {
    let names: Vec<String> = finished.outputs.iter().map(Output::name).collect();
    let title = text::escaped(&format!("{} - ggraft", names.join(", ")));
    let mut out = format!("{HEAD}<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n");
    block(&mut out, "h1", &names.join(", "));
    block(&mut out, "p", &format!("Made by ggraft {}:", env!("CARGO_PKG_VERSION")));
    block(&mut out, "pre", finished.command);
    list(&mut out, "What was noticed of the models", finished.notes);
    finished.outputs.iter().for_each(|output| section(&mut out, output));
    out + "</body>\n</html>\n"
}

fn section(out: &mut String, output: &Output<'_>) {
    let plan = output.plan;
    block(out, "h2", &output.name());
    tiles(out, plan);
    origins(out, plan);
    classes(out, plan);
    // Models without token tables have no vectors there.
    if let Some(summary) = plan.vocabulary.as_ref().filter(|summary| !summary.vectors.is_empty()) {
        vocabulary(out, summary);
    }
    maps(out, plan);
    dtypes(out, plan);
    let (warnings, notes): (Vec<String>, Vec<String>) =
        plan.notes.iter().cloned().partition(|note| note.starts_with("warning: "));
    list(out, "Warnings", &warnings);
    list(out, "Fallbacks", &plan.steps.iter().filter_map(Step::fallback_note).collect::<Vec<_>>());
    let dropped = plan.dropped.iter().map(|(name, reason)| format!("{name}: {reason}"));
    list(out, "Dropped", &dropped.collect::<Vec<_>>());
    list(out, "Notes", &notes);
    files(out, output);
    tensors(out, plan);
}

fn tiles(out: &mut String, plan: &Plan) {
    let error: Figures = plan.steps.iter().filter_map(stored).sum();
    out.push_str("<dl>\n");
    tile(out, "type", &plan.encoding());
    tile(out, "size", &size(plan.total));
    tile(out, "bits a weight", &format!("{:.4}", plan.bits_per_weight()));
    tile(out, "tensors", &plan.steps.len().to_string());
    tile(out, "weights", &plan.elements().to_string());
    if error.count > 0 {
        tile(out, "relative error of storing", &told(error.relative(), percent));
    }
    let moved: Figures = plan.steps.iter().filter_map(Step::delta).sum();
    if moved.count > 0 {
        tile(out, "relative size of the change", &told(moved.relative(), percent));
    }
    out.push_str("</dl>\n");
}

/// What was measured of storing a tensor; none where it is stored as it was.
fn stored(step: &Step) -> Option<Figures> {
    step.meter.as_ref().map(|meter| meter.total().stored)
}

fn told(x: Option<f64>, how: fn(f64) -> String) -> String {
    x.map_or(String::from("-"), how)
}

fn origins(out: &mut String, plan: &Plan) {
    if plan.origins.is_empty() {
        return;
    }
    block(out, "h3", "Made from");
    let rows = plan.origins.iter().map(|o| {
        let weights: Vec<String> = o.weights.iter().map(f64::to_string).collect();
        vec![o.role.into(), o.name.clone().into(), number(weights.join(", ")), o.header_sha256.clone().into()]
    });
    table(out, &["role", "model", "weight", "sha256 of the header"], &rows.collect::<Vec<_>>());
}

fn classes(out: &mut String, plan: &Plan) {
    block(out, "h3", "What became of the tensors");
    let rows = plan.classes().into_iter().map(|((fate, from, to), (count, bytes))| {
        vec![fate.into(), from.into(), to.into(), number(count), number(size(bytes))]
    });
    table(out, &["", "from", "to", "tensors", "size"], &rows.collect::<Vec<_>>());
    let mut kept: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for s in plan.steps.iter().filter(|s| s.fate() == "kept") {
        kept.entry(s.verdict.map_or("", |v| v.reason)).or_default().push(&s.name);
    }
    for (reason, names) in kept {
        block(out, "p", &format!("Kept from CP ({reason}): {}", names.join(", ")));
    }
}

fn vocabulary(out: &mut String, summary: &Summary) {
    block(out, "h3", "Vocabulary");
    for v in &summary.vectors {
        block(out, "p", &format!("--embeddings {}: {}", v.policy.word(), v.why));
        counts(out, if v.head_counts.is_some() { "rows of the embedding" } else { "rows of CP" }, &v.counts);
        if let Some(head) = &v.head_counts {
            counts(out, "rows of the head", head);
        }
        of_chat(out, v);
    }
    if !summary.markers.is_empty() {
        let markers = summary.markers.join(" ");
        block(out, "p", &format!("Chat template: {}; its markers: {markers}", summary.template));
    }
}

fn counts(out: &mut String, what: &str, counts: &[(Class, Count)]) {
    let rows = counts.iter().map(|(class, c)| {
        let figures = [c.rows, c.kept, c.added, c.lerped, c.copied];
        [class.words().into()].into_iter().chain(figures.map(number)).collect::<Vec<Cell>>()
    });
    table(out, &[what, "rows", "kept", "delta", "lerp", "copied"], &rows.collect::<Vec<_>>());
}

fn of_chat(out: &mut String, v: &VectorSummary) {
    if v.chat_only > 0 {
        block(out, "p", &format!("Tokens of chat without a row in the output: {}", v.chat_only));
    }
    let copied = v.copied.iter().map(|c| format!("'{}' ({}): {}", c.token, c.id, c.why));
    list(out, "Copied from chat", &copied.collect::<Vec<_>>());
}

/// What is known of a tensor.
type Of = fn(&Step) -> Option<Figures>;

/// Where the merge has moved the weights, and where storing them costs most.
fn maps(out: &mut String, plan: &Plan) {
    let maps: [(&str, &str, Of); 2] = [
        (
            "Relative size of the change by role and layer",
            "The root mean square of what the merge adds, relative to that of CP's weights.",
            Step::delta,
        ),
        (
            "Relative error of storing by role and layer",
            "The root mean square of the error, relative to that of the weights before they were encoded.",
            stored,
        ),
    ];
    for (title, caption, of) in maps {
        let mut grid = Grid::default();
        for step in &plan.steps {
            if let Some(figures) = of(step) {
                grid.add(&step.name, figures);
            }
        }
        if !grid.is_empty() {
            block(out, "h3", title);
            let caption = text::escaped(caption);
            out.push_str(&format!(
                "<figure class=\"wide\">\n{}\n<figcaption>{caption}</figcaption>\n</figure>\n",
                grid.svg(title)
            ));
        }
    }
}

fn dtypes(out: &mut String, plan: &Plan) {
    let mut sizes: BTreeMap<String, (u64, usize)> = BTreeMap::new();
    for s in &plan.steps {
        let (bytes, count) = sizes.entry(s.to.to_string()).or_default();
        *bytes += s.bytes;
        *count += 1;
    }
    let mut rows: Vec<(String, u64, String)> = sizes
        .into_iter()
        .map(|(dtype, (bytes, count))| (dtype, bytes, format!("{} in {count} tensors", size(bytes))))
        .collect();
    rows.sort_by_key(|(_, bytes, _)| std::cmp::Reverse(*bytes));
    block(out, "h3", "Size by dtype");
    out.push_str(&format!("<figure class=\"wide\">\n{}\n</figure>\n", bars("Size by dtype", &rows)));
}

fn files(out: &mut String, output: &Output<'_>) {
    block(out, "h3", "Files");
    let rows = output.files.iter().map(|f| {
        vec![f.name.clone().into(), number(f.tensors), number(size(f.bytes)), f.sha256.clone().into()]
    });
    table(out, &["file", "tensors", "size", "sha256"], &rows.collect::<Vec<_>>());
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
        "",
        "weight",
        "RMSE",
        "largest error",
        "relative",
        "cosine",
        "change",
    ];
    table(out, &heads, &plan.steps.iter().map(row).collect::<Vec<_>>());
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
