//! How a model would do on a device: whether it fits at a context, which of its dtypes are slow there, and how many bits a
//! weight there is room for.

use super::{Need, Profile};
use ggraft_formats::{DType, Model, Result};
use std::collections::BTreeMap;

/// What is said of one model on one device.
pub struct Advice {
    pub profile: &'static Profile,
    pub need: Need,
    /// Bits a weight that the memory leaves room for; none if the context alone takes it.
    pub bits: Option<f64>,
    /// Dtypes of matrices that are slow there, or do not run, and their share of the weights.
    pub slow: Vec<(DType, f64)>,
    /// The share of the weights in matrices whose rows are no multiple of what the fast kernels want.
    pub odd_rows: f64,
    /// Whether matrices are quantized already, so that the file for a device is made from another one.
    pub is_quantized: bool,
}

impl Advice {
    /// That of `model` as it is, which reads `context` tokens at once.
    ///
    /// # Errors
    /// Its metadata do not tell what it needs.
    pub fn of(model: &Model, profile: &'static Profile, context: u64) -> Result<Advice> {
        let (mut weights, mut elements, mut odd) = (0u64, 0u64, 0u64);
        let mut by_dtype: BTreeMap<String, (DType, u64)> = BTreeMap::new();
        for tensor in &model.tensors {
            let (shape, dtype) = (tensor.shape(), tensor.dtype());
            weights = weights.saturating_add(shape.rows().saturating_mul(tensor.row_bytes() as u64));
            elements = elements.saturating_add(shape.elements());
            if shape.ne().len() < 2 {
                continue;
            }
            by_dtype.entry(dtype.to_string()).or_insert((dtype, 0)).1 += shape.elements();
            if !shape.dim(1).is_multiple_of(profile.rows) {
                odd += shape.elements();
            }
        }
        let is_quantized = by_dtype.values().any(|(dtype, _)| dtype.is_quantized());
        let share = |n: u64| n as f64 / elements.max(1) as f64;
        let slow = by_dtype.into_values().filter(|(dtype, _)| !profile.types.contains(dtype));
        let slow: Vec<(DType, f64)> = slow.map(|(dtype, n)| (dtype, share(n))).collect();
        let room = profile.room(&model.metadata, context).ok();
        Ok(Advice {
            profile,
            need: Need::of(&model.metadata, weights, context)?,
            bits: room.map(|bytes| bytes as f64 * 8.0 / elements.max(1) as f64),
            // A small part of the weights does not decide the speed; what does not run at all does.
            slow: slow.into_iter().filter(|(_, share)| profile.strict || *share > 0.01).collect(),
            odd_rows: share(odd),
            is_quantized,
        })
    }

    /// Whether weights, cache and buffers have room.
    pub fn fits(&self) -> bool {
        self.need.total() <= self.profile.memory
            && self.profile.file.is_none_or(|most| self.need.weights <= most)
    }
}
