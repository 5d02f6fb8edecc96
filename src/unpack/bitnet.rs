//! BitNet as transformers saves it packed: a byte has the codes of four rows that lie a quarter of the matrix apart, the
//! first in the lowest bits; 0, 1 and 2 stand for -1, 0 and 1. `weight_scale` divides, but multiplies where the config says
//! `autobitlinear`. Plain weights of BitNet are another thing: they are quantized when they are loaded.
//! Value: (code - 1) / scale in f32, as `BitLinear` of transformers and convert_hf_to_gguf have it; (code - 1) * scale, as
//! `AutoBitLinear` has it and the converter has not.

use super::grid::{Blocks, Dims, Grid, Line};
use super::numbers::with_bytes;
use super::page::{Page, Parts};
use super::rows::{Packed, unpacked};
use super::settings::Settings;
use ggraft_formats::packed::Slots;
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Tensor};
use std::ops::Range;

pub const PAGE: Page = Page {
    names: &["bitnet"],
    marks: &[(".weight_scale", ".weight")],
    common: &[],
    ignored: &[],
    weights: |parts, settings| Ok(vec![weight(parts, settings)?]),
};

fn weight(parts: &Parts<'_>, settings: &Settings) -> Result<Tensor> {
    let codes = parts.need(&parts.weight)?;
    let held = Dims::of(codes, None)?;
    if codes.dtype() != DType::U8 || held.matrices != 1 {
        return Err(Error::invalid("these are no packed weights of BitNet")
            .tensor(&codes.name)
            .expected("U8 of two dimensions")
            .found(format!("{} {}", codes.dtype(), codes.shape())));
    }
    let dims = Dims { rows: held.rows.saturating_mul(4), ..held };
    let scale = Grid::new(parts.mark, dims, Blocks::whole(dims))?;
    let multiplies = settings.text("linear_class")? == Some("autobitlinear");
    let quarters = Quarters { codes: codes.clone(), held, scale, multiplies };
    unpacked(&parts.weight, &dims.torch(codes), DType::F32, quarters)
}

struct Quarters {
    codes: Tensor,
    held: Dims,
    scale: Grid,
    multiplies: bool,
}

impl Packed for Quarters {
    fn decode(&self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let mut line = Line::default();
        let columns = self.held.columns;
        for (row, out) in rows.zip(out.chunks_exact_mut(columns)) {
            self.scale.line(&(row..row + 1), &mut line)?;
            let scale = line.only();
            let table: [f32; 4] = std::array::from_fn(|code| match self.multiplies {
                true => (code as f32 - 1.0) * scale,
                false => (code as f32 - 1.0) / scale,
            });
            let (place, shift) = (row % self.held.rows, 2 * (row / self.held.rows) as u32);
            with_bytes(&self.codes, place * columns..(place + 1) * columns, |bytes| {
                Slots { item: 1, shift, bits: 2 }.quarters(bytes, table, out);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn parts(&self, rows: Range<usize>, f: &mut dyn FnMut(&Tensor, Range<usize>)) {
        // Rows of two quarters lie all over: they are told of the whole.
        let (first, count) = (rows.start % self.held.rows, rows.len());
        let end = if first + count > self.held.rows { None } else { Some(first + count) };
        f(&self.codes, end.map_or(0..self.held.rows, |end| first..end));
        self.scale.parts(rows, f);
    }

    fn describe(&self, into: &mut Identity) {
        into.add(if self.multiplies { b"autobitlinear" } else { b"bitnet" });
        into.numbers(self.scale.describe());
    }
}
