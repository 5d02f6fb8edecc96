//! Files of one or two bits a weight, for models that were trained to be so.

use super::mixture::{Mixture, PLAIN};
use super::{Ftype, named};
use ggraft_formats::DType;

const fn ternary(name: &'static str, number: u32, default: DType, embedding: Option<DType>) -> Ftype {
    named(name, number, default, Some(Mixture { embedding, ..PLAIN }))
}

pub(super) const TQ1_0: Ftype = ternary("TQ1_0", 36, DType::TQ1_0, Some(DType::Q4K));
pub(super) const TQ2_0: Ftype = ternary("TQ2_0", 37, DType::TQ2_0, Some(DType::Q4K));
pub(super) const Q1_0: Ftype = ternary("Q1_0", 40, DType::Q1_0, None);
pub(super) const Q2_0: Ftype = ternary("Q2_0", 41, DType::Q2_0, Some(DType::Q4K));
