//! What the rows of matrices make of a stream: means, variances and covariances, a few rows at a time, each sum in the
//! order of the columns.

use super::hidden::Normal;
use super::stream::Stream;
use ggraft_formats::source::{fetch_ahead_among, planned};
use ggraft_formats::write::BLOCK;
use ggraft_formats::{Result, Tensor};
use std::ops::Range;

/// How many steps of rows are asked for at a time where they lie elsewhere.
const STEPS: usize = 256;

/// Of each row: its variance and its mean.
pub(super) struct Sums(Vec<Normal>);

impl Sums {
    pub fn of(tensor: &Tensor, rows: Range<usize>, stream: &Stream) -> Result<Sums> {
        let mut found = Vec::with_capacity(rows.len());
        chunks(&[(tensor, rows)], |rows| found.push(normal(rows[0], stream)))?;
        Ok(Sums(found))
    }

    /// The rows' results, with a bias for each.
    pub fn normals(&self, bias: Option<&[f32]>) -> impl Iterator<Item = Normal> {
        self.0.iter().enumerate().map(move |(i, normal)| normal.moved(at(bias, i)))
    }

    /// Their mean squares.
    pub fn squares(&self, bias: Option<&[f32]>) -> impl Iterator<Item = f64> {
        self.normals(bias).map(|normal| normal.variance + normal.mean * normal.mean)
    }
}

/// Of each row of two matrices that read one stream: both, and the covariance.
pub(super) struct Pair {
    rows: Vec<(Normal, Normal, f64)>,
    biases: (Option<Vec<f32>>, Option<Vec<f32>>),
}

impl Pair {
    pub fn of(
        (gate, of_gate): (&Tensor, Range<usize>),
        (up, of_up): (&Tensor, Range<usize>),
        stream: &Stream,
    ) -> Result<Pair> {
        let mut found = Vec::with_capacity(of_gate.len());
        chunks(&[(gate, of_gate), (up, of_up)], |rows| {
            let together = rows[0].iter().zip(rows[1]).zip(&stream.squares);
            let covariance = together.map(|((g, u), s)| f64::from(*g) * f64::from(*u) * s).sum();
            found.push((normal(rows[0], stream), normal(rows[1], stream), covariance));
        })?;
        Ok(Pair { rows: found, biases: (None, None) })
    }

    /// With a bias for each row of each.
    pub fn biased(self, gate: Option<Vec<f32>>, up: Option<Vec<f32>>) -> Pair {
        Pair { biases: (gate, up), ..self }
    }

    pub fn normals(&self) -> impl Iterator<Item = (Normal, Normal, f64)> {
        let (gates, ups) = &self.biases;
        self.rows.iter().enumerate().map(move |(i, (gate, up, together))| {
            (gate.moved(at(gates.as_deref(), i)), up.moved(at(ups.as_deref(), i)), *together)
        })
    }
}

fn at(bias: Option<&[f32]>, i: usize) -> f64 {
    bias.and_then(|b| b.get(i)).copied().map_or(0.0, f64::from)
}

fn normal(row: &[f32], stream: &Stream) -> Normal {
    let square = |(w, s): (&f32, &f64)| f64::from(*w) * f64::from(*w) * s;
    let variance = row.iter().zip(&stream.squares).map(square).sum();
    let product = |(w, m): (&f32, &f64)| f64::from(*w) * m;
    let mean = stream.means.as_ref().map_or(0.0, |means| row.iter().zip(means).map(product).sum());
    Normal { mean, variance }
}

/// Calls `each` with the rows of all, one of each at a time, and gives back what was mapped for them.
fn chunks(of: &[(&Tensor, Range<usize>)], mut each: impl FnMut(&[&[f32]])) -> Result<()> {
    let Some((first, all)) = of.first() else { return Ok(()) };
    let width = first.row_elements()?.max(1);
    let step = (BLOCK / width).max(1);
    let mut buffers = vec![vec![0f32; step * width]; of.len()];
    // What is fetched with one request serves many steps.
    let piece = step * STEPS;
    let needed = |from: usize| {
        let rows =
            |rows: &Range<usize>| rows.start + from..rows.end.min(rows.start.saturating_add(from + piece));
        planned(|| of.iter().for_each(|(tensor, all)| tensor.prefetch(rows(all))))
    };
    let fetching = fetch_ahead_among(rayon::current_num_threads(), (0..all.len()).step_by(piece).map(needed));
    for from in (0..all.len()).step_by(step) {
        let count = step.min(all.len() - from);
        for ((tensor, rows), buffer) in of.iter().zip(&mut buffers) {
            let rows = rows.start + from..rows.start + from + count;
            tensor.decode_rows(rows.clone(), &mut buffer[..count * width])?;
            tensor.release(rows);
        }
        for row in 0..count {
            let rows: Vec<&[f32]> = buffers.iter().map(|b| &b[row * width..(row + 1) * width]).collect();
            each(&rows);
        }
        if (from + count).is_multiple_of(piece) {
            fetching.iter().for_each(|fetching| fetching.done(from / piece));
        }
    }
    Ok(())
}
