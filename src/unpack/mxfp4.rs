//! gpt-oss keeps its experts in MXFP4: `X_blocks` has 16 bytes for 32 elements, two neighbours in a byte, `X_scales` one
//! exponent for each. ggml has the same numbers with the exponent first and elements 16 apart in a byte, so blocks are
//! rearranged without loss. The rows of `gate_up_proj` alternate; they become two tensors. DeepSeek V4 keeps the codes of a row
//! together.
//! Specification: `GptOssModel.repack_mxfp4` of llama.cpp's converter; `block_mxfp4` of ggml.

use ggraft_formats::packed::mxfp4;
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Rows, Shape, Tensor};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of codes for one exponent, and elements that they are.
const CODES: usize = 16;
const ELEMENTS: u64 = 32;

/// What the names of unpacked tensors end with.
const SUFFIX: &str = ".mxfp4";

/// `tensors` with each pair of blocks and scales as one tensor of MXFP4, named `X.mxfp4`.
pub fn unpacked(tensors: Vec<Tensor>) -> Result<Vec<Tensor>> {
    let scales: HashMap<String, Tensor> = tensors
        .iter()
        .filter_map(|t| Some((t.name.strip_suffix("_scales")?.to_string(), t.clone())))
        .filter(|(stem, _)| tensors.iter().any(|t| t.name.strip_suffix("_blocks") == Some(stem)))
        .collect();
    let mut all = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let Some(stem) = tensor.name.strip_suffix("_blocks").map(String::from) else {
            if !tensor.name.strip_suffix("_scales").is_some_and(|stem| scales.contains_key(stem)) {
                all.push(tensor);
            }
            continue;
        };
        let Some(scales) = scales.get(&stem) else {
            let error = Error::invalid("the scales of these blocks are missing").tensor(&tensor.name);
            return Err(error.expected(format!("{stem}_scales")).hint("the download is incomplete"));
        };
        match stem.strip_suffix("gate_up_proj") {
            Some(place) => {
                all.push(joined(
                    &format!("{place}gate_proj{SUFFIX}"),
                    &tensor,
                    scales,
                    Every { first: 0, step: 2 },
                )?);
                all.push(joined(
                    &format!("{place}up_proj{SUFFIX}"),
                    &tensor,
                    scales,
                    Every { first: 1, step: 2 },
                )?);
            }
            None => {
                all.push(joined(&format!("{stem}{SUFFIX}"), &tensor, scales, Every { first: 0, step: 1 })?)
            }
        }
    }
    Ok(all)
}

/// Which of the rows of an expert are taken.
#[derive(Clone, Copy)]
struct Every {
    first: usize,
    step: usize,
}

/// Blocks with their scales as one tensor.
fn joined(name: &str, blocks: &Tensor, scales: &Tensor, every: Every) -> Result<Tensor> {
    let wrong = |t: &Tensor, expected: &str| {
        let torch: Vec<u64> = t.shape().ne().iter().rev().copied().collect();
        Error::invalid("these are no blocks of MXFP4")
            .tensor(&t.name)
            .expected(expected)
            .found(format!("{} {torch:?}", t.dtype()))
    };
    let [16, columns, rows, experts] = *blocks.shape().ne() else {
        return Err(wrong(blocks, "U8 [experts, rows, columns / 32, 16]"));
    };
    if blocks.dtype() != DType::U8 || !rows.is_multiple_of(every.step as u64) {
        return Err(wrong(blocks, "U8 [experts, rows, columns / 32, 16]"));
    }
    if scales.dtype() != DType::U8 || *scales.shape().ne() != [columns, rows, experts] {
        return Err(wrong(scales, "U8, one for each of the blocks"));
    }
    let too_large = || wrong(blocks, "a tensor that a file can hold");
    let taken = rows / every.step as u64;
    let shape = Shape::new(&[columns.saturating_mul(ELEMENTS), taken, experts]).ok_or_else(too_large)?;
    let word = |n: u64| usize::try_from(n).map_err(|_| too_large());
    let rows = Joined {
        blocks: blocks.clone(),
        scales: scales.clone(),
        each: word(columns)?,
        split: word(columns)?,
        rows: word(rows)?,
        taken: word(taken)?.max(1),
        every,
    };
    Tensor::new(name, shape, DType::MXFP4, Arc::new(rows))
}

/// A matrix of codes, two in a byte, with the exponents of each 32 of a row, as one tensor.
pub fn of_codes(name: &str, codes: &Tensor, scales: &Tensor) -> Result<Tensor> {
    let wrong = |expected: String, t: &Tensor| {
        let torch: Vec<u64> = t.shape().ne().iter().rev().copied().collect();
        let error = Error::invalid("these are no codes of MXFP4 with their exponents").tensor(&t.name);
        error.expected(expected).found(format!("{} {torch:?}", t.dtype()))
    };
    let (bytes, rows) = match *codes.shape().ne() {
        [bytes, rows] if bytes > 0 && bytes.is_multiple_of(CODES as u64) => (bytes, rows),
        _ => return Err(wrong(format!("rows of whole blocks of {ELEMENTS} codes"), codes)),
    };
    let each = bytes / CODES as u64;
    if !matches!(scales.dtype(), DType::F8E8M0 | DType::U8) || *scales.shape().ne() != [each, rows] {
        return Err(wrong(format!("f8_e8m0 [{rows}, {each}], one for each {ELEMENTS} of a row"), scales));
    }
    let too_large = || wrong(String::from("a tensor that a file can hold"), codes);
    let shape = Shape::new(&[bytes.saturating_mul(2), rows]).ok_or_else(too_large)?;
    let word = |n: u64| usize::try_from(n).map_err(|_| too_large());
    let all = Joined {
        blocks: codes.clone(),
        scales: scales.clone(),
        each: word(each)?,
        split: 1,
        rows: word(rows)?,
        taken: word(rows)?.max(1),
        every: Every { first: 0, step: 1 },
    };
    Tensor::new(name, shape, DType::MXFP4, Arc::new(all))
}

/// Rows of blocks and scales, joined.
struct Joined {
    blocks: Tensor,
    scales: Tensor,
    /// Blocks of a row.
    each: usize,
    /// Rows of `blocks` that a row is of.
    split: usize,
    /// Rows of an expert, and those of them that are taken.
    rows: usize,
    taken: usize,
    every: Every,
}

impl Joined {
    /// The row of the source that is `row`.
    fn place(&self, row: usize) -> usize {
        row / self.taken * self.rows + row % self.taken * self.every.step + self.every.first
    }

    /// The rows of scales and of codes among which these lie.
    fn hull(&self, rows: &Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
        let (first, last) = (self.place(rows.start), self.place(rows.clone().last()?));
        Some((first..last + 1, first * self.split..(last + 1) * self.split))
    }
}

impl Rows for Joined {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let bytes = self.each * (1 + CODES);
        for (row, out) in rows.zip(out.chunks_exact_mut(bytes.max(1))) {
            let place = self.place(row);
            self.scales.with_rows(place..place + 1, |scales| {
                self.blocks.with_rows(place * self.split..(place + 1) * self.split, |codes| {
                    mxfp4(scales, codes, out);
                    Ok(())
                })
            })?;
        }
        Ok(())
    }

    fn prefetch(&self, rows: Range<usize>) {
        if let Some((scales, blocks)) = self.hull(&rows) {
            self.scales.prefetch(scales);
            self.blocks.prefetch(blocks);
        }
    }

    fn release(&self, rows: Range<usize>) {
        // The other half of alternating rows is read apart, and gives its memory back itself.
        if let Some((scales, blocks)) = self.hull(&rows) {
            self.scales.release(scales);
            self.blocks.release(blocks);
        }
    }

    fn identify(&self, into: &mut Identity) {
        into.numbers(
            [self.each, self.rows, self.taken, self.every.first, self.every.step, self.split]
                .map(|n| n as u64),
        );
        self.scales.identify(into);
        self.blocks.identify(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes in memory, as rows of `row`.
    struct Bytes {
        bytes: Vec<u8>,
        row: usize,
    }

    impl Rows for Bytes {
        fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
            out.copy_from_slice(&self.bytes[rows.start * self.row..rows.end * self.row]);
            Ok(())
        }
    }

    fn tensor(name: &str, ne: &[u64], f: impl Fn(usize) -> u8) -> Tensor {
        let shape = Shape::new(ne).unwrap();
        let bytes = (0..shape.elements() as usize).map(f).collect();
        Tensor::new(name, shape, DType::U8, Arc::new(Bytes { bytes, row: ne[0] as usize })).unwrap()
    }

    fn values(t: &Tensor) -> Vec<f32> {
        let mut out = vec![0.0; t.shape().elements() as usize];
        t.decode_rows(0..t.shape().rows() as usize, &mut out).unwrap();
        out
    }

    const E2M1: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

    /// Element `i` as the trainer has it: two neighbours in a byte, under 2^(scale - 127).
    fn element(blocks: &dyn Fn(usize) -> u8, scales: &dyn Fn(usize) -> u8, i: usize) -> f32 {
        let byte = blocks(i / 2);
        let code = if i.is_multiple_of(2) { byte & 15 } else { byte >> 4 };
        let sign = if code & 8 != 0 { -1.0 } else { 1.0 };
        sign * E2M1[usize::from(code & 7)] * 2f32.powi(i32::from(scales(i / 32)) - 127)
    }

    #[test]
    fn every_element_keeps_its_value_and_gates_alternate_with_ups() {
        let (e, rows, k) = (2u64, 4u64, 3u64);
        let (code, scale) = (|i: usize| (i * 37 + 11) as u8, |i: usize| 120 + (i % 9) as u8);
        for (stem, names) in [
            ("x.gate_up_proj", vec!["x.gate_proj.mxfp4", "x.up_proj.mxfp4"]),
            ("x.down_proj", vec!["x.down_proj.mxfp4"]),
        ] {
            let made = unpacked(vec![
                tensor(&format!("{stem}_blocks"), &[16, k, rows, e], code),
                tensor(&format!("{stem}_bias"), &[rows, e], code),
                tensor(&format!("{stem}_scales"), &[k, rows, e], scale),
            ])
            .unwrap();
            let named: Vec<&str> =
                made.iter().map(|t| t.name.as_str()).filter(|n| !n.ends_with("_bias")).collect();
            assert_eq!(named, names);
            let step = names.len();
            for (first, t) in made.iter().filter(|t| t.dtype() == DType::MXFP4).enumerate() {
                let width = (k * 32) as usize;
                let expected: Vec<f32> = (first..(e * rows) as usize)
                    .step_by(step)
                    .flat_map(|row| (0..width).map(move |j| element(&code, &scale, row * width + j)))
                    .collect();
                assert_eq!(values(t), expected, "{}", t.name);
            }
        }
    }

    #[test]
    fn blocks_without_scales_or_of_another_shape_are_refused() {
        let blocks = || tensor("x_blocks", &[16, 3, 4, 2], |_| 0);
        assert!(unpacked(vec![blocks()]).unwrap_err().to_string().contains("scales"));
        assert!(unpacked(vec![blocks(), tensor("x_scales", &[3, 4, 1], |_| 0)]).is_err());
        assert!(unpacked(vec![tensor("y_scales", &[3], |_| 0)]).is_ok_and(|all| all.len() == 1));
    }
}
