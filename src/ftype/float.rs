//! Files of plain floats: every tensor that may be converted gets the one dtype.

use super::{Ftype, named};
use ggraft_formats::DType;

const fn float(name: &'static str, number: u32, default: DType) -> Ftype {
    named(name, number, default, None)
}

pub(super) const F32: Ftype = float("F32", 0, DType::F32);
pub(super) const F16: Ftype = float("F16", 1, DType::F16);
pub(super) const BF16: Ftype = float("BF16", 32, DType::BF16);
