//! What a norm gives to the matrices behind it: columns of unit variance, times its gains, with its bias as their mean.

use ggraft_formats::{Model, Result, Tensor};
use std::collections::HashMap;

/// The tensors of a model that have numbers, by their names.
pub(crate) struct Named<'a> {
    tensors: HashMap<&'a str, &'a Tensor>,
    pub(super) architecture: &'a str,
}

impl<'a> Named<'a> {
    pub fn of(model: &'a Model) -> Named<'a> {
        let numbers = model.tensors.iter().filter(|t| t.dtype().traits().decode.is_some());
        let tensors = numbers.map(|t| (t.name.as_str(), t)).collect();
        Named { tensors, architecture: model.architecture().unwrap_or_default() }
    }

    pub fn get(&self, name: &str) -> Option<&'a Tensor> {
        self.tensors.get(name).copied()
    }

    /// The values of a tensor of `count`, if there is such a one.
    pub fn values(&self, name: &str, count: u64) -> Result<Option<Vec<f32>>> {
        let Some(tensor) = self.get(name).filter(|t| t.shape().elements() == count) else { return Ok(None) };
        let mut values = vec![0f32; tensor.shape().elements() as usize];
        tensor.decode_rows(0..tensor.shape().rows() as usize, &mut values)?;
        Ok(Some(values))
    }

    /// The bias of a matrix: one for each of its rows.
    pub(super) fn bias(&self, tensor: &Tensor) -> Result<Option<Vec<f32>>> {
        match tensor.name.strip_suffix(".weight") {
            Some(stem) => self.values(&format!("{stem}.bias"), tensor.shape().rows()),
            None => Ok(None),
        }
    }
}

/// The columns that a matrix is multiplied by.
pub(super) struct Stream {
    /// Variances.
    pub squares: Vec<f64>,
    /// Means, if they are not 0.
    pub means: Option<Vec<f64>>,
}

impl Stream {
    /// What the norm of this name gives to `columns`, if there is one.
    pub fn behind(named: &Named<'_>, norm: &str, columns: u64) -> Result<Option<Stream>> {
        let Some(gains) = named.values(&format!("{norm}.weight"), columns)? else { return Ok(None) };
        let means = named.values(&format!("{norm}.bias"), columns)?;
        let wide = |v: Vec<f32>| v.into_iter().map(f64::from).collect::<Vec<f64>>();
        let squares = wide(gains).into_iter().map(|g| g * g).collect();
        Ok(Some(Stream { squares, means: means.map(wide) }))
    }

    /// The mean squares of the columns.
    pub fn squares(&self) -> Vec<f64> {
        match &self.means {
            None => self.squares.clone(),
            Some(means) => self.squares.iter().zip(means).map(|(s, m)| s + m * m).collect(),
        }
    }
}
