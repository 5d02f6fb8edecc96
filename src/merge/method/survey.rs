//! Finds out what a method must know of a whole tensor before it computes an element, in passes over its rows that
//! all threads share. Memory is a few rows and a histogram a thread. Exact, and the same on any number of threads and
//! with any size of portion: values of rows are joined in the order of the rows, counts are whole numbers.

use super::sources::{Decoded, Sources, Tensors};
use super::{Column, Place, Ranks, Rows, Survey};
use ggraft_formats::scores::{HALVES, count_lower, count_upper};
use ggraft_formats::source::{fetch_ahead, planned};
use ggraft_formats::{Error, Kind, Result};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Elements that a thread holds at a time, unless a single row is longer.
const PORTION: usize = 1 << 16;

/// One tensor is surveyed at a time, by all threads; those that come for another one wait.
static TURN: Mutex<()> = Mutex::new(());

/// Surveys the tensor, unless `known` says that another thread did.
pub(crate) fn in_turn(sources: &Sources, known: impl Fn() -> bool) -> Result<Option<Vec<Vec<f64>>>> {
    let _turn = TURN.lock().map_err(|_| failed())?;
    if known() { Ok(None) } else { survey(sources, rayon::current_num_threads(), PORTION).map(Some) }
}

/// The facts of each unit of a tensor, by `threads` threads that take `portion` elements at a time.
fn survey(sources: &Sources, threads: usize, portion: usize) -> Result<Vec<Vec<f64>>> {
    if matches!((sources.method.survey)(&sources.params), Survey::Nothing) {
        return Ok(Vec::new());
    }
    let units = sources.units()?.into_iter();
    units.map(|tensors| of_unit(&Unit { sources, tensors }, threads, portion)).collect()
}

/// What a method takes for one tensor: rows of one, or of several.
struct Unit<'a> {
    sources: &'a Sources,
    tensors: Vec<(&'a Tensors, Range<usize>)>,
}

impl Unit<'_> {
    fn elements(&self) -> Result<u64> {
        let each = |(tensors, rows): &(&Tensors, Range<usize>)| Ok(rows.len() as u64 * tensors.row()? as u64);
        self.tensors.iter().map(each).sum()
    }

    /// The row length of each tensor.
    fn rows(&self) -> Result<Vec<usize>> {
        self.tensors.iter().map(|(tensors, _)| tensors.row()).collect()
    }

    /// Where a row of tensor `i` stands.
    fn place(&self, i: usize, at: usize, row: usize) -> Place<'_> {
        let (tensor, first) = (&self.tensors[i].0.onto.name, at as u64 * row as u64);
        Place { tensor, first, row, params: &self.sources.params, facts: &[], factor: 1.0 }
    }

    /// Portions of so many elements: which tensor each is of, and its rows.
    fn portions(&self, portion: usize) -> Result<Vec<(usize, Range<usize>)>> {
        let mut all = Vec::new();
        for (i, (tensors, rows)) in self.tensors.iter().enumerate() {
            let step = (portion / tensors.row()?.max(1)).max(1);
            let firsts = rows.clone().step_by(step);
            all.extend(firsts.map(|first| (i, first..rows.end.min(first.saturating_add(step)))));
        }
        Ok(all)
    }
}

/// The facts of one unit.
fn of_unit(unit: &Unit<'_>, threads: usize, portion: usize) -> Result<Vec<f64>> {
    let sources = unit.sources;
    match (sources.method.survey)(&sources.params) {
        Survey::Nothing => Ok(Vec::new()),
        Survey::Rows(rows) => of_rows(unit, threads, portion, &rows, &[]),
        Survey::Columns(of) => of_columns(unit, portion, of),
        Survey::Ranks(ranks) => {
            let upper = upper_halves(unit, threads, portion, &ranks)?;
            let mut facts = lower_halves(unit, threads, portion, &ranks, &upper)?;
            if let Some(rows) = &ranks.then {
                let further = of_rows(unit, threads, portion, rows, &facts)?;
                facts.extend(further);
            }
            Ok(facts)
        }
    }
}

/// What all rows come to, of which some `facts` may be known already.
fn of_rows(unit: &Unit<'_>, threads: usize, portion: usize, rows: &Rows, facts: &[f64]) -> Result<Vec<f64>> {
    let Rows { of, join } = rows;
    let lengths = unit.rows()?;
    let start = Vec::new;
    let found = gather(unit, threads, portion, start, |found: &mut Vec<_>, (i, first), decoded| {
        let row = lengths[i].max(1);
        for (j, onto) in decoded.onto.chunks_exact(row).enumerate() {
            let place = Place { facts, ..unit.place(i, first + j, row) };
            let pairs = decoded.pairs_at(j * row..(j + 1) * row);
            found.push(((i, first + j), of(onto, &pairs, &place)));
        }
    })?;
    let mut rows: Vec<((usize, usize), Vec<f64>)> = found.into_iter().flatten().collect();
    rows.sort_unstable_by_key(|(row, _)| *row);
    let join_all = |mut facts: Vec<f64>, row: Vec<f64>| {
        facts.iter_mut().zip(row).for_each(|(fact, x)| *fact = join(*fact, x));
        facts
    };
    Ok(rows.into_iter().map(|(_, row)| row).reduce(join_all).unwrap_or_default())
}

/// The facts of each column, added up by one thread, row after row, for their sums are as long as a row. A single row is one
/// column.
fn of_columns(unit: &Unit<'_>, portion: usize, of: Column) -> Result<Vec<f64>> {
    let lengths = unit.rows()?;
    let row = lengths.first().copied().unwrap_or_default().max(1);
    if lengths.iter().any(|other| *other != row) {
        let name = &unit.sources.own.onto.name;
        return Err(Error::invalid("the columns of this tensor lie in tensors of different widths")
            .tensor(name)
            .hint("give --param nuslerp_flatten=true"));
    }
    let is_row = unit.elements()? == row as u64;
    let found = gather(unit, 1, portion, Vec::new, |sums: &mut Vec<f64>, (i, first), decoded| {
        for (j, onto) in decoded.onto.chunks_exact(row).enumerate() {
            let pairs = decoded.pairs_at(j * row..(j + 1) * row);
            let place = unit.place(i, first + j, row);
            for column in 0..row {
                let one = of(onto, &pairs, &place, column);
                let at = if is_row { 0 } else { column * one.len() };
                sums.resize(sums.len().max(at + one.len()), 0.0);
                sums.iter_mut().skip(at).zip(one).for_each(|(sum, x)| *sum += x);
            }
        }
    })?;
    Ok(found.into_iter().next().unwrap_or_default())
}

/// The upper half of the bits of a score that is looked for, and its rank among those that share it.
type Half = (usize, u64);

/// Finds the upper halves of the scores at the ranks, a list of them for each list of scores.
fn upper_halves(unit: &Unit<'_>, threads: usize, portion: usize, ranks: &Ranks) -> Result<Vec<Vec<Half>>> {
    // Behind the bins, how many scores are zero.
    const EACH: usize = HALVES + 1;
    let counts = count(unit, threads, portion, ranks, |counts, list, scores| {
        counts.resize(counts.len().max((list + 1) * EACH), 0);
        let (counts, zeros) = counts[list * EACH..].split_at_mut(HALVES);
        zeros[0] += count_upper(counts, scores);
    })?;
    let elements = unit.elements()?;
    let of = |(list, counts): (usize, &[u64])| {
        let ranks = (ranks.ranks)(&unit.sources.params, list, elements, counts[HALVES]);
        ranks.into_iter().map(|rank| bin(&counts[..HALVES], rank)).collect()
    };
    Ok(counts.chunks_exact(EACH).enumerate().map(of).collect())
}

/// Finds the lower halves, and with them the scores themselves.
fn lower_halves(
    unit: &Unit<'_>,
    threads: usize,
    portion: usize,
    ranks: &Ranks,
    upper: &[Vec<Half>],
) -> Result<Vec<f64>> {
    let each = upper.first().map_or(0, Vec::len);
    let counts = count(unit, threads, portion, ranks, |counts, list, scores| {
        counts.resize(upper.len() * each * HALVES, 0);
        for (k, (high, _)) in upper[list].iter().enumerate() {
            count_lower(&mut counts[(list * each + k) * HALVES..], scores, *high);
        }
    })?;
    let score = |(counts, (high, rank)): (&[u64], &Half)| {
        let (low, _) = bin(counts, *rank);
        f64::from(f32::from_bits((*high as u32) << 16 | low as u32))
    };
    Ok(counts.chunks_exact(HALVES).zip(upper.iter().flatten()).map(score).collect())
}

/// Where the element of this rank (0 is the largest) lies: its bin, and its rank there.
fn bin(counts: &[u64], mut rank: u64) -> Half {
    for (bin, count) in counts.iter().enumerate().rev() {
        if rank < *count {
            return (bin, rank);
        }
        rank -= count;
    }
    (0, 0)
}

/// Counts the scores in histograms, which begin empty; `add` is told lists and some of their scores.
fn count(
    unit: &Unit<'_>,
    threads: usize,
    portion: usize,
    ranks: &Ranks,
    add: impl Fn(&mut Vec<u64>, usize, &[f32]) + Sync,
) -> Result<Vec<u64>> {
    let lengths = unit.rows()?;
    let counts = gather(unit, threads, portion, Vec::new, |counts, (i, _), decoded| {
        let lists = (ranks.scores)(&decoded.onto, &decoded.pairs_at(0..decoded.onto.len()), lengths[i]);
        lists.iter().enumerate().for_each(|(list, scores)| add(counts, list, scores));
    })?;
    let add_all = |mut sum: Vec<u64>, counts: Vec<u64>| {
        sum.resize(sum.len().max(counts.len()), 0);
        sum.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        sum
    };
    Ok(counts.into_iter().reduce(add_all).unwrap_or_default())
}

/// One pass: each thread starts with a value of its own and adds the portions that it takes; `add` is told the tensor of
/// the unit and the first row. The threads are not rayon's, whose worker could, while it waits, begin work that waits for
/// this survey.
fn gather<T: Send>(
    unit: &Unit<'_>,
    threads: usize,
    portion: usize,
    start: impl Fn() -> T + Sync,
    add: impl Fn(&mut T, (usize, usize), &Decoded) + Sync,
) -> Result<Vec<T>> {
    let portions = unit.portions(portion)?;
    let next = AtomicUsize::new(0);
    let needed = |(i, rows): &(usize, Range<usize>)| planned(|| unit.tensors[*i].0.prefetch(rows));
    let fetching = fetch_ahead(portions.iter().map(needed));
    let work = || -> Result<T> {
        let mut own = start();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some((i, rows)) = portions.get(place) else { break };
            let (tensors, _) = &unit.tensors[*i];
            add(&mut own, (*i, rows.start), &tensors.decode(rows)?);
            tensors.release(rows);
            fetching.iter().for_each(|fetching| fetching.done(place));
        }
        Ok(own)
    };
    thread::scope(|scope| {
        let begin = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (1..threads.min(portions.len())).filter_map(begin).collect();
        let mut all = vec![work()?];
        for helper in helpers {
            all.push(helper.join().map_err(|_| failed())??);
        }
        Ok(all)
    })
}

fn failed() -> Error {
    Error::new(Kind::Failure, "a surveying thread failed")
}

#[cfg(test)]
mod tests {
    use super::super::{METHODS, Params};
    use super::*;
    use crate::arch::Value;
    use ggraft_formats::{Shape, Tensor};

    /// Rows of a tensor with many magnitudes alike, none of whose sums are exact.
    fn tensor(seed: u32) -> Tensor {
        let value = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 20) as f32 * 0.1 - 100.0;
        let values: Vec<f32> = (0..30 * 64).map(value).collect();
        Tensor::in_memory("t", Shape::new(&[64, 30]).unwrap(), &values).unwrap()
    }

    #[test]
    fn any_threads_and_portions_find_the_same_facts() {
        let mut surveyed = 0;
        for method in METHODS {
            let (density, select_topk) = (0.3, 0.4);
            let params = Params { density, select_topk, ..Params::default() };
            let vectors = (1..=2u32.min(method.vectors[1] as u32)).map(|v| (tensor(v * 977), tensor(v * 3)));
            let sources =
                Sources::new(tensor(0), vectors.collect(), Value::Same, method, params.clone()).unwrap();
            let expected = survey(&sources, 1, usize::MAX).unwrap();
            surveyed += usize::from(!expected.is_empty());
            for threads in [1, 2, 7] {
                for portion in [1, 65, 640, 100_000] {
                    let found = survey(&sources, threads, portion).unwrap();
                    let bits =
                        |facts: &[Vec<f64>]| facts.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(
                        bits(&found),
                        bits(&expected),
                        "{}: {threads} threads, {portion}",
                        method.name
                    );
                }
            }
        }
        assert_eq!(surveyed, 13);
    }
}
