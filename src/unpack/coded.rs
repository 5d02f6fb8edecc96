//! Weights whose codes lie row by row: each has a value, from which a zero point is taken, which is scaled, and to which a
//! bias is added. Whatever the method, `(value - zero) * scale + bias`.

use super::grid::{Dims, Grid, Line};
use super::numbers::{Packing, Table, indices, with_bytes};
use super::rows::Packed;
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Tensor};
use std::ops::Range;

/// A weight in codes.
pub struct Coded {
    pub codes: Tensor,
    pub packing: Packing,
    /// Bytes from one row of codes to the next.
    pub stride: usize,
    pub table: Box<Table>,
    pub dims: Dims,
    pub scale: Grid,
    /// A number by which every scale is multiplied, or divided, first.
    pub all: All,
    pub zero: Option<Grid>,
    pub bias: Bias,
    /// Which group a column is of, if they are not in order.
    pub groups: Option<Tensor>,
}

impl Coded {
    /// Codes under scales, and nothing else.
    pub fn plain(
        codes: &Tensor,
        packing: Packing,
        stride: usize,
        table: Table,
        dims: Dims,
        scale: Grid,
    ) -> Coded {
        Coded {
            codes: codes.clone(),
            packing,
            stride,
            table: Box::new(table),
            dims,
            scale,
            all: All::Nothing,
            zero: None,
            bias: Bias::Nothing,
            groups: None,
        }
    }
}

/// What a scale is multiplied with, or divided by, before it scales.
pub enum All {
    Nothing,
    Times(Grid),
    Over(Grid),
    /// A product is multiplied with this afterwards.
    Then(f32),
}

/// What is added to a product.
pub enum Bias {
    Nothing,
    /// The product is rounded to a dtype first, as computing in it does.
    Of(Grid, DType),
    Always(f32),
}

/// The lines of the numbers of a row.
#[derive(Default)]
struct Lines {
    scale: Line,
    zero: Line,
    bias: Line,
    all: Line,
}

impl Packed for Coded {
    fn decode(&self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let mut codes = vec![0; self.dims.columns];
        let mut lines = Lines::default();
        let groups = match &self.groups {
            Some(groups) => Some(self.columns(groups)?),
            None => None,
        };
        let place = rows.start * self.stride..rows.end * self.stride;
        with_bytes(&self.codes, place, |bytes| {
            let all = out.chunks_exact_mut(self.dims.columns.max(1)).zip(bytes.chunks_exact(self.stride));
            for (row, (out, bytes)) in rows.zip(all) {
                self.lines(row, &mut lines)?;
                self.packing.unpack(bytes, &mut codes);
                match &groups {
                    None => self.row(&codes, &lines, out),
                    Some(groups) => self.scattered(&codes, groups, &lines, out),
                }
            }
            Ok(())
        })
    }

    fn parts(&self, rows: Range<usize>, f: &mut dyn FnMut(&Tensor, Range<usize>)) {
        let row = self.codes.row_bytes().max(1);
        f(&self.codes, rows.start * self.stride / row..(rows.end * self.stride).div_ceil(row));
        for grid in self.grids() {
            grid.parts(rows.clone(), f);
        }
        if let Some(groups) = &self.groups {
            f(groups, 0..1);
        }
    }

    fn describe(&self, into: &mut Identity) {
        into.add(b"coded");
        into.add(format!("{:?} {:?}", self.packing, self.dims).as_bytes());
        into.numbers(self.table.iter().map(|x| u64::from(x.to_bits())));
        for grid in self.grids() {
            into.numbers(grid.describe());
        }
        let (all, bias) = match (&self.all, &self.bias) {
            (All::Then(all), Bias::Always(bias)) => (*all, *bias),
            (All::Then(all), _) => (*all, 0.0),
            (_, Bias::Always(bias)) => (0.0, *bias),
            _ => (0.0, 0.0),
        };
        into.numbers([u64::from(all.to_bits()), u64::from(bias.to_bits())]);
    }
}

impl Coded {
    fn grids(&self) -> impl Iterator<Item = &Grid> {
        let all = match &self.all {
            All::Times(grid) | All::Over(grid) => Some(grid),
            _ => None,
        };
        let bias = match &self.bias {
            Bias::Of(grid, _) => Some(grid),
            _ => None,
        };
        [Some(&self.scale), all, self.zero.as_ref(), bias].into_iter().flatten()
    }

    /// The numbers that hold in `row`.
    fn lines(&self, row: usize, lines: &mut Lines) -> Result<()> {
        self.scale.line(row, &mut lines.scale)?;
        if let Some(zero) = &self.zero {
            zero.line(row, &mut lines.zero)?;
        }
        if let Bias::Of(bias, _) = &self.bias {
            bias.line(row, &mut lines.bias)?;
        }
        if let All::Times(all) | All::Over(all) = &self.all {
            all.line(row, &mut lines.all)?;
        }
        Ok(())
    }

    /// What scales the values from a column on.
    fn scale(&self, scale: f32, lines: &Lines, column: usize) -> f32 {
        match &self.all {
            All::Times(_) => scale * lines.all.at(column, column + 1).1,
            All::Over(_) => scale / lines.all.at(column, column + 1).1,
            All::Nothing | All::Then(_) => scale,
        }
    }

    /// The values of a row, run by run.
    fn row(&self, codes: &[u8], lines: &Lines, out: &mut [f32]) {
        let (mut start, columns) = (0, codes.len());
        while start < columns {
            let (mut end, scale) = lines.scale.at(start, columns);
            let zero = self.zero.as_ref().map(|_| lines.zero.at(start, end));
            let bias = match self.bias {
                Bias::Of(_, rounded) => Some((lines.bias.at(start, end), rounded)),
                _ => None,
            };
            end = zero.map_or(end, |(until, _)| until).min(bias.map_or(end, |((until, _), _)| until));
            let scale = self.scale(scale, lines, start);
            let run = out[start..end].iter_mut().zip(&codes[start..end]);
            match zero {
                None => run.for_each(|(x, code)| *x = self.table[usize::from(*code)] * scale),
                Some((_, zero)) => {
                    run.for_each(|(x, code)| *x = (self.table[usize::from(*code)] - zero) * scale);
                }
            }
            self.finish(bias.map(|((_, bias), rounded)| (bias, rounded)), &mut out[start..end]);
            start = end;
        }
    }

    /// What is done to products whose bias is one.
    fn finish(&self, bias: Option<(f32, DType)>, products: &mut [f32]) {
        if let All::Then(then) = self.all {
            products.iter_mut().for_each(|x| *x *= then);
        }
        match (&self.bias, bias) {
            (Bias::Always(bias), _) => products.iter_mut().for_each(|x| *x += bias),
            (_, Some((bias, DType::BF16))) => {
                products.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32() + bias);
            }
            (_, Some((bias, DType::F16))) => {
                products.iter_mut().for_each(|x| *x = half::f16::from_f32(*x).to_f32() + bias);
            }
            (_, Some((bias, _))) => products.iter_mut().for_each(|x| *x += bias),
            (_, None) => {}
        }
    }

    /// The values of a row whose columns are of groups in any order.
    fn scattered(&self, codes: &[u8], groups: &[usize], lines: &Lines, out: &mut [f32]) {
        let number = |line: &Line, group: usize| line.numbers.get(group).copied().unwrap_or(f32::NAN);
        for ((x, code), group) in out.iter_mut().zip(codes).zip(groups) {
            let zero = self.zero.as_ref().map_or(0.0, |_| number(&lines.zero, *group));
            *x = (self.table[usize::from(*code)] - zero) * number(&lines.scale, *group);
        }
    }

    /// The group of each column.
    fn columns(&self, groups: &Tensor) -> Result<Vec<usize>> {
        let count = self.scale.columns();
        in_range(groups, self.dims.columns, count)
    }
}

/// The groups that a tensor names, each of `columns` one of `count`.
pub fn in_range(groups: &Tensor, columns: usize, count: usize) -> Result<Vec<usize>> {
    let each = indices(groups, 0..columns)?.into_iter().enumerate();
    each.map(|(i, group)| {
        usize::try_from(group).ok().filter(|group| *group < count).ok_or_else(|| {
            Error::invalid("a column is of a group that is not there")
                .tensor(&groups.name)
                .expected(format!("one of {count} groups"))
                .found(format!("group {group} at column {i}"))
                .hint("the checkpoint is damaged: download it again")
        })
    })
    .collect()
}
