//! NVFP4 as trainers publish it: floats of 4 bits (E2M1), two neighbours in a byte, under an E4M3 scale for each group of 16 of a
//! row and a number of the whole. GGUF's blocks hold the very same, arranged otherwise. Rows that were decoded of such parts
//! still know them (`Rows::fours`), until something computes with the values.
//! Specification: ggml `block_nvfp4`; `ModelBase._nvfp4_pack` of llama.cpp's converter.

use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::quant::DType;
use crate::shape::Shape;
use crate::tensor::{Fours, Number, Rows, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// Elements under one scale, and the groups of a block of GGUF's.
pub const GROUP: u64 = 16;
const GROUPS: usize = 4;

/// Bytes of the codes of a group, and of a block.
const CODES: usize = GROUP as usize / 2;
const BLOCK: usize = GROUPS * (1 + CODES);

impl Number {
    /// The number that a tensor of one element holds, or 1; one that is of no use is refused when it is read.
    ///
    /// # Errors
    /// Never, for what has a shape and a dtype has them still.
    pub fn new(tensor: Option<&Tensor>, divides: bool) -> Result<Number> {
        let sound =
            |source: &Tensor| sound(source.clone(), *source.shape(), source.dtype(), Due::Number { divides });
        Ok(Number { tensor: tensor.map(sound).transpose()?, divides })
    }

    /// What it multiplies by: read now.
    ///
    /// # Errors
    /// It cannot be read, or is no finite number.
    pub fn value(&self) -> Result<f32> {
        let Some(tensor) = &self.tensor else { return Ok(1.0) };
        let mut value = [0.0];
        tensor.decode_rows(0..1, &mut value)?;
        Ok(if self.divides { 1.0 / value[0] } else { value[0] })
    }
}

impl Fours {
    /// The parts of a matrix: `codes` of so many bytes a row, `scales` of one byte for each 16 of its elements. `None` if they are
    /// laid out otherwise.
    pub fn of(codes: &Tensor, scales: &Tensor) -> Option<Fours> {
        let (&[bytes, rows], &[groups, lines]) = (codes.shape().ne(), scales.shape().ne()) else {
            return None;
        };
        let fits = codes.dtype() == DType::U8 && scales.dtype() == DType::F8E4M3 && rows == lines;
        let even =
            bytes.is_multiple_of((GROUPS * CODES) as u64) && groups.checked_mul(CODES as u64) == Some(bytes);
        if !fits || !even {
            return None;
        }
        let shape = Shape::new(&[groups, rows])?;
        let of = |t: &Tensor, dtype| Tensor::new(&t.name, shape, dtype, t.rows()).ok();
        let (codes, scales) = (of(codes, DType::I64)?, of(scales, DType::U8)?);
        let scales = sound(scales, shape, DType::U8, Due::Scales).ok()?;
        Some(Fours { codes, scales, whole: Vec::new(), inputs: Vec::new(), wide_inputs: false })
    }

    /// `tensor`, which holds what these parts say, as rows that know them.
    ///
    /// # Errors
    /// Never, for what has a shape and a dtype has them still.
    pub fn known_by(self, tensor: Tensor) -> Result<Tensor> {
        let (name, shape, dtype) = (tensor.name.clone(), *tensor.shape(), tensor.dtype());
        Tensor::new(&name, shape, dtype, Arc::new(Known { source: tensor, fours: self }))
    }

    /// The parts as blocks of GGUF's, which hold `like` without what multiplies the whole. `None` if its rows are not of them.
    pub fn blocks(&self, like: &Tensor) -> Option<Tensor> {
        let (shape, groups) = (*like.shape(), self.codes.shape().row());
        let holds = |part: &Tensor| part.shape().row() == groups && part.shape().rows() >= shape.rows();
        let fits =
            holds(&self.codes) && holds(&self.scales) && groups.checked_mul(GROUP) == Some(shape.row());
        let rows = Arc::new(Blocks { codes: self.codes.clone(), scales: self.scales.clone() });
        if fits { Tensor::new(&like.name, shape, DType::NVFP4, rows).ok() } else { None }
    }
}

/// Rows that know their parts.
struct Known {
    source: Tensor,
    fours: Fours,
}

impl Rows for Known {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        self.source.read(rows, out)
    }

    fn borrow(&self, rows: Range<usize>) -> Option<&[u8]> {
        self.source.lent(rows)
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.source.prefetch(rows);
    }

    fn fours(&self) -> Option<Fours> {
        Some(self.fours.clone())
    }

    fn origin(&self) -> Option<Tensor> {
        self.source.origin()
    }

    fn release(&self, rows: Range<usize>) {
        self.source.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        self.source.identify(into);
    }
}

/// What numbers must be.
enum Due {
    /// E4M3 other than NaN.
    Scales,
    /// Finite, and so is its inverse if it divides.
    Number { divides: bool },
}

/// Numbers that are looked at where their file and name are known, before they are moved.
struct Sound {
    source: Tensor,
    due: Due,
}

fn sound(source: Tensor, shape: Shape, dtype: DType, due: Due) -> Result<Tensor> {
    let name = source.name.clone();
    Tensor::new(&name, shape, dtype, Arc::new(Sound { source, due }))
}

impl Sound {
    fn check(&self, first: usize, bytes: &[u8]) -> Result<()> {
        let refused = |what: &str| {
            let damaged = "the checkpoint is damaged: use another one";
            Error::invalid(what).tensor(&self.source.name).hint(damaged)
        };
        match self.due {
            Due::Scales => {
                let Some(place) = bytes.iter().position(|scale| scale & 0x7f == 0x7f) else { return Ok(()) };
                let groups = self.source.row_bytes().max(1);
                Err(refused("a scale is not a number").expected("finite numbers of f8_e4m3").found(format!(
                    "NaN at row {}, column {}",
                    first + place / groups,
                    place % groups
                )))
            }
            Due::Number { divides } => {
                let mut value = [0.0];
                self.source.dtype().decode(bytes, &mut value)?;
                let by = if divides { 1.0 / value[0] } else { value[0] };
                let expected = if divides { "a number other than 0" } else { "a finite number" };
                let what = "the scale of the whole tensor is not finite";
                if by.is_finite() { Ok(()) } else { Err(refused(what).expected(expected).found(value[0])) }
            }
        }
    }
}

impl Rows for Sound {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        self.source.read(rows.clone(), out)?;
        self.check(rows.start, out)
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.source.prefetch(rows);
    }

    fn release(&self, rows: Range<usize>) {
        self.source.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        self.source.identify(into);
    }
}

/// Blocks of GGUF's.
struct Blocks {
    codes: Tensor,
    scales: Tensor,
}

impl Rows for Blocks {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        self.scales.with_rows(rows.clone(), |scales| {
            self.codes.with_rows(rows.clone(), |codes| {
                let groups =
                    scales.as_chunks::<GROUPS>().0.iter().zip(codes.as_chunks::<{ GROUPS * CODES }>().0);
                for (block, (scales, codes)) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(groups) {
                    *block = rearranged(*scales, codes);
                }
                Ok(())
            })
        })
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.codes.prefetch(rows.clone());
        self.scales.prefetch(rows);
    }

    fn release(&self, rows: Range<usize>) {
        self.codes.release(rows.clone());
        self.scales.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        into.add(b"fours");
        self.codes.identify(into);
        self.scales.identify(into);
    }
}

/// A block as ggml has it: four scales without signs, then the codes of each group, elements 8 apart in a byte. The sign of a
/// scale goes to its codes.
fn rearranged(scales: [u8; GROUPS], codes: &[u8; GROUPS * CODES]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    for (i, (scale, codes)) in scales.iter().zip(codes.as_chunks::<CODES>().0).enumerate() {
        block[i] = scale & 0x7f;
        let sign = if scale & 0x80 != 0 { 0x88 } else { 0 };
        let group = block[GROUPS + i * CODES..][..CODES].as_chunks_mut::<2>().0.iter_mut();
        for (pair, (near, far)) in group.zip(codes[..CODES / 2].iter().zip(&codes[CODES / 2..])) {
            *pair = [near & 15 | far << 4, near >> 4 | far & 0xf0].map(|byte| byte ^ sign);
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(name: &str, ne: &[u64], dtype: DType, f: impl Fn(usize) -> u8) -> Tensor {
        let shape = Shape::new(ne).unwrap();
        Tensor::of_bytes(name, shape, dtype, (0..shape.elements() as usize).map(f).collect()).unwrap()
    }

    fn blocks(scale: impl Fn(usize) -> u8) -> Tensor {
        let codes = bytes("codes", &[64, 3], DType::U8, |i| (i * 37 + 11) as u8);
        let scales = bytes("scales", &[8, 3], DType::F8E4M3, scale);
        let like = Tensor::in_memory("w", Shape::new(&[128, 3]).unwrap(), &[0.0; 384]).unwrap();
        Fours::of(&codes, &scales).unwrap().blocks(&like).unwrap()
    }

    #[test]
    fn every_element_keeps_its_value_also_under_a_negative_scale() {
        const E2M1: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
        let scale = |i: usize| (i * 29 % 126) as u8 | if i % 5 == 4 { 0x80 } else { 0 };
        let mut found = [0.0; 384];
        blocks(scale).decode_rows(0..3, &mut found).unwrap();
        for (i, x) in found.iter().enumerate() {
            let byte = (i / 2 * 37 + 11) as u8;
            let code = if i.is_multiple_of(2) { byte & 15 } else { byte >> 4 };
            let mut d = [0.0];
            DType::F8E4M3.decode(&[scale(i / 16)], &mut d).unwrap();
            let sign = if code & 8 != 0 { -1.0 } else { 1.0 };
            assert_eq!(*x, sign * E2M1[usize::from(code & 7)] * d[0], "{i}");
        }
    }

    #[test]
    fn a_scale_that_is_no_number_is_refused_by_name() {
        let said = blocks(|i| if i == 17 { 0xff } else { 0x30 }).decode_rows(0..3, &mut [0.0; 384]);
        let said = said.unwrap_err().to_string();
        assert!(said.contains("scales") && said.contains("NaN at row 2, column 1"), "{said}");
    }

    #[test]
    fn a_number_of_the_whole_that_is_none_is_refused_by_name() {
        let number = |x: f32, divides: bool| {
            let tensor = Tensor::in_memory("all", Shape::new(&[1]).unwrap(), &[x]).unwrap();
            Number::new(Some(&tensor), divides).unwrap().value().map_err(|e| e.to_string())
        };
        assert_eq!(number(4.0, true).unwrap(), 0.25);
        assert_eq!(number(0.0, false).unwrap(), 0.0);
        for (x, divides) in [(f32::NAN, false), (f32::INFINITY, false), (f32::NAN, true), (0.0, true)] {
            let said = number(x, divides).unwrap_err();
            assert!(said.contains("'all'") && said.contains("not finite"), "{said}");
        }
    }

    #[test]
    fn parts_that_are_laid_out_otherwise_are_not_taken() {
        let codes = |ne: &[u64]| bytes("codes", ne, DType::U8, |_| 0);
        let scales = |ne: &[u64]| bytes("scales", ne, DType::F8E4M3, |_| 0);
        assert!(Fours::of(&codes(&[64, 3]), &scales(&[8, 3])).is_some());
        for (c, s) in [([64, 3], [4, 3]), ([64, 3], [8, 2]), ([24, 3], [3, 3])] {
            assert!(Fours::of(&codes(&c), &scales(&s)).is_none(), "{c:?} {s:?}");
        }
    }
}
