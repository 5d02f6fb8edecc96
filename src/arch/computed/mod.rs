//! Tensors that are computed from several of one shape, element by element: what no rule can say of a single tensor. In f32,
//! or rounded to f16 after each step where the checkpoint has f16, as the converter computes. Serves the pages that prepare a
//! checkpoint before their rules are carried out (`Arch::prepared`).
//! Specification: `ConformerAudioModel`, `GraniteSpeechMmprojModel`, `MuseGlimmerVisionModel` of llama.cpp's converter.

mod folded;
mod resized;

pub use folded::{Activation, Layer, folded};
pub use resized::resized;

use super::axes::{Piece, Step};
use super::moved;
use super::stored::store;
use ggraft_formats::write::Identity;
use ggraft_formats::{Checkpoint, DType, Error, Result, Rows, Tensor};
use half::f16;
use std::ops::Range;
use std::sync::Arc;

/// How an element comes of those at its place; the second rounds what a step gives.
type Formula = fn(&[f32], &dyn Fn(f32) -> f32) -> f32;

/// A formula, and what it is called.
#[derive(Clone, Copy)]
pub struct Computation {
    pub name: &'static str,
    pub formula: Formula,
}

/// The sum, rounded once.
pub const SUM: Computation = Computation { name: "sum", formula: |all, round| round(all.iter().sum()) };

/// The factor of a norm of batches: of its weight and variance.
const FACTOR: Computation =
    Computation { name: "w / sqrt(variance + 1e-5)", formula: |all, round| factor(all[0], all[1], round) };

/// What it adds: of its weight, variance, mean and bias.
const OFFSET: Computation = Computation {
    name: "bias - mean w / sqrt(variance + 1e-5)",
    formula: |all, round| round(all[3] - round(all[2] * factor(all[0], all[1], round))),
};

/// The epsilon is torch's default.
fn factor(weight: f32, variance: f32, round: &dyn Fn(f32) -> f32) -> f32 {
    round(weight / round(round(variance + 1e-5).sqrt()))
}

/// The tensor `name` that `by` computes from `sources`, which must have one shape.
///
/// # Errors
/// A source has another shape than the first.
pub fn computed(name: &str, by: Computation, sources: Vec<Tensor>) -> Result<Tensor> {
    let [first, ..] = sources.as_slice() else {
        return Err(Error::invalid("nothing becomes this tensor").tensor(name));
    };
    let shape = *first.shape();
    if let Some(other) = sources.iter().find(|source| *source.shape() != shape) {
        return Err(Error::invalid("tensors that become one have different shapes")
            .tensor(&other.name)
            .expected(format!("{shape}, as {} has", first.name))
            .found(other.shape()));
    }
    let half = sources.iter().all(|source| source.dtype() == DType::F16);
    let dtype = if half { DType::F16 } else { DType::F32 };
    Tensor::new(name, shape, dtype, Arc::new(Computed { sources, by, half }))
}

/// The tensor `name` that `by` computes from each element of `table` and the number that `column` has for its row.
///
/// # Errors
/// The column has not one number for each row.
pub fn by_row(name: &str, by: Computation, table: Tensor, column: Tensor) -> Result<Tensor> {
    let shape = *table.shape();
    if column.shape().ne() != [shape.rows()] {
        return Err(Error::invalid("there must be one number for each row of another tensor")
            .tensor(&column.name)
            .expected(format!("[{}], the rows of {}", shape.rows(), table.name))
            .found(column.shape()));
    }
    let half = [&table, &column].iter().all(|source| source.dtype() == DType::F16);
    let dtype = if half { DType::F16 } else { DType::F32 };
    Tensor::new(name, shape, dtype, Arc::new(ByRow { table, column, by, half }))
}

/// The table `name` of the rows of all `tables`, one below the other: in f16 if all of them are, else in f32.
///
/// # Errors
/// They have rows of different lengths.
pub fn joined(name: &str, tables: Vec<Tensor>) -> Result<Tensor> {
    let row = tables.first().map_or(0, |table| table.shape().row());
    let half = tables.iter().all(|table| table.dtype() == DType::F16);
    let (mut pieces, mut rows) = (Vec::new(), 0u64);
    let mut sources = Vec::with_capacity(tables.len());
    for (source, table) in (0..).zip(tables) {
        let own = table.shape().rows();
        if table.shape().row() != row {
            return Err(Error::invalid(
                "the rows of a table that becomes one with another have another length",
            )
            .tensor(&table.name)
            .expected(row)
            .found(table.shape().row()));
        }
        let size = own.saturating_mul(row);
        let step = Step { size, from: 1, to: 1, tensor: 0 };
        pieces.push(Piece { source, from: 0, to: rows.saturating_mul(row), steps: vec![step] });
        rows = rows.saturating_add(own);
        sources.push(if half { table } else { table.encode(DType::F32, None)? });
    }
    moved::moved(name, &[rows, row], sources, &pieces)
}

/// Norms of batches as two tensors each: those whose names are `PREFIX.weight`, where `is` says so of the prefix, with
/// `PREFIX.bias`, `PREFIX.running_mean` and `PREFIX.running_var`. The mean and the variance of the batches are in them.
///
/// # Errors
/// One of the four is missing, or has another shape than the weight.
pub fn with_folded_norms(checkpoint: &Checkpoint, is: fn(&str) -> bool) -> Result<Option<Checkpoint>> {
    let mut tensors = Vec::with_capacity(checkpoint.tensors.len());
    for tensor in &checkpoint.tensors {
        let Some((prefix, part)) = tensor.name.rsplit_once('.').filter(|(prefix, _)| is(prefix)) else {
            tensors.push(tensor.clone());
            continue;
        };
        let four = || {
            ["weight", "running_var", "running_mean", "bias"]
                .map(|part| held(checkpoint, &format!("{prefix}.{part}")))
                .into_iter()
                .collect::<Result<Vec<Tensor>>>()
        };
        match part {
            "weight" => tensors.push(computed(&tensor.name, FACTOR, four()?[..2].to_vec())?),
            "bias" => tensors.push(computed(&tensor.name, OFFSET, four()?)?),
            _ => {}
        }
    }
    Ok(Some(Checkpoint { tensors, ..checkpoint.clone() }))
}

/// The tensor of this name.
///
/// # Errors
/// It is missing.
pub fn held(checkpoint: &Checkpoint, name: &str) -> Result<Tensor> {
    let missing = || {
        let error = Error::invalid("a tensor is missing that others are computed with").file(&checkpoint.dir);
        error.tensor(name).hint("the weights are incomplete: download them again")
    };
    checkpoint.tensors.iter().find(|tensor| tensor.name == name).cloned().ok_or_else(missing)
}

/// Rows that are computed.
struct Computed {
    sources: Vec<Tensor>,
    by: Computation,
    /// Whether the result is f16.
    half: bool,
}

impl Rows for Computed {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let mut all = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            let mut values = vec![0f32; rows.len() * source.row_elements()?];
            source.decode_rows(rows.clone(), &mut values)?;
            all.push(values);
        }
        let plain = |x: f32| x;
        let short = |x: f32| f16::from_f32(x).to_f32();
        let round: &dyn Fn(f32) -> f32 = if self.half { &short } else { &plain };
        let mut at = vec![0f32; all.len()];
        let values = (0..all.first().map_or(0, Vec::len)).map(|i| {
            at.iter_mut().zip(&all).for_each(|(x, values)| *x = values[i]);
            (self.by.formula)(&at, round)
        });
        store(values, self.half, out);
        Ok(())
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.sources.iter().for_each(|source| source.prefetch(rows.clone()));
    }

    fn release(&self, rows: Range<usize>) {
        self.sources.iter().for_each(|source| source.release(rows.clone()));
    }

    fn identify(&self, into: &mut Identity) {
        into.add(self.by.name.as_bytes());
        self.sources.iter().for_each(|source| source.identify(into));
    }
}

/// Rows that are computed with a number each.
struct ByRow {
    table: Tensor,
    column: Tensor,
    by: Computation,
    /// Whether the result is f16.
    half: bool,
}

impl Rows for ByRow {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let row = self.table.row_elements()?;
        let mut values = vec![0f32; rows.len() * row];
        self.table.decode_rows(rows.clone(), &mut values)?;
        let mut column = vec![0f32; self.column.row_elements()?];
        self.column.decode_rows(0..1, &mut column)?;
        let plain = |x: f32| x;
        let short = |x: f32| f16::from_f32(x).to_f32();
        let round: &dyn Fn(f32) -> f32 = if self.half { &short } else { &plain };
        for (values, number) in values.chunks_exact_mut(row.max(1)).zip(&column[rows]) {
            values.iter_mut().for_each(|x| *x = (self.by.formula)(&[*x, *number], round));
        }
        store(values.into_iter(), self.half, out);
        Ok(())
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.table.prefetch(rows);
    }

    fn release(&self, rows: Range<usize>) {
        self.table.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        into.add(self.by.name.as_bytes());
        self.table.identify(into);
        self.column.identify(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Shape;

    #[test]
    fn a_norm_of_batches_is_a_factor_and_an_offset() {
        let one = |x: f32| Tensor::in_memory("x", Shape::new(&[2]).unwrap(), &[x, x]).unwrap();
        let sources = || [2.0, 4.0, 3.0, 1.0].map(one).to_vec();
        let of = |by, sources: Vec<Tensor>| {
            let mut out = [0.0; 2];
            computed("y", by, sources).unwrap().decode_rows(0..1, &mut out).unwrap();
            out
        };
        let factor = 2.0 / (4.0f32 + 1e-5).sqrt();
        assert_eq!(of(FACTOR, sources()[..2].to_vec()), [factor; 2]);
        assert_eq!(of(OFFSET, sources()), [1.0 - 3.0 * factor; 2]);
        assert_eq!(of(SUM, sources()), [10.0; 2]);
    }

    #[test]
    fn a_table_is_computed_with_a_number_for_each_row_and_tables_become_one() {
        let table = Tensor::in_memory("x", Shape::new(&[2, 2]).unwrap(), &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let column =
            |n: u64| Tensor::in_memory("n", Shape::new(&[n]).unwrap(), &vec![2.0; n as usize]).unwrap();
        let twice = by_row("y", SUM, table.clone(), column(2)).unwrap();
        let all = joined("z", vec![table.clone(), twice]).unwrap();
        let mut out = [0.0; 8];
        all.decode_rows(0..4, &mut out).unwrap();
        assert_eq!(out, [1.0, 2.0, 3.0, 4.0, 3.0, 4.0, 5.0, 6.0]);
        assert!(by_row("y", SUM, table.clone(), column(3)).is_err());
        assert!(joined("z", vec![table, column(3)]).is_err());
    }

    #[test]
    fn sources_of_different_shapes_are_refused() {
        let of = |n: u64| Tensor::in_memory("x", Shape::new(&[n]).unwrap(), &vec![0.0; n as usize]).unwrap();
        assert!(computed("y", SUM, vec![of(2), of(3)]).is_err());
        assert!(computed("y", SUM, Vec::new()).is_err());
    }
}
