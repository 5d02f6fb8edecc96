//! A report as a page for people: one file, no scripts, nothing from elsewhere, drawings in SVG. Its policy forbids the
//! browser to load or run anything, so that not even a mistake here could let a hostile file do it. First the outputs
//! beside each other, then what they have in common, then each alone (`section`).

mod compare;
mod heat;
mod section;
mod shares;
mod text;
mod vocabulary;

use super::finished::{Finished, Output};
use crate::output::plan::{Plan, Step};
use ggraft_formats::figures::Figures;
use heat::{Grid, percent};
use text::{block, heading, list, number, table};

const STYLE: &str = include_str!("style.css");
/// What stands before the title, with the policy.
const HEAD: &str = include_str!("head.html");

/// What is known of a tensor.
type Of = fn(&Step) -> Option<Figures>;

/// What is drawn by role and layer: the title, what it says, and the figures.
const MAPS: [(&str, &str, Of); 2] = [
    (
        "Change by the merge, by role and layer",
        "The root mean square of what the merge adds, relative to that of onto's weights.",
        Step::delta,
    ),
    (
        "Quantization error by role and layer",
        "The root mean square of the error, relative to that of the weights before they were encoded.",
        stored,
    ),
];

/// What all sections go by.
struct Page<'a> {
    finished: &'a Finished<'a>,
    /// The largest figure of each map in any output: all have one scale of colours.
    most: [f64; 2],
}

/// The page.
pub fn page(finished: &Finished<'_>) -> String {
    let names: Vec<String> = finished.outputs.iter().map(Output::name).collect();
    let title = match names.as_slice() {
        [one] => one.clone(),
        many => {
            let first = finished.outputs.first().map(|output| output.plan.stem()).unwrap_or_default();
            format!("{} outputs of {first}", many.len())
        }
    };
    let page = Page { finished, most: MAPS.map(|(.., of)| most(finished, of)) };
    let shown = text::escaped(&format!("{title} - ggraft"));
    let mut out =
        format!("{HEAD}<title>{shown}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n");
    block(&mut out, "h1", &title);
    block(&mut out, "p", &format!("Made by ggraft {}:", env!("CARGO_PKG_VERSION")));
    block(&mut out, "pre", finished.command);
    contents(&mut out, &names);
    compare::outputs(&mut out, finished);
    list(&mut out, "About the inputs", finished.notes);
    origins(&mut out, finished);
    vocabulary::common(&mut out, finished);
    for (i, output) in finished.outputs.iter().enumerate() {
        section::section(&mut out, &page, i, output);
    }
    out + "</main>\n</body>\n</html>\n"
}

/// Where each output is told of.
fn anchor(i: usize) -> String {
    format!("output-{}", i + 1)
}

fn contents(out: &mut String, names: &[String]) {
    if names.len() < 2 {
        return;
    }
    out.push_str("<nav aria-label=\"Contents\">\n<ol>\n");
    for (i, name) in names.iter().enumerate() {
        out.push_str(&format!("<li><a href=\"#{}\">{}</a></li>\n", anchor(i), text::escaped(name)));
    }
    out.push_str("</ol>\n</nav>\n");
}

/// What was measured of storing a tensor; none where it is stored as it was.
fn stored(step: &Step) -> Option<Figures> {
    step.meter.as_ref().map(|meter| meter.total().stored)
}

/// The figures of all tensors together; none if nothing was measured.
fn total(plan: &Plan, of: Of) -> Option<Figures> {
    let all: Figures = plan.steps.iter().filter_map(of).sum();
    (all.count > 0).then_some(all)
}

fn told(x: Option<f64>, how: fn(f64) -> String) -> String {
    x.map_or(String::from("-"), how)
}

/// A relative figure of all tensors, in words.
fn relative(plan: &Plan, of: Of) -> String {
    told(total(plan, of).and_then(|all| all.relative()), percent)
}

fn grid(plan: &Plan, of: Of) -> Grid {
    let mut grid = Grid::default();
    for step in &plan.steps {
        if let Some(figures) = of(step) {
            grid.add(&step.name, figures);
        }
    }
    grid
}

fn most(finished: &Finished<'_>, of: Of) -> f64 {
    finished.outputs.iter().map(|output| grid(output.plan, of).most()).fold(0.0, f64::max)
}

/// The models that the outputs were made from; their weights are those of the outputs, where these differ.
fn origins(out: &mut String, finished: &Finished<'_>) {
    let Some(first) = finished.outputs.iter().map(|o| &o.plan.origins).find(|all| !all.is_empty()) else {
        return;
    };
    heading(out, "h2", "inputs", "Inputs");
    let rows: Vec<_> = first
        .iter()
        .enumerate()
        .map(|(i, o)| {
            let mut weights: Vec<String> = Vec::new();
            for output in finished.outputs.iter().filter(|output| !output.plan.origins.is_empty()) {
                let own = output.plan.origins.get(i).map_or(&[][..], |o| &o.weights);
                let own = own.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
                if !weights.contains(&own) {
                    weights.push(own);
                }
            }
            vec![
                o.place().into(),
                o.id().to_string().into(),
                number(weights.join(" / ")),
                o.licence().unwrap_or("not told").to_string().into(),
                text::Cell::Hash(o.header_sha256.clone()),
            ]
        })
        .collect();
    table(
        out,
        "The models, their weights in the outputs and their licences",
        &["role", "model", "weight", "licence", "sha256 of the header"],
        &rows,
    );
}
