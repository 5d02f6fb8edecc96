//! Drawings of a report, as SVG in the page: a heat map with a row a role and a column a layer, and bars.

use super::text::escaped;
use crate::roles::place;
use ggraft_formats::figures::Figures;
use std::fmt::Write;

/// The steps of the colour scale, from nothing to the largest value.
const STEPS: usize = 9;
/// From this step on, text stands light on dark; in dark mode the other way round.
const STRONG: usize = 6;
const WIDTH: usize = 900;
const ROW: usize = 22;
/// What a character of a label takes.
const CHARACTER: usize = 7;
/// A cell that is at least so wide tells its value.
const READABLE: usize = 44;

/// Figures by role and layer; `None` stands for what belongs to no layer.
#[derive(Default)]
pub struct Grid {
    roles: Vec<String>,
    layers: Vec<Option<u64>>,
    /// By role and layer.
    cells: std::collections::BTreeMap<(usize, Option<u64>), Figures>,
}

impl Grid {
    /// Adds the figures of a tensor.
    pub fn add(&mut self, name: &str, figures: Figures) {
        let (layer, role) = place(name);
        let row = self.roles.iter().position(|r| *r == role).unwrap_or_else(|| {
            self.roles.push(role);
            self.roles.len() - 1
        });
        if let Err(at) = self.layers.binary_search(&layer) {
            self.layers.insert(at, layer);
        }
        let cell = self.cells.entry((row, layer)).or_default();
        *cell = *cell + figures;
    }

    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The largest relative figure.
    pub fn most(&self) -> f64 {
        self.cells.values().filter_map(Figures::relative).filter(|v| v.is_finite()).fold(0.0, f64::max)
    }

    /// The relative figures as a drawing, which `label` describes; the strongest colour is that of `most`.
    pub fn svg(&self, label: &str, most: f64) -> String {
        let labels = self.roles.iter().map(|r| r.chars().count()).max().unwrap_or(0).min(48) * CHARACTER + 10;
        let columns = self.layers.len().max(1);
        let cell = (WIDTH.saturating_sub(labels) / columns).clamp(8, 64);
        let (width, height) = (labels + columns * cell + 10, (self.roles.len() + 3) * ROW + 8);
        let mut out = opened(label, width.max(360), height);
        for (i, layer) in self.layers.iter().enumerate() {
            let every = 30usize.div_ceil(cell) as u64;
            let shown = layer.map_or(String::from("-"), |l| l.to_string());
            if layer.is_none_or(|l| l % every == 0) {
                let x = labels + i * cell + cell / 2;
                put(
                    &mut out,
                    format_args!(r#"<text class="soft" x="{x}" y="14" text-anchor="middle">{shown}</text>"#),
                );
            }
        }
        for (row, role) in self.roles.iter().enumerate() {
            let y = (row + 1) * ROW;
            let role: String = role.chars().take(48).collect();
            put(&mut out, format_args!(r#"<text x="0" y="{}">{}</text>"#, y + 15, escaped(&role)));
            for (i, layer) in self.layers.iter().enumerate() {
                if let Some(figures) = self.cells.get(&(row, *layer)) {
                    let at = (labels + i * cell, y, cell);
                    self.cell(&mut out, at, (&role, *layer), figures.relative(), most);
                }
            }
        }
        legend(&mut out, labels, (self.roles.len() + 1) * ROW + 10, most);
        out + "</svg>"
    }

    fn cell(
        &self,
        out: &mut String,
        (x, y, width): (usize, usize, usize),
        (role, layer): (&str, Option<u64>),
        value: Option<f64>,
        most: f64,
    ) {
        let value = value.filter(|v| v.is_finite());
        let step = value.map(|v| step(v, most));
        let class = step.map_or(String::from("none"), |s| format!("s{s}"));
        let told = value.map_or(String::from("cannot be told"), percent);
        let layer = layer.map_or(String::new(), |l| format!(" of layer {l}"));
        put(
            out,
            format_args!(
                r#"<rect class="{class}" x="{x}" y="{y}" width="{}" height="{}"><title>{}{layer}: {told}</title></rect>"#,
                width - 1,
                ROW - 1,
                escaped(role)
            ),
        );
        if width >= READABLE && value.is_some() {
            let on = if step >= Some(STRONG) { "on" } else { "" };
            let (x, y) = (x + width / 2, y + 15);
            put(
                out,
                format_args!(
                    r#"<text class="{on}" x="{x}" y="{y}" text-anchor="middle" pointer-events="none">{told}</text>"#
                ),
            );
        }
    }
}

fn step(value: f64, most: f64) -> usize {
    if most > 0.0 { (value / most * (STEPS - 1) as f64).round() as usize } else { 0 }.min(STEPS - 1)
}

fn legend(out: &mut String, x: usize, y: usize, most: f64) {
    for step in 0..STEPS {
        put(
            out,
            format_args!(r#"<rect class="s{step}" x="{}" y="{y}" width="20" height="12"/>"#, x + step * 20),
        );
    }
    let below = y + 26;
    put(out, format_args!(r#"<text class="soft" x="{x}" y="{below}">0</text>"#));
    let end = x + STEPS * 20;
    put(
        out,
        format_args!(
            r#"<text class="soft" x="{end}" y="{below}" text-anchor="end">{}</text>"#,
            percent(most)
        ),
    );
}

/// Bars with what they are, in bytes.
pub fn bars(label: &str, rows: &[(String, u64, String)]) -> String {
    let labels =
        rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0).min(48) * CHARACTER + 10;
    let most = rows.iter().map(|(_, amount, _)| *amount).max().unwrap_or(0).max(1);
    let room = WIDTH - 400;
    let mut out = opened(label, WIDTH, rows.len() * ROW + 4);
    for (i, (name, amount, told)) in rows.iter().enumerate() {
        let y = i * ROW;
        let name: String = name.chars().take(48).collect();
        let length = (*amount as f64 / most as f64 * room as f64).round().max(1.0);
        put(&mut out, format_args!(r#"<text x="0" y="{}">{}</text>"#, y + 15, escaped(&name)));
        put(
            &mut out,
            format_args!(
                r#"<rect class="bar" x="{labels}" y="{}" width="{length}" height="{}"/>"#,
                y + 3,
                ROW - 6
            ),
        );
        let x = labels as f64 + length + 8.0;
        put(&mut out, format_args!(r#"<text class="soft" x="{x}" y="{}">{}</text>"#, y + 15, escaped(told)));
    }
    out + "</svg>"
}

fn opened(label: &str, width: usize, height: usize) -> String {
    let label = escaped(label);
    format!(
        r#"<svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}" width="{width}" height="{height}">"#
    )
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    _ = out.write_fmt(text);
}

/// A share of one in percent, with three significant digits.
pub fn percent(share: f64) -> String {
    let p = share * 100.0;
    match p {
        0.0 => String::from("0 %"),
        p if p >= 99.95 => format!("{p:.0} %"),
        p if p >= 9.995 => format!("{p:.1} %"),
        p if p >= 0.0095 => format!("{p:.2} %"),
        p => format!("{p:.1e} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_read_well() {
        for (share, told) in
            [(0.0, "0 %"), (1.0, "100 %"), (0.1234, "12.3 %"), (0.01234, "1.23 %"), (1e-7, "1.0e-5 %")]
        {
            assert_eq!(percent(share), told);
        }
    }

    #[test]
    fn the_largest_value_has_the_strongest_colour() {
        let mut grid = Grid::default();
        grid.add("blk.0.x.weight", Figures::of(&[1.0], &[1.0]));
        grid.add("blk.1.x.weight", Figures::of(&[1.0], &[1.5]));
        grid.add("<script>", Figures::of(&[0.0], &[1.0]));
        let svg = grid.svg("a & b", grid.most());
        assert!(svg.contains(r#"class="s0""#) && svg.contains("x of layer 1: 50.0 %"), "{svg}");
        assert!(svg.contains("&lt;script&gt;: cannot be told") && !svg.contains("<script"), "{svg}");
    }
}
