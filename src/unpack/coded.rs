//! Weights whose codes lie row by row: each has a value, from which a zero point is taken, which is scaled, and to which a
//! bias is added. Whatever the method, `(value - zero) * scale + bias`.

use super::grid::{Dims, Grid, Line};
use super::numbers::{indices, with_bytes};
use super::rows::Packed;
use ggraft_formats::packed::{Above, Packing, Runs, Table, Values, add, multiply, round, scale, scale_each};
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Tensor};
use std::ops::Range;

/// A weight in codes.
pub struct Coded {
    pub codes: Tensor,
    pub values: Values,
    /// Bytes from one row of codes to the next.
    pub stride: usize,
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
            values: Values::new(packing, table),
            stride,
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
    Of(Box<Grid>, DType),
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
        // Rows that run on are one.
        let step = if self.runs_on() { rows.len().max(1) } else { 1 };
        let columns = self.dims.columns.max(1) * step;
        let mut codes = vec![0; columns];
        let mut lines = Lines::default();
        let groups = match &self.groups {
            Some(groups) => Some(self.columns(groups)?),
            None => None,
        };
        let place = rows.start * self.stride..rows.end * self.stride;
        with_bytes(&self.codes, place, |bytes| {
            let all = out.chunks_exact_mut(columns).zip(bytes.chunks_exact(self.stride * step));
            for (row, (out, bytes)) in rows.step_by(step).zip(all) {
                self.lines(&(row..row + step), &mut lines)?;
                self.values.of(bytes, &mut codes, out);
                match &groups {
                    None => self.scaled(&lines, out),
                    Some(groups) => self.scattered(groups, &lines, out),
                }
                self.finished(&lines, out)?;
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
        into.add(format!("{:?} {:?}", self.values.packing(), self.dims).as_bytes());
        into.numbers(self.values.table().iter().map(|x| u64::from(x.to_bits())));
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
            Bias::Of(grid, _) => Some(&**grid),
            _ => None,
        };
        [Some(&self.scale), all, self.zero.as_ref(), bias].into_iter().flatten()
    }

    /// Whether neither codes nor numbers begin anew with a row.
    fn runs_on(&self) -> bool {
        let bits = self.dims.columns.saturating_mul(self.values.packing().bits() as usize);
        self.stride.checked_mul(8) == Some(bits) && self.groups.is_none() && self.grids().all(Grid::runs_on)
    }

    /// The numbers that hold in a row, or in several that run on.
    fn lines(&self, rows: &Range<usize>, lines: &mut Lines) -> Result<()> {
        self.scale.line(rows, &mut lines.scale)?;
        if let Some(zero) = &self.zero {
            zero.line(rows, &mut lines.zero)?;
        }
        if let Bias::Of(bias, _) = &self.bias {
            bias.line(rows, &mut lines.bias)?;
        }
        if let All::Times(all) | All::Over(all) = &self.all {
            all.line(rows, &mut lines.all)?;
        }
        Ok(())
    }

    /// A row of values is scaled.
    fn scaled(&self, lines: &Lines, out: &mut [f32]) {
        let all = match &self.all {
            All::Times(_) => Above::Times(lines.all.runs()),
            All::Over(_) => Above::Over(lines.all.runs()),
            All::Nothing | All::Then(_) => Above::Nothing,
        };
        scale(out, lines.scale.runs(), self.zero.as_ref().map(|_| lines.zero.runs()), all);
    }

    /// A row of values whose columns are of groups in any order is scaled.
    fn scattered(&self, groups: &[usize], lines: &Lines, out: &mut [f32]) {
        let zeros = self.zero.as_ref().map(|_| lines.zero.all());
        scale_each(out, groups, lines.scale.all(), zeros);
    }

    /// What is done to products.
    fn finished(&self, lines: &Lines, products: &mut [f32]) -> Result<()> {
        if let All::Then(then) = &self.all {
            multiply(products, Runs::one(then));
        }
        match &self.bias {
            Bias::Nothing => {}
            Bias::Always(bias) => add(products, Runs::one(bias)),
            Bias::Of(_, dtype) => {
                round(*dtype, products)?;
                add(products, lines.bias.runs());
            }
        }
        Ok(())
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
