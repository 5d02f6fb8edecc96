//! The dtypes: how a row of weights lies in bytes. `DType` names them, `TABLE` is the one list, and each
//! family has a file that decodes and encodes its blocks.
//!
//! To add a dtype: write its codec file with one `Traits` constant, then add a variant and its line in `TABLE`.
//! Specification: llama.cpp v0.5.0, `ggml/src/ggml-quants.c` and `ggml-common.h`, compiled without FMA.

mod bits;
mod block;
mod codebook;
mod decoded;
mod exact;
mod fine;
mod float;
mod fp4;
mod grids;
mod iq1;
mod iq2;
mod iq3;
mod iq4;
mod lattice;
mod opaque;
mod planes;
mod q2_k;
mod q3_k;
mod q4;
mod q4_k;
mod q5;
mod q5_k;
mod q6_k;
mod q8;
mod scales;
mod search;
mod split;
mod ternary;
mod vanishing;

use crate::error::{Error, Result};
pub use exact::EXACT;
pub use fine::Search;
use std::fmt;
pub use vanishing::Vanished;

/// How the elements of a tensor are stored. Spelled as ggml prints it: `q4_K`, `f16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DType {
    F32,
    F16,
    BF16,
    F64,
    F8E4M3,
    F8E5M2,
    F8E8M0,
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Q8K,
    IQ1S,
    IQ1M,
    IQ2XXS,
    IQ2XS,
    IQ2S,
    IQ3XXS,
    IQ3S,
    IQ4NL,
    IQ4XS,
    TQ1_0,
    TQ2_0,
    MXFP4,
    NVFP4,
    Q1_0,
    Q2_0,
}

/// Decodes whole blocks: `src` holds `dst.len() / block` blocks. `DType::decode` sees to that.
pub type Decode = fn(src: &[u8], dst: &mut [f32]);

/// Encodes whole rows of `row` elements each: `src.len()` is a multiple of `row`, `row` of the block, and the
/// weights, if given, are `row` importance weights, one a column (ggml's `quant_weights`). `DType::encode_by` sees to
/// that.
pub type Encode = fn(src: &[f32], row: usize, by: By<'_>, dst: &mut [u8]);

/// By what a row is encoded beside its elements.
#[derive(Clone, Copy, Debug, Default)]
pub struct By<'a> {
    /// Importance weights, one a column.
    pub weights: Option<&'a [f32]>,
    pub levels: Levels,
    /// Whether to go on from what ggml's encoders find.
    pub search: Search,
}

/// How the searches with importance weights round the levels of their candidates. Both give the same codes but where a
/// candidate's scale is so small that its levels are infinite or beyond 2^22, which needs nearly all weights to be 0.
/// Specification: ggml `make_qkx3_quants`, before and since llama.cpp v0.6.0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Levels {
    /// Rounded, then bounded: far levels become what their low bits happen to be.
    #[default]
    Rounded,
    /// Bounded, then rounded.
    Bounded,
}

/// Tells whether every float in the blocks, scales included, is finite.
pub type Finite = fn(src: &[u8]) -> bool;

/// Tells whether some block holds nothing but zeros; of plain floats, whether all of them are zeros.
pub type Empty = fn(src: &[u8]) -> bool;

/// What the house knows of one dtype.
pub struct Traits {
    pub dtype: DType,
    /// As ggml prints it.
    pub name: &'static str,
    /// ggml's type number in a GGUF file; none for dtypes that only safetensors has.
    pub id: Option<u32>,
    /// Elements in a block.
    pub block: usize,
    /// Bytes in a block.
    pub bytes: usize,
    pub decode: Option<Decode>,
    pub encode: Option<Encode>,
    /// Whether it is encoded without importance weights too, as ggml understands it (`ggml_quantize_requires_imatrix`).
    pub plain: bool,
    pub finite: Finite,
    pub empty: Empty,
    /// The largest magnitude of an element.
    pub most: f32,
}

/// Every dtype, in the order of the enum.
static TABLE: [Traits; 43] = [
    float::F32,
    float::F16,
    float::BF16,
    float::F64,
    float::F8_E4M3,
    float::F8_E5M2,
    float::F8_E8M0,
    opaque::BOOL,
    opaque::I8,
    opaque::I16,
    opaque::I32,
    opaque::I64,
    opaque::U8,
    opaque::U16,
    opaque::U32,
    opaque::U64,
    q4::Q4_0,
    q4::Q4_1,
    q5::Q5_0,
    q5::Q5_1,
    q8::Q8_0,
    opaque::Q8_1,
    q2_k::Q2_K,
    q3_k::Q3_K,
    q4_k::Q4_K,
    q5_k::Q5_K,
    q6_k::Q6_K,
    opaque::Q8_K,
    iq1::IQ1_S,
    iq1::IQ1_M,
    iq2::IQ2_XXS,
    iq2::IQ2_XS,
    iq2::IQ2_S,
    iq3::IQ3_XXS,
    iq3::IQ3_S,
    iq4::IQ4_NL,
    iq4::IQ4_XS,
    ternary::TQ1_0,
    ternary::TQ2_0,
    fp4::MXFP4,
    fp4::NVFP4,
    bits::Q1_0,
    bits::Q2_0,
];

impl DType {
    /// Its entry in the table.
    pub fn traits(self) -> &'static Traits {
        &TABLE[self as usize]
    }

    /// Every dtype, in table order.
    pub fn all() -> impl Iterator<Item = DType> {
        TABLE.iter().map(|t| t.dtype)
    }

    /// The dtype with this ggml type number.
    pub fn from_id(id: u32) -> Option<DType> {
        TABLE.iter().find(|t| t.id == Some(id)).map(|t| t.dtype)
    }

    /// The dtype that ggml prints so, in any case.
    pub fn from_name(name: &str) -> Option<DType> {
        TABLE.iter().find(|t| t.name.eq_ignore_ascii_case(name)).map(|t| t.dtype)
    }

    /// Elements in a block (1 for plain floats and integers).
    pub fn block(self) -> usize {
        self.traits().block
    }

    /// Bytes of a row of `elements`; `None` if they do not fill whole blocks or the product overflows.
    pub fn row_bytes(self, elements: u64) -> Option<u64> {
        let t = self.traits();
        if !elements.is_multiple_of(t.block as u64) {
            return None;
        }
        (elements / t.block as u64).checked_mul(t.bytes as u64)
    }

    /// Decodes whole blocks: `src` holds those of `dst`.
    ///
    /// # Errors
    /// There is no decoder, or the lengths do not belong together.
    pub fn decode(self, src: &[u8], dst: &mut [f32]) -> Result<()> {
        let decode = self.traits().decode.ok_or_else(|| self.lacks("decoder"))?;
        self.fill(dst.len(), src.len())?;
        decode(src, dst);
        Ok(())
    }

    /// Encodes whole rows of `row` elements; `weights`, if given, are importance weights, one a column.
    ///
    /// # Errors
    /// There is no encoder, it needs importance weights and there are none, or the lengths do not belong together.
    pub fn encode(self, src: &[f32], row: usize, weights: Option<&[f32]>, dst: &mut [u8]) -> Result<()> {
        self.encode_by(src, row, By { weights, ..By::default() }, dst)
    }

    /// The same with a say in how levels are rounded.
    ///
    /// # Errors
    /// Those of `encode`.
    pub fn encode_by(self, src: &[f32], row: usize, by: By<'_>, dst: &mut [u8]) -> Result<()> {
        let weights = by.weights;
        let encode = self.traits().encode.ok_or_else(|| self.lacks("encoder"))?;
        self.fill(src.len(), dst.len())?;
        if weights.is_none() {
            self.needs_no_weights()?;
        }
        let whole = src.is_empty() || (row > 0 && src.len().is_multiple_of(row));
        if !whole || !row.is_multiple_of(self.block()) || weights.is_some_and(|w| w.len() != row) {
            return Err(Error::invalid(format!("the values are no whole rows of {self}"))
                .expected(format!("rows of {row} values and as many importance weights"))
                .found(format!("{} values, {:?} weights", src.len(), weights.map(<[f32]>::len))));
        }
        encode(src, row, by, dst);
        self.refine(src, row, by, dst);
        Ok(())
    }

    /// Refuses a dtype that is encoded with importance weights only.
    pub(crate) fn needs_no_weights(self) -> Result<()> {
        if self.traits().plain {
            return Ok(());
        }
        Err(Error::invalid(format!("{self} requires an importance matrix"))
            .expected("importance weights, one a column")
            .found("none")
            .hint("give --imatrix FILE, or choose a larger type"))
    }

    fn lacks(self, what: &str) -> Error {
        Error::unsupported(format!("there is no {what} for {self}"))
    }

    /// Refuses numbers of values and bytes that do not belong together: what follows believes them.
    fn fill(self, values: usize, bytes: usize) -> Result<()> {
        let due = self.row_bytes(values as u64);
        if due == Some(bytes as u64) {
            return Ok(());
        }
        Err(Error::invalid(format!("the bytes do not hold the values in whole blocks of {self}"))
            .expected(due.map_or(format!("a multiple of {} values", self.block()), |n| format!("{n} bytes")))
            .found(format!("{values} values in {bytes} bytes")))
    }

    /// Whether a block holds several elements under common scales.
    pub fn is_quantized(self) -> bool {
        self.traits().block > 1
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.traits().name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (i, t) in TABLE.iter().enumerate() {
            assert_eq!(t.dtype as usize, i, "{}", t.name);
        }
    }

    #[test]
    fn names_and_ids_are_unique() {
        for t in &TABLE {
            assert_eq!(DType::from_name(t.name), Some(t.dtype));
            if let Some(id) = t.id {
                assert_eq!(DType::from_id(id), Some(t.dtype));
            }
        }
    }
}
