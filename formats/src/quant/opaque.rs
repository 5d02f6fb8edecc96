//! Dtypes that are carried but not computed with: integers, and the blocks that ggml makes of activations.
//! Their sizes are known, so that files which hold them can be read, checked and copied.
//! Specification: ggml `type_traits` and the `block_*` structs of `ggml-common.h`.

use super::{DType, Traits};

/// An opaque dtype; integers have blocks of one element.
const fn opaque(dtype: DType, name: &'static str, id: Option<u32>, block: usize, bytes: usize) -> Traits {
    Traits {
        dtype,
        name,
        id,
        block,
        bytes,
        decode: None,
        encode: None,
        plain: true,
        finite: |_| true,
        empty: |_| false,
        most: f32::MAX,
    }
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
