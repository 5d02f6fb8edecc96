//! Do the models belong together, as far as their weights tell? A few rows of every tensor show how far chat and CP
//! lie from the base, and whether they went the same way: siblings of another parent share a direction that
//! the base lacks. For quantized vectors it is measured how much of the difference is noise. Serves the check
//! before a merge and its report; the same rows give the same figures on any number of threads.

use crate::arrange::Arrange;
use crate::merge::method::Sources;
use crate::roles;
use crate::stages::Stages;
use ggraft_formats::source::{Span, fetch_ahead, planned};
use ggraft_formats::{DType, Error, Result, Tensor};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Weights of a tensor that are looked at, and the rows at most.
const SAMPLE: u64 = 1 << 16;
const MOST_ROWS: u64 = 64;
/// In how many runs of rows, spread evenly, at most, and in how many in all tensors of a model, if one in each is not more: a run
/// is one request where the model lies elsewhere.
const RUNS: u64 = 4;
const RUNS_IN_ALL: u64 = 256;

/// Changes whose cosine is below this are told as unrelated.
const ALIKE: f64 = 0.3;

/// Chat models lie within a few percent of their base, seldom at a third of it; unrelated weights at 1.4 times.
const UNRELATED: f64 = 0.7;
/// Vectors of independent trainings are nearly at right angles.
pub(super) const SAME_WAY: f64 = 0.5;
/// A direction in common tells of another parent only if it is more than a trace.
const TRACE: f64 = 1e-3;
/// Noise of the weights beyond which a vector is not worth taking: Q8_0 has half a percent, Q6_K 1.5, Q4_K 7.
const MOST_NOISE: f64 = 0.01;

/// What the sampled rows of one tensor tell of one vector.
#[derive(Clone, Debug)]
pub struct Kinship {
    pub tensor: String,
    /// |chat − base| / |base|, or by |CP| where base is all zeros.
    pub delta: f64,
    /// |CP − base| / |base|.
    pub drift: f64,
    /// The cosine of chat − base and CP − base.
    pub cosine: f64,
    /// Where on the way from base (0) to chat (1) CP lies nearest; 0 if there is no way.
    pub start: f64,
    /// Whether CP is chat.
    pub is_chat: bool,
    /// Whether all of it is zeros, in every model, so that it tells nothing.
    pub is_blank: bool,
    /// For quantized inputs, the noise in chat − base relative to |base|, as far as it can be measured.
    pub noise: Option<f64>,
    /// The dtypes of chat and base.
    dtypes: (DType, DType),
}

impl Kinship {
    /// Norms and biases hardly move in any training; the matrices tell.
    fn is_matrix(&self) -> bool {
        !roles::is_norm(&self.tensor)
    }
}

/// What a user may allow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// Merge models whose weights show no kinship.
    pub unrelated: bool,
    /// Merge models that seem to be in each other's places, or one given twice.
    pub swapped: bool,
    /// CP is the base on purpose: what is added to it are differences from itself.
    pub base_is_onto: bool,
    /// Take a vector from models that are quantized so coarsely that it is mostly noise.
    pub quantized_vector: bool,
}

/// The figures of every merged tensor, for each vector.
pub(crate) fn measure(sources: &[Arc<Sources>], stages: &dyn Stages) -> Result<Vec<Vec<Kinship>>> {
    stages.begin("looking at how the models are related", sources.len());
    let look = |i: usize| Look::new(i as u64, sources.len() as u64);
    let fetching = fetch_ahead(sources.iter().enumerate().map(|(i, s)| needed(s, look(i))));
    let one = |(i, s): (usize, &Arc<Sources>)| {
        let found = of_tensor(s, look(i));
        fetching.iter().for_each(|fetching| fetching.done(i));
        stages.step();
        found
    };
    let by_tensor = sources.par_iter().enumerate().map(one).collect::<Result<Vec<_>>>();
    stages.end();
    let by_tensor = by_tensor?;
    let vectors = by_tensor.first().map_or(0, Vec::len);
    let column = |v: usize| by_tensor.iter().filter_map(|t| t.get(v).cloned()).collect();
    Ok((0..vectors).map(column).collect())
}

/// Which rows of a tensor are looked at: in how many runs, and how far on in its part of the tensor each of them lies, from 0
/// to 1.
#[derive(Clone, Copy)]
struct Look {
    runs: u64,
    place: f64,
}

impl Look {
    /// For one of so many tensors. The single runs of many lie at different places, spread by the golden ratio.
    fn new(tensor: u64, tensors: u64) -> Look {
        let runs = (RUNS_IN_ALL / tensors.max(1)).clamp(1, RUNS);
        let place = if runs == RUNS { 0.0 } else { (tensor as f64 * 0.618_033_988_749_895).fract() };
        Look { runs, place }
    }

    /// The rows, of a tensor of so many weights a row.
    fn rows(self, row: u64, rows: u64) -> impl Iterator<Item = Range<usize>> + Clone {
        let count = (SAMPLE / row.max(1)).clamp(1, MOST_ROWS).min(rows);
        let runs = self.runs.min(count);
        let at = |row: u64| usize::try_from(row).unwrap_or(0);
        (0..runs).map(move |i| {
            let (start, end) = (i * rows / runs, (i + 1) * rows / runs);
            let length = (i + 1) * count / runs - i * count / runs;
            let start = start + ((end - start).saturating_sub(length) as f64 * self.place) as u64;
            at(start)..at(start + length)
        })
    }

    fn of(self, t: &Tensor) -> impl Iterator<Item = Range<usize>> + Clone {
        self.rows(t.shape().row(), t.shape().rows())
    }
}

fn of_tensor(s: &Sources, look: Look) -> Result<Vec<Kinship>> {
    let sample = |t: &Tensor| sample(t, look);
    let onto = sample(&s.own.onto)?;
    let one = |(chat, base): &(Tensor, Tensor)| -> Result<Kinship> {
        let (c, b) = (sample(chat)?, sample(base)?);
        let (mut delta, mut drift, mut along, mut size, mut own) = (0.0, 0.0, 0.0, 0.0, 0.0);
        let (mut is_chat, mut is_blank) = (true, true);
        for ((x, c), b) in onto.iter().flatten().zip(c.iter().flatten()).zip(b.iter().flatten()) {
            let (d, p) = (f64::from(c - b), f64::from(x - b));
            delta += d * d;
            drift += p * p;
            along += d * p;
            size += f64::from(*b) * f64::from(*b);
            own += f64::from(*x) * f64::from(*x);
            is_chat &= x == c;
            is_blank &= *x == 0.0 && *c == 0.0 && *b == 0.0;
        }
        // Of a whole vector base is nothing.
        let size = if size > 0.0 { size } else { own };
        let relative = |square: f64| if size > 0.0 { (square / size).sqrt() } else { 0.0 };
        let both = (delta * drift).sqrt();
        let noises = [noise(chat.dtype(), &c)?, noise(base.dtype(), &b)?];
        let quantized = chat.dtype().is_quantized() || base.dtype().is_quantized();
        Ok(Kinship {
            tensor: s.own.onto.name.clone(),
            delta: relative(delta),
            drift: relative(drift),
            cosine: if both > 0.0 { along / both } else { 0.0 },
            start: if delta > 0.0 { along / delta } else { 0.0 },
            is_chat,
            is_blank,
            noise: quantized.then(|| noises.iter().map(|n| n * n).sum::<f64>().sqrt()),
            dtypes: (chat.dtype(), base.dtype()),
        })
    };
    s.own.pairs.iter().map(one).collect()
}

/// What of these sources lies elsewhere and is looked at.
fn needed(s: &Arc<Sources>, look: Look) -> Vec<Span> {
    let pairs = s.own.pairs.iter().flat_map(|(chat, base)| [chat, base]);
    let all = [&s.own.onto].into_iter().chain(pairs);
    all.flat_map(|t| few(planned(|| look.of(t).for_each(|run| t.prefetch(run))), look.runs)).collect()
}

/// The same in no more than so many pieces, joined over the narrowest gaps: rows of one run may lie apart in their file.
fn few(mut spans: Vec<Span>, most: u64) -> Vec<Span> {
    spans.arrange_by_key(|span| (span.object.path().to_path_buf(), span.bytes.start));
    while spans.len() as u64 > most {
        let gap = |i: &usize| match spans[*i].object.path() == spans[i + 1].object.path() {
            true => spans[i + 1].bytes.start.saturating_sub(spans[*i].bytes.end),
            false => u64::MAX,
        };
        let Some(at) = (0..spans.len() - 1).min_by_key(gap).filter(|at| gap(at) < u64::MAX) else { break };
        let next = spans.remove(at + 1);
        spans[at].bytes.end = spans[at].bytes.end.max(next.bytes.end);
    }
    spans
}

/// Rows of runs that are spread evenly over a tensor, decoded.
fn sample(t: &Tensor, look: Look) -> Result<Vec<Vec<f32>>> {
    let (rows, runs) = (t.shape().rows(), look.of(t));
    // All are asked for before the first is needed: the disk reads many at a time, and nothing around them.
    runs.clone().for_each(|run| t.prefetch(run));
    let mut all = Vec::new();
    for run in runs {
        let row = t.row_elements()?;
        let mut values = vec![0.0; row * run.len()];
        t.decode_rows(run, &mut values)?;
        all.extend(values.chunks(row.max(1)).map(<[f32]>::to_vec));
    }
    // The system maps more around each row than was asked for.
    t.release(0..usize::try_from(rows).unwrap_or(0));
    Ok(all)
}

/// The relative error that a dtype makes on weights like these: sums of two neighbouring rows have the same spread
/// but lie off the grid, so encoding them shows it. Dtypes without an encoder count as all noise.
fn noise(dtype: DType, rows: &[Vec<f32>]) -> Result<f64> {
    let traits = dtype.traits();
    if !dtype.is_quantized() {
        return Ok(0.0);
    }
    if traits.encode.is_none() || traits.decode.is_none() {
        return Ok(1.0);
    }
    let (mut error, mut size) = (0.0, 0.0);
    for pair in rows.windows(2) {
        let mixed: Vec<f32> = pair[0].iter().zip(&pair[1]).map(|(x, y)| (x + y) * 0.5f32.sqrt()).collect();
        let mut bytes = vec![0; mixed.len() / traits.block * traits.bytes];
        let mut back = vec![0.0; mixed.len()];
        let alike = (!traits.plain).then(|| vec![1.0; mixed.len()]);
        dtype.encode(&mixed, mixed.len(), alike.as_deref(), &mut bytes)?;
        dtype.decode(&bytes, &mut back)?;
        for (x, y) in mixed.iter().zip(&back) {
            error += f64::from(x - y) * f64::from(x - y);
            size += f64::from(*x) * f64::from(*x);
        }
    }
    Ok(if size > 0.0 { (error / size).sqrt() } else { 0.0 })
}

/// Judges the figures of one vector, and what is doubtful of the models' places: what to tell, or why to stop.
pub(crate) fn judge(figures: &[Kinship], doubts: Doubts, allowed: Allowed) -> Result<Vec<String>> {
    let matrices: Vec<&Kinship> = figures.iter().filter(|k| k.is_matrix()).collect();
    let (delta, drift, cosine) =
        (middle(figures, |k| k.delta), middle(figures, |k| k.drift), middle(figures, |k| k.cosine));
    // In high dimensions what was trained apart has nothing in common.
    let alike = if cosine.abs() < ALIKE { "unrelated, as they should be" } else { "alike" };
    let (delta_told, count) = (delta * 100.0, matrices.len());
    let is_base = !figures.is_empty() && figures.iter().all(|k| k.drift == 0.0);
    let mut notes = vec![match is_base {
        true => format!(
            "chat differs from base, which onto does not differ from, by {delta_told:.2} % (median of {count} tensors)"
        ),
        false => format!(
            "chat differs from base by {delta_told:.2} %, onto by {:.2} % (medians of {count} tensors); the two changes are {alike} (cosine {cosine:.2})",
            drift * 100.0
        ),
    }];
    if !figures.is_empty() && figures.iter().all(|k| k.is_blank) {
        let blank =
            "the weights that were looked at are zeros: whether the models belong together is not known";
        notes = vec![String::from(blank)];
    }
    refuse(doubts.refused, allowed.swapped, &mut notes)?;
    refuse(strangers(delta, drift, cosine), allowed.unrelated, &mut notes)?;
    notes.extend(doubts.warned.iter().map(|e| format!("warning: {e}")));
    notes.extend(judge_noise(&matrices, allowed)?);
    Ok(notes)
}

/// How far an adapter moves CP: it was made from it, so that there is nothing to judge.
pub(crate) fn moved(name: &str, figures: &[Kinship]) -> String {
    let moved: Vec<f64> = figures.iter().map(|k| k.delta).filter(|delta| *delta > 0.0).collect();
    let (count, delta) = (moved.len(), median(moved) * 100.0);
    format!(
        "the adapter {name} moves {count} tensors of onto, by {delta:.2} % (median) where its weight is 1"
    )
}

/// Stops at `problems`, if they are not allowed.
fn refuse(problems: Vec<Error>, allowed: bool, notes: &mut Vec<String>) -> Result<()> {
    match (Error::all(problems), allowed) {
        (Some(e), false) => return Err(e),
        (Some(e), true) => notes.push(format!("allowed: {e}")),
        (None, _) => {}
    }
    Ok(())
}

/// Models that do not come from one base.
fn strangers(delta: f64, drift: f64, cosine: f64) -> Vec<Error> {
    const MEND: &str = "give the model that both were made from, or --allow-unrelated if you know better";
    let unrelated = |what: &str, figure: &str, most: f64, found: f64| {
        let e = Error::invalid(what).expected(format!("{figure} of at most {most}"));
        e.found(format!("{found:.2}"))
    };
    let far = |what, figure, found| {
        (found > UNRELATED).then(|| unrelated(what, figure, UNRELATED, found).hint(MEND))
    };
    let mut problems: Vec<Error> = [
        far("chat does not come from this base", "|chat - base| / |base|", delta),
        far("onto does not come from this base", "|onto - base| / |base|", drift),
    ]
    .into_iter()
    .flatten()
    .collect();
    if problems.is_empty() && cosine > SAME_WAY && delta.min(drift) > TRACE {
        let what = "chat and onto went the same way from this base: they seem to come from another one";
        let e = unrelated(what, "a cosine between chat - base and onto - base", SAME_WAY, cosine);
        problems.push(e.hint(format!("{MEND}; are --base and --onto swapped?")));
    }
    problems
}

/// Judges how much of a quantized vector is noise.
fn judge_noise(matrices: &[&Kinship], allowed: Allowed) -> Result<Option<String>> {
    let noisy: Vec<(&Kinship, f64)> = matrices.iter().filter_map(|k| k.noise.map(|n| (*k, n))).collect();
    let Some((first, _)) = noisy.first() else { return Ok(None) };
    let noise = median(noisy.iter().map(|(_, n)| *n).collect());
    let ratio =
        median(noisy.iter().map(|(k, n)| if *n > 0.0 { k.delta / n } else { f64::INFINITY }).collect());
    let figure = format!(
        "chat ({}) and base ({}) are quantized: their noise is {:.2} % of the weights, the difference {ratio:.1} times that",
        first.dtypes.0,
        first.dtypes.1,
        noise * 100.0
    );
    if noise <= MOST_NOISE * 2f64.sqrt() {
        return Ok(Some(format!("warning: {figure}")));
    }
    if allowed.quantized_vector {
        return Ok(Some(format!("allowed: {figure}")));
    }
    Err(Error::invalid("the vector would be mostly noise")
        .expected(format!("noise of at most {} % in chat and base", MOST_NOISE * 100.0))
        .found(figure)
        .hint(
            "take chat and base as F16, BF16 or F32 (onto may be quantized), or give --allow-quantized-vector",
        ))
}

/// What is out of its place.
#[derive(Default)]
pub(crate) struct Doubts {
    pub refused: Vec<Error>,
    pub warned: Vec<Error>,
}

/// The median over the matrices.
pub(super) fn middle(figures: &[Kinship], of: fn(&Kinship) -> f64) -> f64 {
    median(figures.iter().filter(|k| k.is_matrix()).map(of).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_spread_and_hold_as_many_rows_as_are_looked_at() {
        let all = |row, rows| Look::new(3, 30).rows(row, rows).collect::<Vec<_>>();
        assert_eq!(all(4096, 4096), [0..4, 1024..1028, 2048..2052, 3072..3076]);
        assert_eq!(all(64, 10_000).iter().map(Range::len).sum::<usize>(), 64);
        assert_eq!(all(11_008, 100), [0..1, 25..26, 50..51, 75..77]);
        assert_eq!(all(1 << 20, 7).len(), 1);
        assert_eq!(all(8, 3), [0..1, 1..2, 2..3]);
        assert!(all(8, 0).is_empty());
    }

    /// As many rows of each, in one run if the tensors are many, which lies elsewhere in each.
    #[test]
    fn of_many_tensors_one_run_each_is_looked_at() {
        let of = |tensor, tensors| Look::new(tensor, tensors).rows(4096, 4096).collect::<Vec<_>>();
        assert_eq!(of(0, 100), [0..8, 2048..2056]);
        assert_eq!(of(1, 300), vec![2521..2537]);
        assert_eq!(of(2, 300), vec![963..979]);
        for rows in 0..100 {
            for tensor in 0..50 {
                let all = Look::new(tensor, 300).rows(1 << 15, rows).collect::<Vec<_>>();
                assert!(all.iter().all(|run| run.end as u64 <= rows), "{rows}: {all:?}");
                assert_eq!(all.iter().map(Range::len).sum::<usize>() as u64, rows.min(2));
            }
        }
    }
}
