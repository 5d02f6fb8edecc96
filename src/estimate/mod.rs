//! How much each column of a matrix matters, told from the weights alone: the mean square of what it is multiplied by, if
//! what a norm gives is normal and independent. Serves `--importance weights` and, by the norms, the budget.
//! The map: `stream` is what norms give, `reads` which tensor reads what, `rows` sums over the rows of matrices, `hidden`
//! what an activation makes of two normal numbers. What is not known gets no estimate.

mod hidden;
mod reads;
mod rows;
mod stream;

pub(crate) use reads::gains;
pub(crate) use stream::Named;

use crate::roles::layer;
use crate::stages::Stages;
use ggraft_formats::{Model, Result, Tensor};
use hidden::Activation;
use rayon::prelude::*;
use rows::{Pair, Sums};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tensor name -> importance weights, one a column of each of its matrices.
pub type Estimates = BTreeMap<String, Arc<[f32]>>;

/// No column is called less important than this part of the mean: an estimate is no measurement.
const LEAST: f64 = 1e-3;

/// Estimates what can be told of `model`. Values, gates and what is gated are read once, a few rows at a time; the result
/// does not depend on threads.
///
/// # Errors
/// The weights cannot be read.
pub fn of_weights(model: &Model, stages: &dyn Stages) -> Result<Estimates> {
    let named = Named::of(model);
    let activation = Activation::of(model.architecture().unwrap_or_default());
    let heads = Heads::of(model);
    let matrices: Vec<&Tensor> = model.tensors.iter().filter(|t| t.shape().significant().len() > 1).collect();
    stages.begin("estimating what each column matters", matrices.len());
    let one = |tensor: &&Tensor| {
        let found = columns(&named, tensor, activation, &heads)?;
        stages.step();
        Ok(found.and_then(|squares| weights(tensor, &squares)).map(|w| (tensor.name.clone(), w)))
    };
    let found = matrices.par_iter().map(one).collect::<Result<Vec<_>>>();
    stages.end();
    Ok(found?.into_iter().flatten().collect())
}

/// How queries share values.
struct Heads {
    count: Option<u64>,
    /// Columns of a head's values.
    width: Option<u64>,
}

impl Heads {
    fn of(model: &Model) -> Heads {
        let number = |key: &str| model.hparam(key).filter(|n| *n > 0);
        let count = number("attention.head_count");
        let each = number("embedding_length").zip(count).map(|(all, count)| all / count);
        let width = number("attention.value_length").or_else(|| number("attention.key_length")).or(each);
        Heads { count, width }
    }

    /// The mean squares of values as the matrix behind the attention sees them: each head of values as often as it is
    /// asked.
    fn repeated(&self, values: &[f64], columns: usize) -> Option<Vec<f64>> {
        if values.len() == columns {
            return Some(values.to_vec());
        }
        let width = usize::try_from(self.width?).ok()?;
        if width == 0 || !values.len().is_multiple_of(width) || !columns.is_multiple_of(values.len().max(1)) {
            return None;
        }
        let times = columns / values.len();
        Some(values.chunks_exact(width).flat_map(|head| head.repeat(times)).collect())
    }

    /// The rows of the values in a matrix that holds queries and keys before them, all of the same head width.
    fn values_of_fused(&self, rows: usize, columns: usize) -> Option<std::ops::Range<usize>> {
        // BLOOM and Falcon keep them head by head; the converter has put them one after another.
        let grouped = rows.checked_sub(columns)? / 2;
        let width = usize::try_from(self.width?).ok()?;
        let whole = columns as u64 == self.count? * self.width? && grouped > 0;
        (whole && grouped.is_multiple_of(width) && (rows - columns).is_multiple_of(2))
            .then_some(rows - grouped..rows)
    }
}

/// The mean squares of what the columns of a tensor are multiplied by; of all matrices alike, or one after the other.
fn columns(
    named: &Named<'_>,
    tensor: &Tensor,
    activation: Option<Activation>,
    heads: &Heads,
) -> Result<Option<Vec<f64>>> {
    let width = tensor.row_elements()?;
    if let Some(stream) = reads::stream(named, tensor)? {
        return Ok(Some(stream.squares()));
    }
    let Some(layer) = layer(&tensor.name) else { return Ok(None) };
    let sibling = |name: &str| named.get(&format!("blk.{layer}.{name}.weight"));
    let kind = reads::kind(&tensor.name);
    if kind == Some("attn_output") {
        let source = ["attn_v", "attn_v_b", "attn_qkv"].into_iter().find_map(|n| Some((n, sibling(n)?)));
        return match source {
            Some((name, source)) => values(named, source, name, width, heads),
            None => Ok(None),
        };
    }
    let rest = kind.and_then(|kind| kind.strip_prefix("ffn_down"));
    let Some((rest, activation)) = rest.zip(activation) else { return Ok(None) };
    let (gate, up) = (sibling(&format!("ffn_gate{rest}")), sibling(&format!("ffn_up{rest}")));
    let Some(up) = up.or_else(|| sibling(&format!("ffn_gate_up{rest}"))) else { return Ok(None) };
    hidden_squares(named, gate, up, tensor, activation)
}

/// What the attention gives the matrix behind it: averages of values.
fn values(
    named: &Named<'_>,
    source: &Tensor,
    name: &str,
    width: usize,
    heads: &Heads,
) -> Result<Option<Vec<f64>>> {
    let Some(stream) = reads::stream(named, source)? else { return Ok(None) };
    let all = usize::try_from(source.shape().rows()).unwrap_or(0);
    let rows = if name == "attn_qkv" { heads.values_of_fused(all, width) } else { Some(0..all) };
    let Some(rows) = rows else { return Ok(None) };
    let bias = named.bias(source)?;
    let sums = Sums::of(source, rows.clone(), &stream)?;
    let found: Vec<f64> = sums.squares(bias.as_deref().and_then(|b| b.get(rows))).collect();
    Ok(heads.repeated(&found, width))
}

/// What the activation lets through to `down`, matrix by matrix.
fn hidden_squares(
    named: &Named<'_>,
    gate: Option<&Tensor>,
    up: &Tensor,
    down: &Tensor,
    activation: Activation,
) -> Result<Option<Vec<f64>>> {
    let Some(stream) = reads::stream(named, up)? else { return Ok(None) };
    let (width, matrices) = (down.row_elements()?, usize::try_from(down.shape().dim(2)).unwrap_or(0));
    let rows = usize::try_from(up.shape().dim(1)).unwrap_or(0);
    let fits = |t: &Tensor| t.shape().dim(2) == down.shape().dim(2) && t.shape().row() == up.shape().row();
    // Gate and up in one matrix lie one after the other, the gate first.
    let fused = gate.is_none() && rows == 2 * width;
    if !fits(up) || (rows != width && !fused) || gate.is_some_and(|g| !fits(g) || g.shape() != up.shape()) {
        return Ok(None);
    }
    let (up_bias, gate_bias) = (named.bias(up)?, gate.map(|g| named.bias(g)).transpose()?.flatten());
    let mut squares = Vec::with_capacity(width * matrices);
    for matrix in 0..matrices {
        let of = |from: usize| matrix * rows + from..matrix * rows + from + width;
        let slice = |bias: &Option<Vec<f32>>, at: std::ops::Range<usize>| {
            bias.as_ref().and_then(|b| b.get(at).map(<[f32]>::to_vec))
        };
        let pair = match (gate, fused) {
            (None, false) => {
                let alone = Sums::of(up, of(0), &stream)?;
                let bias = slice(&up_bias, of(0));
                squares.extend(alone.normals(bias.as_deref()).map(|normal| activation.square(normal)));
                continue;
            }
            (Some(gate), _) => Pair::of((gate, of(0)), (up, of(0)), &stream)?
                .biased(slice(&gate_bias, of(0)), slice(&up_bias, of(0))),
            (None, true) => Pair::of((up, of(0)), (up, of(width)), &stream)?
                .biased(slice(&up_bias, of(0)), slice(&up_bias, of(width))),
        };
        squares.extend(pair.normals().map(|(gate, up, together)| activation.gated(gate, up, together)));
    }
    Ok(Some(squares))
}

/// As importance weights: of each matrix all columns, bounded from below. None if they tell nothing.
fn weights(tensor: &Tensor, squares: &[f64]) -> Option<Arc<[f32]>> {
    let (width, matrices) = (tensor.row_elements().ok()?, usize::try_from(tensor.shape().dim(2)).ok()?);
    let mut bounded: Vec<f32> = Vec::with_capacity(squares.len());
    for of_matrix in squares.chunks(width.max(1)) {
        let mean = of_matrix.iter().sum::<f64>() / of_matrix.len() as f64;
        if !(mean.is_finite() && mean > 0.0) {
            return None;
        }
        bounded.extend(of_matrix.iter().map(|s| s.max(mean * LEAST) as f32));
    }
    let all = match squares.len() {
        n if n == width => bounded.repeat(matrices),
        n if Some(n) == width.checked_mul(matrices) => bounded,
        _ => return None,
    };
    all.iter().all(|w| w.is_finite()).then(|| all.into())
}

#[cfg(test)]
mod tests;
