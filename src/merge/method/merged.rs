//! Rows that are computed from several models: the method combines the decoded sources, and the result is rounded once
//! to f32.

use super::survey;
use super::{Place, Sources, Term};
use ggraft_formats::simd::vectorized;
use ggraft_formats::write::Identity;
use ggraft_formats::{Error, Result, Rows};
use std::ops::Range;
use std::sync::Arc;

/// F32 rows of the output.
pub(crate) struct Merged {
    pub sources: Arc<Sources>,
    /// One a vector.
    pub weights: Vec<f64>,
    /// What the rules multiply them with.
    pub factor: f64,
}

impl Rows for Merged {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let sources = &self.sources;
        let place = Place {
            tensor: sources.name(),
            first: rows.start as u64 * sources.row()? as u64,
            params: &sources.params,
            facts: self.facts()?,
        };
        let values = sources.with(&rows, |decoded| {
            let mut values = decoded.onto.clone();
            let pairs = decoded.pairs.iter().zip(&self.weights);
            let terms: Vec<Term<'_>> = pairs
                .map(|((chat, base), w)| Term { chat, base, weight: w * self.factor, share: *w })
                .collect();
            (sources.method.combine)(&mut values, &terms, &place);
            Ok(values)
        })?;
        let finite = vectorized(
            #[inline(always)]
            || {
                let pairs = out.as_chunks_mut().0.iter_mut().zip(&values);
                pairs.fold(true, |finite, (bytes, x)| {
                    let x = *x as f32;
                    *bytes = x.to_le_bytes();
                    finite & x.is_finite()
                })
            },
        );
        if finite { Ok(()) } else { Err(self.overflow(rows.start, &values)) }
    }

    fn expect(&self, rows: Range<usize>) {
        self.sources.expect(&rows);
    }

    fn release(&self, rows: Range<usize>) {
        self.sources.release(&rows);
    }

    fn identify(&self, into: &mut Identity) {
        let sources = &self.sources;
        into.add(sources.method.name.as_bytes());
        sources.params.identify(into);
        into.numbers(self.weights.iter().chain([&self.factor]).map(|w| w.to_bits()));
        sources.onto.identify(into);
        for (chat, base) in &sources.pairs {
            chat.identify(into);
            base.identify(into);
        }
    }
}

impl Merged {
    /// What the method must know of the whole tensor; it is read for that when this is first asked.
    fn facts(&self) -> Result<&[f64]> {
        let sources = &*self.sources;
        if sources.facts.get().is_none()
            && let Some(found) = survey::in_turn(sources, || sources.facts.get().is_some())?
        {
            return Ok(sources.facts.get_or_init(|| found));
        }
        Ok(sources.facts.get().map_or(&[], Vec::as_slice))
    }

    /// The error for `values`, from this row on, some of which are not finite in f32.
    fn overflow(&self, first_row: usize, values: &[f64]) -> Error {
        let onto = &self.sources.onto;
        let row = usize::try_from(onto.shape().row()).unwrap_or(usize::MAX).max(1);
        let mut singles = values.iter().map(|x| *x as f32).enumerate();
        let (i, found) = singles.find(|(_, x)| !x.is_finite()).unwrap_or_default();
        Error::invalid("the merged weight is not finite")
            .tensor(&onto.name)
            .found(format!("{found} at row {}, column {}", first_row + i / row, i % row))
            .mend("choose a smaller --weight")
    }
}
