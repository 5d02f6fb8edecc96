//! Dtypes that are carried but not computed with: integers, and ggml's block types whose codecs are not written
//! yet. Their sizes are known, so that files which hold them can be read, checked and copied.
//! Specification: ggml `type_traits` and the `block_*` structs of `ggml-common.h`.

use super::{DType, Traits};

/// An opaque dtype; integers have blocks of one element.
const fn opaque(dtype: DType, name: &'static str, id: Option<u32>, block: usize, bytes: usize) -> Traits {
    Traits { dtype, name, id, block, bytes, decode: None, encode: None, finite: |_| true }
}

pub(super) const BOOL: Traits = opaque(DType::Bool, "bool", None, 1, 1);
pub(super) const I8: Traits = opaque(DType::I8, "i8", Some(24), 1, 1);
pub(super) const I16: Traits = opaque(DType::I16, "i16", Some(25), 1, 2);
pub(super) const I32: Traits = opaque(DType::I32, "i32", Some(26), 1, 4);
pub(super) const I64: Traits = opaque(DType::I64, "i64", Some(27), 1, 8);
pub(super) const U8: Traits = opaque(DType::U8, "u8", None, 1, 1);
pub(super) const U16: Traits = opaque(DType::U16, "u16", None, 1, 2);
pub(super) const U32: Traits = opaque(DType::U32, "u32", None, 1, 4);
pub(super) const U64: Traits = opaque(DType::U64, "u64", None, 1, 8);

pub(super) const Q8_1: Traits = opaque(DType::Q8_1, "q8_1", Some(9), 32, 36);
pub(super) const Q8_K: Traits = opaque(DType::Q8K, "q8_K", Some(15), 256, 292);
pub(super) const IQ1_S: Traits = opaque(DType::IQ1S, "iq1_s", Some(19), 256, 50);
pub(super) const IQ1_M: Traits = opaque(DType::IQ1M, "iq1_m", Some(29), 256, 56);
pub(super) const IQ2_XXS: Traits = opaque(DType::IQ2XXS, "iq2_xxs", Some(16), 256, 66);
pub(super) const IQ2_XS: Traits = opaque(DType::IQ2XS, "iq2_xs", Some(17), 256, 74);
pub(super) const IQ2_S: Traits = opaque(DType::IQ2S, "iq2_s", Some(22), 256, 82);
pub(super) const IQ3_XXS: Traits = opaque(DType::IQ3XXS, "iq3_xxs", Some(18), 256, 98);
pub(super) const IQ3_S: Traits = opaque(DType::IQ3S, "iq3_s", Some(21), 256, 110);
pub(super) const IQ4_NL: Traits = opaque(DType::IQ4NL, "iq4_nl", Some(20), 32, 18);
pub(super) const IQ4_XS: Traits = opaque(DType::IQ4XS, "iq4_xs", Some(23), 256, 136);
pub(super) const TQ1_0: Traits = opaque(DType::TQ1_0, "tq1_0", Some(34), 256, 54);
pub(super) const TQ2_0: Traits = opaque(DType::TQ2_0, "tq2_0", Some(35), 256, 66);
pub(super) const MXFP4: Traits = opaque(DType::MXFP4, "mxfp4", Some(39), 32, 17);
pub(super) const NVFP4: Traits = opaque(DType::NVFP4, "nvfp4", Some(40), 64, 36);
pub(super) const Q1_0: Traits = opaque(DType::Q1_0, "q1_0", Some(41), 128, 18);
pub(super) const Q2_0: Traits = opaque(DType::Q2_0, "q2_0", Some(42), 64, 18);
