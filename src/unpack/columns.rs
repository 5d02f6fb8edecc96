//! Weights whose codes lie column by column, as GPTQ and AWQ have them: a row of codes is an input of the layer, a column
//! is a row of the weight. They are gathered in tiles of 32 inputs, so that no more than some rows are ever decoded.

use super::coded::in_range;
use super::grid::torch;
use super::numbers::elements;
use super::rows::Packed;
use ggraft_formats::packed::{Words, turned, weights};
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Tensor};
use std::ops::Range;

/// Inputs of a tile: they fill whole words, whatever the bits.
const TILE: usize = 32;

/// The parts of such a weight.
pub struct Columns {
    pub words: Words,
    pub codes: Tensor,
    /// Zero points, packed along the rows of the weight.
    pub zeros: Tensor,
    /// Whether one is added to each zero point, in the words.
    pub lifted: bool,
    /// The bits that are flipped in codes and zero points alike: the sign of signed ones, so that both grow from 0.
    pub flip: u8,
    pub scales: Tensor,
    /// The group of each input, if they are not in order.
    pub order: Option<Tensor>,
    /// Inputs of a group.
    pub group: usize,
    /// Inputs and outputs of the layer: columns and rows of the weight.
    pub inputs: usize,
    pub outputs: usize,
    pub groups: usize,
}

impl Columns {
    /// Checks that the parts fit each other.
    pub fn checked(self) -> Result<Columns> {
        let bits = self.words.bits() as usize;
        let code_words = match self.words {
            Words::Down(_) => [self.inputs.saturating_mul(bits).div_ceil(32), self.outputs],
            Words::Awq | Words::Along => [self.inputs, self.outputs.div_ceil(8)],
            Words::Bytes => [self.inputs, self.outputs],
        };
        let (zero_words, dtypes) = match self.words {
            Words::Bytes => ([self.groups, self.outputs], [DType::I8, DType::U8]),
            _ => ([self.groups, self.outputs.saturating_mul(bits).div_ceil(32)], [DType::I32, DType::U32]),
        };
        fits(&self.codes, &dtypes, &code_words)?;
        fits(&self.zeros, &dtypes, &zero_words)?;
        fits(&self.scales, &[DType::F16, DType::BF16, DType::F32], &[self.groups, self.outputs])?;
        if let Some(order) = &self.order {
            fits(order, &[DType::I32, DType::I64], &[self.inputs])?;
        } else if self.group == 0 || self.inputs.div_ceil(self.group) > self.groups {
            return Err(Error::invalid("there are too few groups of scales for these codes")
                .tensor(&self.scales.name)
                .expected(format!("{} inputs in groups of {}", self.inputs, self.group))
                .found(format!("{} groups", self.groups)));
        }
        Ok(self)
    }

    /// The group of each input.
    fn group_of(&self) -> Result<Vec<usize>> {
        match &self.order {
            Some(order) => in_range(order, self.inputs, self.groups),
            None => Ok((0..self.inputs).map(|i| i / self.group).collect()),
        }
    }

    /// The codes of `inputs` in `rows` of the weight, an input after the other.
    fn tile(&self, inputs: Range<usize>, rows: &Range<usize>, out: &mut [u8]) -> Result<()> {
        let lines = match self.words {
            Words::Down(bits) => {
                let bits = bits as usize;
                inputs.start * bits / 32..(inputs.end * bits).div_ceil(32)
            }
            _ => inputs.clone(),
        };
        self.codes.with_rows(lines, |bytes| {
            self.words.codes(self.flip, (bytes, self.codes.row_bytes()), inputs.len(), rows, out);
            Ok(())
        })
    }
}

impl Packed for Columns {
    /// Words of many rows lie together.
    const VALUES: usize = 1 << 18;

    fn decode(&self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let (count, inputs) = (rows.len(), self.inputs);
        let group_of = self.group_of()?;
        let (mut scales, mut zeros) = (vec![0f32; self.groups * count], vec![0f32; self.groups * count]);
        let lines = scales.chunks_exact_mut(count).zip(zeros.chunks_exact_mut(count));
        for (group, (scales, zeros)) in lines.enumerate() {
            let first = group * self.outputs;
            elements(&self.scales, self.scales.dtype(), first + rows.start..first + rows.end, scales)?;
            self.zeros.with_rows(group..group + 1, |line| {
                self.words.zeros((self.flip, self.lifted), line, &rows, zeros);
                Ok(())
            })?;
        }
        let (mut codes, mut tile) = (vec![0u8; TILE * count], vec![0f32; TILE * count]);
        for start in (0..inputs).step_by(TILE) {
            let end = inputs.min(start + TILE);
            self.tile(start..end, &rows, &mut codes)?;
            weights(&codes, count, &group_of[start..end], (&scales, &zeros), &mut tile);
            turned(&tile, count, &mut out[start..], inputs, end - start);
        }
        Ok(())
    }

    fn parts(&self, rows: Range<usize>, f: &mut dyn FnMut(&Tensor, Range<usize>)) {
        // Every row needs something of every row of codes: all are told at the ends.
        if rows.start == 0 || rows.end == self.outputs {
            let parts = [&self.codes, &self.zeros, &self.scales].into_iter().chain(&self.order);
            parts.for_each(|part| f(part, 0..usize::try_from(part.shape().rows()).unwrap_or(0)));
        }
    }

    fn describe(&self, into: &mut Identity) {
        into.add(format!("{:?}", self.words).as_bytes());
        let sizes = [self.group, self.inputs, self.outputs, self.groups, usize::from(self.lifted)];
        into.numbers(sizes.map(|n| n as u64));
        into.numbers([u64::from(self.flip)]);
    }
}

/// Refuses a part of another dtype or shape.
pub fn fits(part: &Tensor, dtypes: &[DType], shape: &[usize]) -> Result<()> {
    let due: Vec<u64> = shape.iter().map(|n| *n as u64).collect();
    let found = torch(part);
    if dtypes.contains(&part.dtype()) && found == due {
        return Ok(());
    }
    let names: Vec<String> = dtypes.iter().map(DType::to_string).collect();
    Err(Error::invalid("a part of packed weights does not fit the others")
        .tensor(&part.name)
        .expected(format!("{} {due:?}", names.join(" or ")))
        .found(format!("{} {found:?}", part.dtype()))
        .hint("the download is incomplete, or config.json is of another model"))
}
