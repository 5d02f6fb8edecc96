//! One tensor of an output: from the model into its final dtype, measured on the way if that is asked for.

use crate::ftype::Scale;
use crate::measure::meter::{Meter, metered};
use crate::merge::{Fate, Verdict};
use crate::output::plan::{Fates, Step, is_half};
use ggraft_formats::quant::{Levels, Search, Vanished};
use ggraft_formats::{DType, Encoding, Result, Tensor};
use std::sync::Arc;

/// What becomes of one tensor.
pub(crate) type Fated = (Verdict, Vec<f64>);

pub(crate) fn fate(fates: &Option<Fates<'_>>, i: usize) -> Option<Fated> {
    let (verdicts, weights) = fates.as_ref()?;
    Some((*verdicts.get(i)?, weights.get(i)?.clone()))
}

/// A tensor in its final dtype.
pub(crate) struct Stored {
    tensor: Tensor,
    from: DType,
    fate: Option<Fated>,
    meter: Option<Arc<Meter>>,
    vanished: Arc<Vanished>,
}

/// How a tensor is stored.
pub(crate) struct How {
    pub dtype: DType,
    /// How much each weight matters.
    pub importance: Option<Arc<[f32]>>,
    pub levels: Levels,
    pub search: Search,
    /// Whether to measure what that changes.
    pub measure: bool,
    /// The scale that it is stored under.
    pub scale: Option<Scale>,
}

impl How {
    /// A dtype in which nothing is weighed.
    pub fn plain(dtype: DType, measure: bool) -> How {
        How {
            dtype,
            importance: None,
            levels: Levels::default(),
            search: Search::Exact,
            measure,
            scale: None,
        }
    }
}

impl Stored {
    /// `onto` is the tensor before the merge. Where merged weights are rounded to 16 bits it is always measured what that
    /// loses.
    pub fn new(tensor: Tensor, onto: Option<&Tensor>, fate: Option<Fated>, how: How) -> Result<Stored> {
        let from = onto.map_or(tensor.dtype(), Tensor::dtype);
        let merged = fate.as_ref().is_some_and(|(v, _)| v.fate == Fate::Merged);
        let changes = tensor.dtype() != how.dtype;
        let before = onto.filter(|onto| merged && onto.shape() == tensor.shape()).cloned();
        let rounds = is_half(how.dtype) && changes && before.is_some();
        let measure = how.measure && (changes || before.is_some()) && how.dtype.traits().decode.is_some();
        let vanished = Arc::new(Vanished::default());
        let factor = how.scale.map(|_| Scale::FACTOR);
        let scaled = |tensor: Tensor| match factor {
            Some(factor) => tensor.times([factor].into(), how.dtype.traits().most),
            None => Ok(tensor),
        };
        let (tensor, before) = (scaled(tensor)?, before.map(scaled).transpose()?);
        let counter = Some(Arc::clone(&vanished));
        let how = Encoding {
            dtype: how.dtype,
            weights: how.importance,
            levels: how.levels,
            search: how.search,
            vanished: counter,
        };
        let (tensor, meter) = match rounds || measure {
            true => metered(tensor, before, how).map(|(tensor, meter)| (tensor, Some(meter)))?,
            false => (tensor.encode_by(how)?, None),
        };
        Ok(Stored { tensor, from, fate, meter, vanished })
    }

    /// The tensor and its line in the plan.
    pub fn step(self, name: Option<&str>, fallback: Option<DType>) -> (Tensor, Step) {
        let (verdict, weights) = self.fate.unzip();
        let step = Step {
            name: name.unwrap_or(&self.tensor.name).to_string(),
            shape: *self.tensor.shape(),
            from: self.from,
            to: self.tensor.dtype(),
            bytes: self.tensor.bytes(),
            verdict,
            weights: weights.unwrap_or_default(),
            fallback,
            meter: self.meter,
            vanished: self.vanished,
        };
        (self.tensor, step)
    }
}
