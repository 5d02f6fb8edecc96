//! Rows that follow the tokens of CP's vocabulary: `gathered` puts another model's rows in CP's order, `Overlaid`
//! lays chat's rows over a table, `grown` puts rows into one and behind it. Nothing is held in memory but the ids.
//! Serves the vocabulary plan of a merge.

use super::matching::ABSENT;
use ggraft_formats::vectors::{doubles, singles};
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Rows, Shape, Tensor};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The dtype that holds the rows of both exactly.
fn common(a: DType, b: DType) -> DType {
    match (a, b) {
        _ if a == b => a,
        (DType::F64, _) | (_, DType::F64) => DType::F64,
        _ => DType::F32,
    }
}

/// Reads `rows` of `tensor` as `dtype`, which is its own or a wider float.
fn read_as(tensor: &Tensor, dtype: DType, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
    if tensor.dtype() == dtype {
        return tensor.read(rows, out);
    }
    let mut values = vec![0f64; rows.len() * tensor.row_elements()?];
    tensor.decode_rows_f64(rows, &mut values)?;
    if dtype == DType::F64 {
        doubles(&values, out);
    } else {
        singles(&values, out);
    }
    Ok(())
}

/// Runs of rows that lie together in their source: rows of the output and where the first comes from.
fn runs(rows: Range<usize>, from: impl Fn(usize) -> Option<usize>) -> Vec<(Range<usize>, Option<usize>)> {
    let mut runs: Vec<(Range<usize>, Option<usize>)> = Vec::new();
    for row in rows {
        let source = from(row);
        match runs.last_mut() {
            Some((run, start)) if start.map(|s| s + run.len()) == source => run.end += 1,
            _ => runs.push((row..row + 1, source)),
        }
    }
    runs
}

/// `source` with the row `map[i]` as row `i`; where that is absent, row `i` of `onto`, whose shape it takes: so there
/// the difference of two gathered tensors is zero, and every method leaves CP as it is.
pub(crate) fn gathered(source: &Tensor, map: Arc<[u32]>, onto: &Tensor) -> Result<Tensor> {
    let dtype = common(source.dtype(), onto.dtype());
    let rows = Gathered { source: source.clone(), onto: onto.clone(), map, dtype };
    Tensor::new(&onto.name, *onto.shape(), dtype, Arc::new(rows))
}

struct Gathered {
    source: Tensor,
    onto: Tensor,
    map: Arc<[u32]>,
    dtype: DType,
}

impl Gathered {
    fn origin(&self, row: usize) -> Option<usize> {
        self.map.get(row).filter(|id| **id != ABSENT).map(|id| *id as usize)
    }
}

impl Rows for Gathered {
    fn read(&self, rows: Range<usize>, mut out: &mut [u8]) -> Result<()> {
        let row_bytes = out.len() / rows.len().max(1);
        for (run, origin) in runs(rows, |row| self.origin(row)) {
            let (now, rest) = out.split_at_mut(run.len() * row_bytes);
            match origin {
                Some(first) => read_as(&self.source, self.dtype, first..first + run.len(), now)?,
                None => read_as(&self.onto, self.dtype, run, now)?,
            }
            out = rest;
        }
        Ok(())
    }

    fn prefetch(&self, rows: Range<usize>) {
        for (run, origin) in runs(rows, |row| self.origin(row)) {
            match origin {
                Some(first) => self.source.prefetch(first..first + run.len()),
                None => self.onto.prefetch(run),
            }
        }
    }

    fn release(&self, rows: Range<usize>) {
        for (run, origin) in runs(rows, |row| self.origin(row)) {
            match origin {
                Some(first) => self.source.release(first..first + run.len()),
                None => self.onto.release(run),
            }
        }
    }

    fn identify(&self, into: &mut Identity) {
        into.numbers(self.map.iter().map(|id| u64::from(*id)));
        self.source.identify(into);
        self.onto.identify(into);
    }
}

/// A row of chat that may take the place of another.
#[derive(Clone)]
pub(crate) struct Copy {
    /// Whose chat it is.
    pub vector: usize,
    /// Whether a user has named the token: then it is copied with weight 0 too.
    pub asked: bool,
    pub table: Tensor,
    pub row: usize,
}

/// Rows that take the place of others, by the rows of the output.
#[derive(Default)]
pub(crate) struct Overlay {
    pub rows: BTreeMap<usize, Vec<Copy>>,
}

impl Overlay {
    /// `under` with the rows that these weights take; `None` if they take none.
    pub fn over(&self, under: &Tensor, weights: &[f64]) -> Result<Option<Tensor>> {
        let taken = |copy: &&Copy| copy.asked || weights.get(copy.vector).is_some_and(|w| *w != 0.0);
        let mut rows = BTreeMap::new();
        for (row, copies) in &self.rows {
            let mut copies = copies.iter().filter(taken);
            let Some(first) = copies.next() else { continue };
            copies.try_for_each(|other| first.agrees(other, under, *row))?;
            rows.insert(*row, (first.table.clone(), first.row));
        }
        if rows.is_empty() { Ok(None) } else { overlaid(under, rows).map(Some) }
    }
}

impl Copy {
    /// Two chat models may give one row only if they agree on it.
    pub fn agrees(&self, other: &Copy, onto: &Tensor, row: usize) -> Result<()> {
        let read = |copy: &Copy| -> Result<Vec<f64>> {
            let mut values = vec![0.0; copy.table.row_elements()?];
            copy.table.decode_rows_f64(copy.row..copy.row + 1, &mut values)?;
            Ok(values)
        };
        if read(self)? == read(other)? {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "two chat models have different rows for the token {row} that is to be copied"
        ))
        .tensor(&onto.name)
        .hint("give --no-auto-copy and --baseless-tokens keep, or merge one vector at a time"))
    }
}

/// `under` as F32 with some rows replaced, exactly as they are in their tensors.
fn overlaid(under: &Tensor, rows: BTreeMap<usize, (Tensor, usize)>) -> Result<Tensor> {
    let rows = Overlaid { under: under.clone(), rows };
    Tensor::new(&under.name, *under.shape(), DType::F32, Arc::new(rows))
}

struct Overlaid {
    under: Tensor,
    rows: BTreeMap<usize, (Tensor, usize)>,
}

impl Rows for Overlaid {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let row_bytes = out.len() / rows.len().max(1);
        read_as(&self.under, DType::F32, rows.clone(), out)?;
        for (row, (source, from)) in self.rows.range(rows.clone()) {
            let at = (row - rows.start) * row_bytes;
            read_as(source, DType::F32, *from..from + 1, &mut out[at..at + row_bytes])?;
        }
        Ok(())
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.under.prefetch(rows);
    }

    fn release(&self, rows: Range<usize>) {
        self.under.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        self.under.identify(into);
        for (row, (source, from)) in &self.rows {
            into.numbers([*row as u64, *from as u64]);
            source.identify(into);
        }
    }
}

/// `onto` with rows of other tensors in the places of its own and behind them, each given with its row; behind them
/// none is left out.
pub(crate) fn grown(onto: &Tensor, more: BTreeMap<usize, (Tensor, usize)>) -> Result<Tensor> {
    let dtype = more.values().fold(onto.dtype(), |dtype, (t, _)| common(dtype, t.dtype()));
    let own = usize::try_from(onto.shape().rows())
        .map_err(|_| Error::invalid("the table has more rows than memory").tensor(&onto.name))?;
    let count = own + more.keys().filter(|row| **row >= own).count();
    let shape = Shape::new(&[onto.shape().row(), count as u64]).ok_or_else(|| {
        Error::invalid("the table is larger than any file can be").tensor(&onto.name).found(count)
    })?;
    Tensor::new(&onto.name, shape, dtype, Arc::new(Grown { onto: onto.clone(), own, more, dtype }))
}

struct Grown {
    onto: Tensor,
    /// Rows of `onto`.
    own: usize,
    more: BTreeMap<usize, (Tensor, usize)>,
    dtype: DType,
}

impl Rows for Grown {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let row_bytes = out.len() / rows.len().max(1);
        let old = rows.start.min(self.own)..rows.end.min(self.own);
        if !old.is_empty() {
            read_as(&self.onto, self.dtype, old.clone(), &mut out[..old.len() * row_bytes])?;
        }
        for (row, (source, from)) in self.more.range(rows.clone()) {
            let at = (row - rows.start) * row_bytes;
            read_as(source, self.dtype, *from..from + 1, &mut out[at..at + row_bytes])?;
        }
        Ok(())
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.onto.prefetch(rows.start.min(self.own)..rows.end.min(self.own));
    }

    fn release(&self, rows: Range<usize>) {
        self.onto.release(rows.start.min(self.own)..rows.end.min(self.own));
    }

    fn identify(&self, into: &mut Identity) {
        self.onto.identify(into);
        for (row, (source, from)) in &self.more {
            into.numbers([*row as u64, *from as u64]);
            source.identify(into);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(first: f32, rows: u64, dtype: DType) -> Tensor {
        let values: Vec<f32> = (0..rows * 32).map(|i| first + (i / 32) as f32).collect();
        let shape = Shape::new(&[32, rows]).unwrap();
        Tensor::in_memory("t", shape, &values).unwrap().encode(dtype, None).unwrap()
    }

    /// The first element of every row, read in chunks of `step`.
    fn firsts(t: &Tensor, step: usize) -> Vec<f32> {
        let n = t.shape().rows() as usize;
        let mut all = Vec::new();
        for start in (0..n).step_by(step) {
            let rows = start..n.min(start + step);
            let mut out = vec![0.0; rows.len() * 32];
            t.decode_rows(rows, &mut out).unwrap();
            all.extend(out.chunks(32).map(|r| r[0]));
        }
        all
    }

    #[test]
    fn rows_follow_the_map_and_cp_fills_the_gaps() {
        let (onto, source) = (table(100.0, 6, DType::F32), table(0.0, 4, DType::BF16));
        let t = gathered(&source, Arc::from([2, 3, ABSENT, ABSENT, 0, 1]), &onto).unwrap();
        assert_eq!(t.dtype(), DType::F32);
        for step in [1, 2, 4, 6] {
            assert_eq!(firsts(&t, step), [2., 3., 102., 103., 0., 1.]);
        }
        let same = gathered(&source, Arc::from([0, 1, 2, 3]), &table(0.0, 4, DType::BF16)).unwrap();
        assert_eq!(same.dtype(), DType::BF16);
    }

    #[test]
    fn overlaid_and_grown_rows() {
        let (onto, chat) = (table(100.0, 3, DType::BF16), table(0.0, 4, DType::Q8_0));
        let laid = overlaid(&onto, BTreeMap::from([(1, (chat.clone(), 2))])).unwrap();
        let more = BTreeMap::from([(3, (chat.clone(), 3)), (4, (chat.clone(), 1))]);
        let longer = grown(&onto, more).unwrap();
        let filled = grown(&onto, BTreeMap::from([(2, (chat.clone(), 3)), (3, (chat, 1))])).unwrap();
        assert_eq!(filled.shape().rows(), 4);
        for step in 1..6 {
            assert_eq!(firsts(&laid, step)[0], 100.0);
            assert!((firsts(&laid, step)[1] - 2.0).abs() < 0.01);
            let read = firsts(&filled, step);
            assert_eq!(read[..2], [100., 101.]);
            assert!((read[2] - 3.0).abs() < 0.02 && (read[3] - 1.0).abs() < 0.01, "{read:?}");
            let read = firsts(&longer, step);
            assert_eq!(read[..3], [100., 101., 102.]);
            assert!((read[3] - 3.0).abs() < 0.02 && (read[4] - 1.0).abs() < 0.01, "{read:?}");
        }
    }
}
