//! Has a model trained the row of a token? Models reserve tokens that no text of theirs holds; a chat model trains
//! some of them. Adding such a vector with w < 1 would half-train the end of a turn, so these rows are copied.
//! Only the rows in question are read, and a sample of the table to measure them by. After "Fishing for Magikarp"
//! (arXiv 2405.05417): untrained rows are small, or lie at the mean, or point where other reserved ones point.

use super::matching::Table;
use crate::vocab::Kind;
use ggraft_formats::source::{fetch_ahead, planned};
use ggraft_formats::{Result, Tensor};

/// Rows of ordinary tokens, and of reserved ones, that are looked at.
const ORDINARY: usize = 256;
const RESERVED: usize = 64;

/// Rows that are let go together, where they lie elsewhere.
const AT_ONCE: usize = 16;

/// A row this much shorter than the median was never trained (in the trio: 0.11; the shortest trained row: 0.8).
const SMALL: f64 = 0.25;
/// A row that lies this much nearer to the mean than the median row is the mean, which the sample gives to 1/16.
const AT_MEAN: f64 = 0.25;
/// Reserved rows of a head are only ever pushed away, all in one direction (in the trio: 0.9996, trained 0.996).
const SAME_WAY: f64 = 0.999;
/// A row that moved by this part of its length was trained (in the trio: 0.2, against 0.02 from weight decay).
const MOVED: f64 = 0.125;

const TWIN: &str = "equal to other reserved rows";

/// What the rows of one table are like.
pub(crate) struct Yardstick<'a> {
    table: &'a Tensor,
    mean: Vec<f64>,
    /// Medians of the length and of the distance to the mean.
    length: f64,
    spread: f64,
    /// Rows of tokens that are special or unused.
    reserved: Vec<(usize, Vec<f64>)>,
}

impl<'a> Yardstick<'a> {
    /// Measures `table`, whose rows are those of `tokens`; `markers` are rows that are going to be asked for.
    pub fn of(table: &'a Tensor, tokens: &Table, markers: &[usize]) -> Result<Yardstick<'a>> {
        let ordinary =
            |id: usize| tokens.token(id).is_some_and(|(_, kind)| matches!(kind, Kind::Normal | Kind::Byte));
        let (usual, mut other): (Vec<usize>, Vec<usize>) = (0..tokens.rows).partition(|id| ordinary(*id));
        other = spread_over(&other, RESERVED);
        other.extend(markers);
        let rows = read_all(table, &spread_over(&usual, ORDINARY))?;
        let mut mean = vec![0.0; table.row_elements()?];
        for row in &rows {
            mean.iter_mut().zip(row).for_each(|(m, x)| *m += x / rows.len() as f64);
        }
        Ok(Yardstick {
            length: median(rows.iter().map(|r| norm(r)).collect()),
            spread: median(rows.iter().map(|r| distance(r, &mean)).collect()),
            mean,
            reserved: other.iter().copied().zip(read_all(table, &other)?).collect(),
            table,
        })
    }

    /// Why the row seems untrained; `None` if it seems trained.
    pub fn untrained(&self, id: usize) -> Result<Option<&'static str>> {
        let row = self.row(id)?;
        let twin = |(other, r): &(usize, Vec<f64>)| *other != id && cosine(r, &row) >= SAME_WAY;
        Ok(if norm(&row) <= SMALL * self.length {
            Some("near zero")
        } else if distance(&row, &self.mean) <= AT_MEAN * self.spread {
            Some("the mean of the table")
        } else if self.reserved.iter().any(twin) {
            Some(TWIN)
        } else {
            None
        })
    }

    /// Whether the row of `id` was trained: it lies far from the row of `from` in `base`, and did not merely move
    /// along with the other reserved rows, as a whole head does when a model is trained on.
    pub fn trained(&self, id: usize, base: &Yardstick, from: usize) -> Result<bool> {
        let (row, old) = (self.row(id)?, base.row(from)?);
        let moved = distance(&row, &old) > (MOVED * norm(&old)).max(1e-3 * self.length);
        Ok(moved && self.untrained(id)? != Some(TWIN))
    }

    fn row(&self, id: usize) -> Result<Vec<f64>> {
        Ok(read_all(self.table, &[id])?.pop().unwrap_or_default())
    }
}

fn read_all(table: &Tensor, ids: &[usize]) -> Result<Vec<Vec<f64>>> {
    let needed = |ids: &[usize]| planned(|| ids.iter().for_each(|id| table.prefetch(*id..*id + 1)));
    // A single row is not worth a thread.
    let fetching = if ids.len() > 1 { fetch_ahead(ids.chunks(AT_ONCE).map(needed)) } else { None };
    let mut rows = Vec::with_capacity(ids.len());
    for (i, ids) in ids.chunks(AT_ONCE).enumerate() {
        for id in ids {
            let mut row = vec![0.0; table.row_elements()?];
            table.decode_rows_f64(*id..*id + 1, &mut row)?;
            rows.push(row);
        }
        fetching.iter().for_each(|fetching| fetching.done(i));
    }
    Ok(rows)
}

/// At most `n` of them, evenly.
fn spread_over(ids: &[usize], n: usize) -> Vec<usize> {
    let n = n.min(ids.len());
    (0..n).map(|i| ids[i * ids.len() / n]).collect()
}

fn norm(row: &[f64]) -> f64 {
    row.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let lengths = norm(a) * norm(b);
    let dot: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
    if lengths > 0.0 { dot / lengths } else { 0.0 }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
