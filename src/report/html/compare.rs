//! The outputs of a run beside each other: a table, and a plot of size against error.

use super::super::finished::Finished;
use super::super::plan::size;
use super::heat::percent;
use super::text::{Cell, escaped, figure, heading, number, table};
use super::{anchor, relative, stored, told, total};
use crate::output::plan::Step;
use crate::text::shell_path;
use std::fmt::Write;
use std::path::Path;

/// The drawing, and the margins in which its axes are told.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 80.0;
const BOTTOM: f64 = 50.0;
const TOP: f64 = 30.0;
const RIGHT: f64 = 150.0;

/// The outputs with what tells them apart.
pub fn outputs(out: &mut String, finished: &Finished<'_>) {
    heading(out, "h2", "outputs", "Outputs");
    let rows = finished.outputs.iter().enumerate().map(|(i, output)| {
        let plan = output.plan;
        let first = output.files.first();
        let run = match output.runs() {
            false => String::from("-"),
            true => format!(
                "llama-cli -m {}",
                shell_path(Path::new(&first.map_or(output.name(), |f| f.name.clone())))
            ),
        };
        vec![
            Cell::Link(output.name(), format!("#{}", anchor(i))),
            plan.encoding().into(),
            number(size(plan.total)),
            number(format!("{:.2}", plan.bits_per_weight())),
            number(relative(plan, stored)),
            number(relative(plan, Step::delta)),
            run.into(),
            Cell::Hash(first.map_or(String::new(), |f| f.sha256.clone())),
        ]
    });
    let heads = [
        "output",
        "type",
        "size",
        "bits per weight",
        "quantization error",
        "change by the merge",
        "to run it",
        "sha256",
    ];
    table(
        out,
        "What was written; errors and changes are relative root mean squares",
        &heads,
        &rows.collect::<Vec<_>>(),
    );
    plot(out, finished);
}

/// A point: what it is, bytes, and the relative error.
struct Point {
    name: String,
    bytes: f64,
    error: f64,
}

fn plot(out: &mut String, finished: &Finished<'_>) {
    let point = |output: &super::Output<'_>| {
        let error = total(output.plan, stored)?.relative().filter(|e| e.is_finite())?;
        Some(Point { name: output.plan.encoding(), bytes: output.plan.total as f64, error })
    };
    let points: Vec<Point> = finished.outputs.iter().filter_map(point).collect();
    if points.len() < 2 {
        return;
    }
    let (widest, highest) =
        points.iter().fold((0.0f64, 0.0f64), |(w, h), p| (w.max(p.bytes), h.max(p.error)));
    let x = |bytes: f64| LEFT + bytes / widest.max(1.0) * (WIDTH - LEFT - RIGHT);
    let y = |error: f64| HEIGHT - BOTTOM - error / highest.max(f64::MIN_POSITIVE) * (HEIGHT - BOTTOM - TOP);
    let label = "Size against quantization error; the figures are in the table of outputs";
    let mut svg = format!(
        r#"<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">"#
    );
    let (right, below) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    // Writing to a string cannot fail.
    _ = write!(
        svg,
        r#"<path class="axis" d="M{LEFT} {TOP}V{below}H{right}"/><text class="soft" x="{LEFT}" y="{}" text-anchor="middle">0</text><text class="soft" x="{right}" y="{}" text-anchor="middle">{}</text><text class="soft" x="{}" y="{}" text-anchor="end">{}</text><text x="{}" y="{}" text-anchor="middle">size</text><text x="4" y="14">quantization error</text>"#,
        below + 16.0,
        below + 16.0,
        size(widest as u64),
        LEFT - 6.0,
        TOP + 4.0,
        told(Some(highest), percent),
        (LEFT + right) / 2.0,
        HEIGHT - 8.0,
    );
    for p in &points {
        let (cx, cy, name) = (x(p.bytes), y(p.error), escaped(&p.name));
        let said = format!("{name}: {}, {}", size(p.bytes as u64), percent(p.error));
        _ = write!(
            svg,
            r#"<circle class="dot" cx="{cx:.1}" cy="{cy:.1}" r="5"><title>{said}</title></circle><text x="{:.1}" y="{:.1}">{name}</text>"#,
            cx + 9.0,
            cy - 6.0
        );
    }
    svg += "</svg>";
    figure(out, &svg, "Size against quantization error: the lower and the further left, the better.");
}
