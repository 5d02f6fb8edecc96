//! A table of which the runtime looks rows up behind layers of a trainer: each row goes through the layers, lazily, and the
//! result is a table. Sums are in f64 and in index order, rounded once; what follows is in f32, or rounded to f16 after each
//! step where all of it is f16. The weights of the layers are in memory once rows are asked for.
//! Specification: `Qwen3TTSTalkerModel`, `PocketTTSModel._embd_table` of llama.cpp's converter.

use crate::arch::stored::store;
use ggraft_formats::vectors::{LANES, products};
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Rows, Tensor};
use half::f16;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// What stands between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    None,
    Silu,
    Gelu,
    Relu,
}

impl Activation {
    /// That of this name in a config.
    pub fn named(name: &str) -> Option<Activation> {
        match name {
            "silu" => Some(Activation::Silu),
            "gelu" => Some(Activation::Gelu),
            "relu" => Some(Activation::Relu),
            _ => None,
        }
    }

    /// Rounded once.
    fn of(self, x: f32) -> f32 {
        let wide = f64::from(x);
        match self {
            Activation::None => x,
            Activation::Silu => (wide / (1.0 + libm::exp(-wide))) as f32,
            Activation::Gelu => {
                (0.5 * wide * (1.0 + libm::erf(wide * std::f64::consts::FRAC_1_SQRT_2))) as f32
            }
            Activation::Relu => x.max(0.0),
        }
    }
}

/// A layer: its weight, of so many rows as it has outputs, its bias, and what comes behind it.
pub struct Layer {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub then: Activation,
}

/// The table `name`: the rows of `table` behind these layers.
///
/// # Errors
/// A layer does not fit what comes before it, by the tensor.
pub fn folded(name: &str, table: Tensor, layers: Vec<Layer>) -> Result<Tensor> {
    let mut width = table.shape().row();
    for Layer { weight, bias, .. } in &layers {
        let rows = weight.shape().rows();
        if weight.shape().ne().len() != 2 || weight.shape().row() != width {
            return Err(unfit(weight, format!("two dimensions, the last of {width}")));
        }
        if let Some(bias) = bias.as_ref().filter(|bias| bias.shape().ne() != [rows]) {
            return Err(unfit(bias, format!("[{rows}]")));
        }
        width = rows;
    }
    let tensors = || layers.iter().flat_map(|layer| layer.bias.iter().chain([&layer.weight]));
    let half = tensors().chain([&table]).all(|tensor| tensor.dtype() == DType::F16);
    let shape = crate::arch::moved::shape(name, &[table.shape().rows(), width])?;
    let dtype = if half { DType::F16 } else { DType::F32 };
    let read = layers.iter().map(|_| OnceLock::new()).collect();
    Tensor::new(name, shape, dtype, Arc::new(Folded { table, layers, read, half }))
}

fn unfit(tensor: &Tensor, expected: String) -> Error {
    let error = Error::invalid("the tensor has the wrong shape").tensor(&tensor.name);
    error.expected(expected).found(tensor.shape())
}

/// The numbers of a layer.
struct Numbers {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// Rows that go through layers.
struct Folded {
    table: Tensor,
    layers: Vec<Layer>,
    /// The numbers of each layer, once they are read.
    read: Vec<OnceLock<Numbers>>,
    /// Whether the result is f16.
    half: bool,
}

impl Folded {
    fn numbers(&self, at: usize) -> Result<&Numbers> {
        if let Some(read) = self.read[at].get() {
            return Ok(read);
        }
        let Layer { weight, bias, .. } = &self.layers[at];
        let bias = bias.as_ref().map_or(Ok(Vec::new()), decoded)?;
        let numbers = Numbers { weight: decoded(weight)?, bias };
        Ok(self.read[at].get_or_init(|| numbers))
    }

    fn round(&self, x: f32) -> f32 {
        if self.half { f16::from_f32(x).to_f32() } else { x }
    }

    /// What the layer makes of rows of `width` numbers.
    fn through(&self, at: usize, rows: &[f32], width: usize) -> Result<Vec<f32>> {
        let (numbers, then) = (self.numbers(at)?, self.layers[at].then);
        let outputs = self.layers[at].weight.shape().rows() as usize;
        let mut out = vec![0f32; rows.len() / width * outputs];
        for (rows, out) in rows.chunks(LANES * width).zip(out.chunks_mut(LANES * outputs)) {
            let mut lanes = vec![[0f64; LANES]; width];
            for (lane, row) in rows.chunks_exact(width).enumerate() {
                lanes.iter_mut().zip(row).for_each(|(lanes, x)| lanes[lane] = f64::from(*x));
            }
            for (output, weights) in numbers.weight.chunks_exact(width).enumerate() {
                let sums = products(&lanes, weights);
                let bias = numbers.bias.get(output).map_or(0.0, |bias| f64::from(*bias));
                for (row, sum) in out.chunks_exact_mut(outputs).zip(sums) {
                    row[output] = self.round(then.of(self.round((sum + bias) as f32)));
                }
            }
        }
        Ok(out)
    }
}

fn decoded(tensor: &Tensor) -> Result<Vec<f32>> {
    let rows = tensor.shape().rows() as usize;
    let mut values = vec![0f32; rows.saturating_mul(tensor.row_elements()?)];
    tensor.decode_rows(0..rows, &mut values)?;
    Ok(values)
}

impl Rows for Folded {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let mut width = self.table.row_elements()?;
        let mut values = vec![0f32; rows.len() * width];
        self.table.decode_rows(rows, &mut values)?;
        for (at, layer) in self.layers.iter().enumerate() {
            values = self.through(at, &values, width)?;
            width = layer.weight.shape().rows() as usize;
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
        into.add(b"folded");
        self.table.identify(into);
        for Layer { weight, bias, then } in &self.layers {
            into.add(format!("{then:?}").as_bytes());
            weight.identify(into);
            bias.iter().for_each(|bias| bias.identify(into));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Shape;

    fn of(name: &str, ne: &[u64], values: &[f32]) -> Tensor {
        Tensor::in_memory(name, Shape::new(ne).unwrap(), values).unwrap()
    }

    #[test]
    fn every_row_goes_through_the_layers() {
        let rows: Vec<f32> = (0..22).map(|n| n as f32 - 11.0).collect();
        let first = Layer {
            weight: of("a", &[2, 3], &[1.0, 2.0, 0.5, -1.0, -1.0, 0.0]),
            bias: Some(of("b", &[3], &[0.0, 1.0, -2.0])),
            then: Activation::Relu,
        };
        let second =
            Layer { weight: of("c", &[3, 1], &[1.0, -2.0, 4.0]), bias: None, then: Activation::None };
        let table = folded("t", of("x", &[2, 11], &rows), vec![first, second]).unwrap();
        assert_eq!(table.shape().ne(), [1, 11]);
        let mut found = vec![0.0; 11];
        table.decode_rows(0..11, &mut found).unwrap();
        let expected = rows.chunks(2).map(|row| {
            let (x, y) = (row[0], row[1]);
            (x + 2.0 * y).max(0.0) - 2.0 * (0.5 * x - y + 1.0).max(0.0) + 4.0 * (-x - 2.0).max(0.0)
        });
        assert_eq!(found, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_layer_that_does_not_fit_is_refused_by_name() {
        let layer = |weight, bias| Layer { weight, bias, then: Activation::Silu };
        let of_layer = |layer| folded("t", of("x", &[2, 1], &[0.0; 2]), vec![layer]).unwrap_err().to_string();
        let error = of_layer(layer(of("fc.weight", &[3, 1], &[0.0; 3]), None));
        assert!(error.contains("fc.weight") && error.contains("the last of 2"), "{error}");
        let bias = of("fc.bias", &[2], &[0.0; 2]);
        let error = of_layer(layer(of("fc.weight", &[2, 1], &[0.0; 2]), Some(bias)));
        assert!(error.contains("fc.bias") && error.contains("[1]"), "{error}");
    }

    #[test]
    fn activations_are_those_of_their_names() {
        for (name, x, y) in [("silu", 1.0, 0.731_058_6), ("gelu", 1.0, 0.841_344_8), ("relu", -1.0, 0.0)] {
            assert_eq!(Activation::named(name).unwrap().of(x), y, "{name}");
        }
        assert_eq!(Activation::named("tanh"), None);
    }
}
