//! Files of plain floats: every tensor that may be converted gets the one dtype.

use super::Ftype;
use ggraft_formats::DType;

const fn float(name: &'static str, number: u32, default: DType) -> Ftype {
    Ftype { name, number, aliases: &[], default, needs_imatrix: false, mixture: None }
}

pub(super) const F32: Ftype = float("F32", 0, DType::F32);
pub(super) const F16: Ftype = float("F16", 1, DType::F16);
pub(super) const BF16: Ftype = float("BF16", 32, DType::BF16);
