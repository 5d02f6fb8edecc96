//! Scales, zero points and biases: numbers of which each holds for a block of rows and columns of a weight, or for so many
//! elements in a run.

use super::numbers::elements;
use ggraft_formats::packed::Runs;
use ggraft_formats::{DType, Error, Result, Tensor};
use std::ops::Range;

/// The dimensions of a weight: so many matrices, one below the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    pub matrices: usize,
    pub rows: usize,
    pub columns: usize,
}

impl Dims {
    /// Those of a tensor of two or three dimensions, whose rows hold `columns` values.
    pub fn of(tensor: &Tensor, columns: Option<usize>) -> Result<Dims> {
        let torch = torch(tensor);
        let word = |n: u64| usize::try_from(n).ok().filter(|n| *n > 0);
        let all: Option<Vec<usize>> = torch.iter().map(|n| word(*n)).collect();
        match (all.as_deref(), columns) {
            (Some([rows, _]), Some(columns)) => Ok(Dims { matrices: 1, rows: *rows, columns }),
            (Some([rows, columns]), None) => Ok(Dims { matrices: 1, rows: *rows, columns: *columns }),
            (Some([matrices, rows, _]), Some(columns)) => {
                Ok(Dims { matrices: *matrices, rows: *rows, columns })
            }
            (Some([matrices, rows, columns]), None) => {
                Ok(Dims { matrices: *matrices, rows: *rows, columns: *columns })
            }
            _ => Err(Error::invalid("packed weights are no matrix")
                .tensor(&tensor.name)
                .expected("two or three dimensions, none of them 0")
                .found(format!("{torch:?}"))),
        }
    }

    /// The shape as trainers have it.
    pub fn torch(&self, like: &Tensor) -> Vec<u64> {
        let all = [self.matrices, self.rows, self.columns].map(|n| n as u64);
        if torch(like).len() > 2 { all.to_vec() } else { all[1..].to_vec() }
    }
}

/// The dimensions of a tensor, the outermost first.
pub fn torch(tensor: &Tensor) -> Vec<u64> {
    tensor.shape().ne().iter().rev().copied().collect()
}

/// Numbers that hold for blocks.
pub struct Grid {
    numbers: Tensor,
    /// How its elements are read: exponents may be stored as bytes.
    read: DType,
    layout: Layout,
    dims: Dims,
}

enum Layout {
    /// Blocks of rows and columns; so many rows and columns of numbers for each matrix.
    Blocks { height: usize, width: usize, rows: usize, columns: usize },
    /// Blocks of rows and columns that begin anew with each share of so many rows; so many rows of numbers for a share, and
    /// columns.
    Shares { share: usize, height: usize, width: usize, rows: usize, columns: usize },
    /// One for each so many elements.
    Runs(usize),
}

/// What is known of the blocks.
#[derive(Clone, Copy, Default)]
pub struct Blocks {
    pub height: Option<usize>,
    pub width: Option<usize>,
}

impl Blocks {
    /// One number for each whole matrix.
    pub fn whole(dims: Dims) -> Blocks {
        Blocks { height: Some(dims.rows), width: Some(dims.columns) }
    }
}

impl Grid {
    /// `numbers` for a weight of `dims`, whose shape tells the blocks where `blocks` does not.
    pub fn new(numbers: &Tensor, dims: Dims, blocks: Blocks) -> Result<Grid> {
        let found = torch(numbers);
        let wrong = || {
            let shape = [dims.matrices, dims.rows, dims.columns];
            let size = |n: Option<usize>| n.map_or(String::from("any"), |n| n.to_string());
            Error::invalid("the scales do not fit the weights")
                .tensor(&numbers.name)
                .expected(format!(
                    "one for each block ({} by {}) of {shape:?}, for each row, or for all",
                    size(blocks.height),
                    size(blocks.width)
                ))
                .found(format!("{found:?}"))
                .hint("the download is incomplete, or config.json is of another model")
        };
        let sizes: Vec<usize> =
            found.iter().map(|n| usize::try_from(*n)).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let [matrices, rows, columns] = match *sizes.as_slice() {
            _ if numbers.shape().elements() == 1 => [1, 1, 1],
            [n] if dims.matrices > 1 && n == dims.matrices => [n, 1, 1],
            [n] => [1, n, 1],
            [a, b] if dims.matrices > 1 && a == dims.matrices && b == dims.rows => [a, b, 1],
            [a, b] => [1, a, b],
            [a, b, c] => [a, b, c],
            [a, 1, b, 1] if dims.matrices == 1 => [1, a, b],
            _ => return Err(wrong()),
        };
        if matrices != dims.matrices && [matrices, rows, columns] != [1, 1, 1] {
            return Err(wrong());
        }
        let height = block(dims.rows, rows, blocks.height).ok_or_else(wrong)?;
        let width = block(dims.columns, columns, blocks.width).ok_or_else(wrong)?;
        // A single number holds for all matrices.
        let rows = if matrices == dims.matrices { rows } else { 0 };
        let layout = Layout::Blocks { height, width, rows, columns };
        Grid { numbers: numbers.clone(), read: numbers.dtype(), layout, dims }.readable()
    }

    /// `numbers` of blocks of `height` rows that begin anew with each `share` rows of the weight.
    pub fn shares(numbers: &Tensor, dims: Dims, share: usize, height: usize) -> Result<Grid> {
        let (rows, found) = (share.div_ceil(height), torch(numbers));
        let count = dims.rows / share.max(1) * rows;
        let columns = found.get(1).and_then(|n| usize::try_from(*n).ok()).unwrap_or(0);
        let width = block(dims.columns, columns, None).filter(|_| found == [count as u64, columns as u64]);
        let width = width.ok_or_else(|| {
            Error::invalid("the scales do not fit the weights")
                .tensor(&numbers.name)
                .expected(format!("{count} rows of scales, of {} columns", dims.columns))
                .found(format!("{found:?}"))
                .hint("the download is incomplete, or config.json is of another model")
        })?;
        let layout = Layout::Shares { share, height, width, rows, columns };
        Grid { numbers: numbers.clone(), read: numbers.dtype(), layout, dims }.readable()
    }

    /// `numbers`, one for each `run` elements of the weight in their order.
    pub fn runs(numbers: &Tensor, dims: Dims, run: usize) -> Result<Grid> {
        let elements = dims.matrices.checked_mul(dims.rows).and_then(|n| n.checked_mul(dims.columns));
        let due = elements.filter(|_| run > 0).map(|n| n.div_ceil(run) as u64);
        if due != Some(numbers.shape().elements()) {
            return Err(Error::invalid("the scales do not fit the weights")
                .tensor(&numbers.name)
                .expected(format!("one for each {run} of {:?}", [dims.rows, dims.columns]))
                .found(format!("{:?}", torch(numbers)))
                .hint("the download is incomplete"));
        }
        Grid { numbers: numbers.clone(), read: numbers.dtype(), layout: Layout::Runs(run), dims }.readable()
    }

    /// The same, whose bytes are exponents of two (E8M0).
    pub fn exponents(mut self) -> Grid {
        if self.read == DType::U8 {
            self.read = DType::F8E8M0;
        }
        self
    }

    /// The same, whose bytes are floats of 8 bits (E4M3).
    pub fn small_floats(mut self) -> Grid {
        if self.read == DType::U8 {
            self.read = DType::F8E4M3;
        }
        self
    }

    fn readable(self) -> Result<Grid> {
        use DType::*;
        if matches!(self.read, F64 | F32 | F16 | BF16 | F8E4M3 | F8E5M2 | F8E8M0 | I8 | U8) {
            return Ok(self);
        }
        Err(Error::invalid("these are no numbers by which weights are scaled")
            .tensor(&self.numbers.name)
            .expected("f32, f16, bf16, or numbers of 8 bits")
            .found(self.numbers.dtype()))
    }

    /// Elements from one number to the next along a row; numbers of a row.
    pub fn columns(&self) -> usize {
        match self.layout {
            Layout::Blocks { columns, .. } | Layout::Shares { columns, .. } => columns,
            Layout::Runs(run) => self.dims.columns.div_ceil(run),
        }
    }

    /// What decides which number holds where.
    pub fn describe(&self) -> [u64; 6] {
        let read = self.read as u64;
        match self.layout {
            Layout::Blocks { height, width, rows, columns } => {
                [read, 0, height as u64, width as u64, rows as u64, columns as u64]
            }
            Layout::Shares { share, height, width, columns, .. } => {
                [read, 2, height as u64, width as u64, share as u64, columns as u64]
            }
            Layout::Runs(run) => [read, 1, run as u64, 0, 0, 0],
        }
    }

    /// Whether numbers run on from row to row.
    pub fn runs_on(&self) -> bool {
        matches!(self.layout, Layout::Runs(_))
    }

    /// The numbers of a row of the weight into `line`, or of several, where they run on.
    pub fn line(&self, rows: &Range<usize>, line: &mut Line) -> Result<()> {
        let (place, first, step) = self.place(rows);
        if line.place != place {
            line.place = 0..0;
            line.numbers.resize(place.len(), 0.0);
            elements(&self.numbers, self.read, place.clone(), &mut line.numbers)?;
            line.place = place;
        }
        (line.first, line.step) = (first, step);
        Ok(())
    }

    /// The numbers of a row, or of several, where they run on; for how many columns the first of them holds, and each further.
    fn place(&self, rows: &Range<usize>) -> (Range<usize>, usize, usize) {
        let row = rows.start;
        match self.layout {
            Layout::Blocks { height, width, rows, columns } => {
                let (matrix, row) = (row / self.dims.rows, row % self.dims.rows);
                let start = (matrix * rows + row / height) * columns;
                (start..start + columns, width, width)
            }
            Layout::Shares { share, height, width, rows, columns } => {
                let start = (row / share * rows + row % share / height) * columns;
                (start..start + columns, width, width)
            }
            Layout::Runs(run) => {
                let first = row * self.dims.columns;
                let end = rows.end * self.dims.columns;
                (first / run..end.div_ceil(run), run - first % run, run)
            }
        }
    }

    /// Calls `f` with the numbers, and the rows of them that `rows` of the weight need.
    pub fn parts(&self, rows: Range<usize>, f: &mut dyn FnMut(&Tensor, Range<usize>)) {
        let Some(last) = rows.clone().last() else { return };
        let place = |row: usize| self.place(&(row..row + 1)).0;
        let places = place(rows.start).start..place(last).end;
        let row = usize::try_from(self.numbers.shape().row()).unwrap_or(usize::MAX).max(1);
        f(&self.numbers, places.start / row..places.end.div_ceil(row));
    }
}

/// How many of `size` rows or columns are in a block, if there are `count` blocks.
fn block(size: usize, count: usize, told: Option<usize>) -> Option<usize> {
    /// Of the checkpoints that do not say it.
    const USUAL: usize = 128;
    if let Some(told) = told.filter(|n| *n > 0 && size.div_ceil(*n) == count) {
        return Some(told);
    }
    match count {
        0 => None,
        1 => Some(size.max(1)),
        _ if count == size => Some(1),
        _ if told.is_some() => None,
        _ if size.div_ceil(USUAL) == count => Some(USUAL),
        _ if size.is_multiple_of(count) => Some(size / count),
        _ => None,
    }
}

/// The numbers that were read last.
#[derive(Default)]
pub struct Line {
    numbers: Vec<f32>,
    place: Range<usize>,
    first: usize,
    step: usize,
}

impl Line {
    /// The number of a row that has one.
    pub fn only(&self) -> f32 {
        self.numbers.first().copied().unwrap_or(f32::NAN)
    }

    /// The numbers of all groups.
    pub fn all(&self) -> &[f32] {
        &self.numbers
    }

    /// The numbers from the first column on.
    pub fn runs(&self) -> Runs<'_> {
        Runs { numbers: &self.numbers, first: self.first, step: self.step }
    }
}
