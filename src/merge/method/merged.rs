//! Rows that are computed from several models: the method combines the decoded sources, and the result is rounded once
//! to f32.

use super::survey;
use super::{Pair, Place, Sources, Term};
use crate::merge::parts::Run;
use ggraft_formats::vectors::singles;
use ggraft_formats::write::Identity;
use ggraft_formats::{Error, Result, Rows};
use std::ops::Range;
use std::sync::Arc;

/// F32 rows of the output.
pub(crate) struct Merged {
    pub sources: Arc<Sources>,
    /// One a vector.
    pub weights: Vec<f64>,
    /// What they are multiplied with.
    pub runs: Vec<Run>,
}

impl Rows for Merged {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let sources = &self.sources;
        let (row, facts) = (sources.row()?.max(1), self.facts()?);
        let values = sources.with(&rows, |decoded| {
            let mut values = decoded.onto.clone();
            for (unit, part, run) in self.parts(&rows, row) {
                let facts = facts.get(unit).map_or(&[][..], Vec::as_slice);
                let at = (part.start - rows.start * row)..(part.end - rows.start * row);
                // A method sees whole rows, also where a part of one has a weight of its own.
                let whole = at.start / row * row..at.end.div_ceil(row) * row;
                let first = (rows.start * row + whole.start) as u64;
                let (tensor, params) = (sources.name(), &sources.params);
                let place = Place { tensor, first, row, params, facts, factor: run.factor };
                let pairs = decoded.pairs_at(whole.clone()).into_iter().zip(&self.weights);
                let term = |(v, (Pair { chat, base }, w)): (usize, (_, &f64))| {
                    let share = run.share(v, *w);
                    Term { chat, base, weight: share * run.factor, share }
                };
                let terms: Vec<Term<'_>> = pairs.enumerate().map(term).collect();
                let combine = |values: &mut [f64]| (sources.method.combine)(values, &terms, &place);
                if whole == at {
                    combine(values.get_mut(at).unwrap_or_default());
                } else {
                    let own = at.start - whole.start..at.end - whole.start;
                    let mut seen = decoded.onto.get(whole).unwrap_or_default().to_vec();
                    combine(&mut seen);
                    values[at].copy_from_slice(&seen[own]);
                }
            }
            if !sources.value.is_same() {
                self.change(&mut values, &decoded.onto, &rows)?;
            }
            Ok(values)
        })?;
        if singles(&values, out) { Ok(()) } else { Err(self.overflow(rows.start, &values)) }
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.sources.prefetch(&rows);
    }

    fn release(&self, rows: Range<usize>) {
        self.sources.release(&rows);
    }

    fn identify(&self, into: &mut Identity) {
        let sources = &self.sources;
        into.add(sources.method.name.as_bytes());
        sources.params.identify(into);
        into.numbers(self.weights.iter().map(|w| w.to_bits()));
        for run in &self.runs {
            into.numbers(
                [run.end, run.factor.to_bits()].into_iter().chain(run.own.iter().map(|x| x.to_bits())),
            );
        }
        sources.value.identify(into);
        sources.kept.identify(into);
        for tensors in [&sources.own].into_iter().chain(&sources.kin) {
            tensors.identify(into);
        }
    }
}

impl Merged {
    /// The elements of these rows, as far as they are of one unit and one run: those to which vectors without weight are
    /// added stay as they are.
    fn parts(&self, rows: &Range<usize>, row: usize) -> Vec<(usize, Range<usize>, &Run)> {
        let (all, unit) = (rows.start * row..rows.end * row, self.sources.unit.saturating_mul(row).max(1));
        let mut parts = Vec::new();
        let mut start = all.start;
        for run in &self.runs {
            let end = usize::try_from(run.end).unwrap_or(usize::MAX).min(all.end);
            while start < end {
                let stop = end.min((start / unit + 1).saturating_mul(unit));
                let is_alone = self.sources.own.pairs.is_empty();
                if run.factor != 0.0 || is_alone || self.runs.len() == 1 {
                    let unit = if self.sources.kin.is_empty() { start / unit } else { 0 };
                    parts.push((unit, start..stop, run));
                }
                start = stop;
            }
        }
        parts
    }

    /// What the method must know of each unit; the tensor is read for that when this is first asked.
    fn facts(&self) -> Result<&[Vec<f64>]> {
        let sources = &*self.sources;
        if sources.facts.get().is_none()
            && let Some(found) = survey::in_turn(sources, || sources.facts.get().is_some())?
        {
            return Ok(sources.facts.get_or_init(|| found));
        }
        Ok(sources.facts.get().map_or(&[], Vec::as_slice))
    }

    /// Brings merged `values` from the trainer's space to GGUF's. What the merge has not moved stays CP's, bit for bit.
    fn change(&self, values: &mut [f64], onto: &[f64], rows: &Range<usize>) -> Result<()> {
        let mut kept = vec![0f32; values.len()];
        self.sources.kept.decode_rows(rows.clone(), &mut kept)?;
        for ((x, before), kept) in values.iter_mut().zip(onto).zip(kept) {
            let same = x.to_bits() == before.to_bits();
            *x = f64::from(if same { kept } else { self.sources.value.forth(*x as f32) });
        }
        Ok(())
    }

    /// The error for `values`, from this row on, some of which are not finite in f32.
    fn overflow(&self, first_row: usize, values: &[f64]) -> Error {
        let onto = &self.sources.own.onto;
        let row = usize::try_from(onto.shape().row()).unwrap_or(usize::MAX).max(1);
        let mut singles = values.iter().map(|x| *x as f32).enumerate();
        let (i, found) = singles.find(|(_, x)| !x.is_finite()).unwrap_or_default();
        Error::invalid("the merged weight is not finite")
            .tensor(&onto.name)
            .found(format!("{found} at row {}, column {}", first_row + i / row, i % row))
            .hint("choose a smaller --weight")
    }
}
