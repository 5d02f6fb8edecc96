//! Files of 32-blocks with one scale, ggml's first dtypes.

use super::mixture::{Mixture, PLAIN, When::*};
use super::{Ftype, named};
use ggraft_formats::DType;

const fn legacy(name: &'static str, number: u32, default: DType, mixture: Mixture) -> Ftype {
    named(name, number, default, Some(mixture))
}

pub(super) const Q4_0: Ftype =
    legacy("Q4_0", 2, DType::Q4_0, Mixture { ffn_down: &[(Both(&Imatrix, &Part(8)), DType::Q4_1)], ..PLAIN });
pub(super) const Q4_1: Ftype = legacy("Q4_1", 3, DType::Q4_1, PLAIN);
pub(super) const Q5_0: Ftype =
    legacy("Q5_0", 8, DType::Q5_0, Mixture { ffn_down: &[(Both(&Imatrix, &Part(8)), DType::Q5_1)], ..PLAIN });
pub(super) const Q5_1: Ftype = legacy("Q5_1", 9, DType::Q5_1, PLAIN);
pub(super) const Q8_0: Ftype = legacy("Q8_0", 7, DType::Q8_0, Mixture { output: DType::Q8_0, ..PLAIN });
