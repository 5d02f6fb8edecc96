//! One rule at work: the tensors that it takes of a checkpoint, what they become, and what is wrong with them.

use super::{Adopted, Instance, broken};
use crate::arch::axes::{Piece, Sizes, Stacks, Step};
use crate::arch::ids;
use crate::arch::moved::{self, moved};
use crate::arch::params::Params;
use crate::arch::rule::RowCount;
use crate::arch::slots;
use crate::arch::values::Value;
use ggraft_formats::safetensors::Named;
use ggraft_formats::{DType, Error, Result, Tensor};
use std::collections::HashMap;

/// `table` behind the first rows of another one of its width and dtype.
pub(super) fn behind(other: Tensor, first: u64, table: Tensor) -> Result<Tensor> {
    let (row, held) = (table.shape().row(), table.shape().rows());
    let piece = |source, to, rows| {
        let step = |size, step| Step { size, from: step, to: step, tensor: 0 };
        Piece { source, from: 0, to, steps: vec![step(rows, row), step(row, 1)] }
    };
    let (shape, pieces) =
        ([held.saturating_add(first), row], [piece(0, 0, first), piece(1, first.saturating_mul(row), held)]);
    moved(&table.name.clone(), &shape, vec![other, table], &pieces)
}

impl Instance<'_> {
    /// The tensors of GGUF's that the checkpoint's become, if all are there and fit.
    pub(super) fn adopt(
        &self,
        held: &HashMap<&str, &Tensor>,
        params: &Params<'_>,
    ) -> Result<Vec<Adopted>, Vec<Error>> {
        let (mut sources, mut problems) = (Vec::with_capacity(self.from.len()), Vec::new());
        for (i, name) in self.from.iter().enumerate() {
            match held.get(name.as_str()) {
                None => problems.push(self.missing(i, name, params)),
                Some(tensor) => match self.check(i, tensor, params) {
                    Ok(()) => sources.push((*tensor).clone()),
                    Err(e) => problems.push(e),
                },
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let of = |target: usize| -> Result<Adopted> {
            let name = self.to.get(target).map_or("", String::as_str);
            let tensor = match sources.as_slice() {
                [one] if self.axes.is_same() => one.clone().renamed(name),
                _ => self.moved(name, target, sources.clone(), params)?,
            };
            let tensor = match self.rule.value {
                Value::Times(times) => times.applied(tensor, params, self.layer)?,
                Value::Whole(whole) if whole.is_linear() => whole.applied(tensor)?,
                _ => tensor,
            };
            let stored = self.rule.stored.filter(|_| !self.bias);
            Ok(Adopted { tensor, value: self.rule.value, rows: self.rule.rows, stored })
        };
        (0..self.to.len()).map(of).collect::<Result<_>>().map_err(|e| vec![e])
    }

    pub(super) fn moved(
        &self,
        name: &str,
        target: usize,
        sources: Vec<Tensor>,
        params: &Params<'_>,
    ) -> Result<Tensor> {
        let (sizes, stacked) = (self.sizes(params)?, self.rule.stacked());
        let wrong = |what: String| broken(self.rule, &what);
        let side = self.axes.to.get(target).ok_or_else(|| wrong(String::from("it has too few sides")))?;
        let shape = side.shape(&sizes).map_err(wrong)?;
        let pieces = self.axes.forth(&sizes, Stacks { from: &stacked, to: &[] }, target).map_err(wrong)?;
        moved(name, &shape, sources, &pieces)
    }

    /// The checkpoint's tensors that GGUF's have been made of.
    pub(super) fn release(&self, held: &HashMap<&str, &Tensor>, params: &Params<'_>) -> Result<Vec<Named>> {
        let mut sources = Vec::with_capacity(self.to.len());
        for name in &self.to {
            let tensor = held.get(name.as_str()).ok_or_else(|| {
                Error::invalid("the model lacks a tensor that the checkpoint keeps together with others")
                    .tensor(name)
            })?;
            let fewer = match self.rule.rows {
                RowCount::BehindZeros => Some(slots::without_first((*tensor).clone())?),
                _ => None,
            };
            let tensor = fewer.as_ref().unwrap_or(tensor);
            sources.push(match self.rule.value {
                Value::Times(times) => times.undone((*tensor).clone(), params, self.layer)?,
                Value::Whole(whole) if whole.is_linear() => tensor.origin().unwrap_or((*tensor).clone()),
                value => value.trained((*tensor).clone())?,
            });
        }
        if let ([one], [name], true) = (sources.as_slice(), self.from.as_slice(), self.axes.is_same()) {
            // Writers of GGUF may drop dimensions of one, quantizers among them.
            let dims = self.axes.from.first().map_or(0, |side| side.0.len());
            let tensor = self.as_held(one.clone().widened(dims))?;
            return Ok(vec![Named { name: name.clone(), tensor }]);
        }
        let (sizes, stacked) = (self.sizes(params)?, self.rule.stacked());
        let stack: Vec<u64> = stacked.iter().map(|name| sizes.get(name).copied().unwrap_or(1)).collect();
        let each = stack.iter().product::<u64>().max(1) as usize;
        let wrong = |what: String| broken(self.rule, &what);
        let first = self.to.first().map_or("", String::as_str);
        let of = |(i, name): (usize, &String)| -> Result<Named> {
            let mut at = vec![0; stack.len()];
            let mut rest = (i % each) as u64;
            for (index, size) in at.iter_mut().zip(&stack).rev() {
                *index = rest % size;
                rest /= size;
            }
            let side =
                self.axes.from.get(i / each).ok_or_else(|| wrong(String::from("it has too few sides")))?;
            let shape = side.shape(&sizes).map_err(wrong)?;
            let stacks = Stacks { from: &stacked, to: &[] };
            let pieces = self.axes.back(&sizes, stacks, i / each, &at).map_err(wrong)?;
            Ok(Named { name: name.clone(), tensor: moved(first, &shape, sources.clone(), &pieces)? })
        };
        self.from.iter().enumerate().map(of).collect()
    }

    /// With the rows that the checkpoint has: those that were added are cut, the first, which GGUF leaves out, are its own.
    pub(super) fn as_held(&self, table: Tensor) -> Result<Tensor> {
        let Some(own) = &self.table else { return Ok(table) };
        let (&[row, held], &[_, rows]) = (table.shape().ne(), own.shape().ne()) else { return Ok(table) };
        if rows < held {
            let shape = moved::shape(&table.name, &[rows, row])?;
            return Tensor::new(&table.name.clone(), shape, table.dtype(), table.rows());
        }
        if rows == held {
            return Ok(table);
        }
        let first = rows - held;
        let own = if own.dtype() == table.dtype() {
            own.clone()
        } else {
            let mut values = vec![0.0; (first * row) as usize];
            own.decode_rows(0..first as usize, &mut values)?;
            Tensor::in_memory(&own.name, moved::shape(&own.name, &[first, row])?, &values)?
        };
        behind(own, first, table)
    }

    pub(in crate::arch) fn sizes(&self, params: &Params<'_>) -> Result<Sizes> {
        let mut names = self.axes.names();
        names.extend(self.rule.stacked());
        params.sizes(&names, self.layer)
    }

    /// Refuses a tensor that is not source `i`.
    pub(super) fn check(&self, i: usize, tensor: &Tensor, params: &Params<'_>) -> Result<()> {
        let shape = self.expected(i, params)?;
        let found: Vec<u64> = tensor.shape().ne().iter().rev().copied().collect();
        // Rows beyond the last token are going to be cut.
        let longer =
            self.rule.rows == RowCount::Tokens && found[..1] > shape[..1] && found[1..] == shape[1..];
        let shorter =
            self.rule.rows == RowCount::Padded && found[..1] < shape[..1] && found[1..] == shape[1..];
        if found != shape && !longer && !shorter {
            return Err(Error::invalid("the shape is not the one that config.json says")
                .tensor(&tensor.name)
                .expected(self.shape(i, params))
                .found(format!("{found:?}")));
        }
        // Blocks of MXFP4 cannot be taken apart, but may stay as they are, or lie upon each other.
        let stays = tensor.dtype() == DType::MXFP4 && (self.axes.is_same() || self.axes.is_stack());
        if matches!(self.rule.value, Value::Ids | Value::Narrow) {
            let known = ids::DTYPES.contains(&tensor.dtype());
            let wrong =
                || Error::invalid("these are no whole numbers").tensor(&tensor.name).expected("i64 or i32");
            return if known { Ok(()) } else { Err(wrong().found(tensor.dtype())) };
        }
        if !stays && !matches!(tensor.dtype(), DType::F64 | DType::F32 | DType::F16 | DType::BF16) {
            return Err(Error::unsupported("the weights are not plain floats")
                .tensor(&tensor.name)
                .expected("f64, f32, f16 or bf16")
                .found(tensor.dtype())
                .hint("take the checkpoint that was not quantized"));
        }
        Ok(())
    }

    /// The dimensions of source `i`, the outermost first.
    pub(super) fn expected(&self, i: usize, params: &Params<'_>) -> Result<Vec<u64>> {
        let each = self.from.len() / self.axes.from.len().max(1);
        let side = self.axes.from.get(i / each.max(1)).or(self.axes.from.first());
        let sizes = self.sizes(params)?;
        side.map_or(Ok(Vec::new()), |side| side.shape(&sizes)).map_err(|what| broken(self.rule, &what))
    }

    /// The expected shape as trainers print it, with the keys that decide it.
    pub(super) fn shape(&self, i: usize, params: &Params<'_>) -> String {
        let each = (self.from.len() / self.axes.from.len().max(1)).max(1);
        let sizes = self.expected(i, params).map_or_else(|e| e.to_string(), |shape| format!("{shape:?}"));
        let side = self.axes.from.get(i / each).or(self.axes.from.first());
        let keys: Vec<String> = side.iter().flat_map(|side| &side.0).map(|term| params.keys(term)).collect();
        format!("{sizes} ({})", keys.join(", "))
    }

    pub(super) fn missing(&self, i: usize, name: &str, params: &Params<'_>) -> Error {
        Error::invalid("the checkpoint lacks this tensor")
            .tensor(name)
            .expected(self.shape(i, params))
            .hint("the download is incomplete, or config.json is of another model")
    }
}
