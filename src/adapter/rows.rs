//! The rows of a weight that an adapter has changed, in f64: `W + s·B·A`, or with DoRA each row of it brought to a length
//! of its own. B·A is never held: of a row there is only that row, and of A a row at a time.

use ggraft_formats::vectors::{add_products, add_times, doubles};
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Rows, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// A factor of a product, and where it has the rank.
#[derive(Clone)]
pub enum Factor {
    /// As its row length (the left one), or as its rows (the right one).
    Straight(Tensor),
    /// The other way about.
    Turned(Tensor),
}

impl Factor {
    pub fn tensor(&self) -> &Tensor {
        match self {
            Factor::Straight(tensor) | Factor::Turned(tensor) => tensor,
        }
    }
}

/// `scale · left · right`, of a matrix, or of each of a stack.
#[derive(Clone)]
pub struct Product {
    pub scale: f64,
    pub rank: usize,
    pub left: Factor,
    pub right: Factor,
    /// Rows of one matrix.
    pub rows: usize,
}

/// What becomes of a weight.
pub enum Change {
    Nothing,
    Product(Product),
    /// The sum, each row of which is then as long as this tells.
    Magnitude(Product, Tensor),
    /// So many times the weight.
    Times(f64),
    /// So many times these values more.
    Plus(f64, Tensor),
}

/// `base`, changed.
pub fn changed(base: &Tensor, change: Change) -> Result<Tensor> {
    let row = base.row_elements()?;
    let count = count(base)?;
    let rows = Arc::new(Changed { base: base.clone(), change, row, count });
    Tensor::new(&base.name, *base.shape(), DType::F64, rows)
}

/// What a factor is of, and the name of the other, where names of factors end so.
pub fn twin<'a>(name: &'a str, a: &str, b: &str) -> Option<(&'a str, String)> {
    let other = |own, other| name.strip_suffix(own).map(|stem| (stem, format!("{stem}{other}")));
    other(a, b).or_else(|| other(b, a))
}

/// How many rows there are.
pub fn count(tensor: &Tensor) -> Result<usize> {
    let rows = usize::try_from(tensor.shape().rows());
    rows.map_err(|_| Error::invalid("the tensor has too many rows").tensor(&tensor.name))
}

struct Changed {
    base: Tensor,
    change: Change,
    row: usize,
    count: usize,
}

impl Rows for Changed {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let mut values = vec![0.0; rows.len() * self.row];
        self.base.decode_rows_f64(rows.clone(), &mut values)?;
        match &self.change {
            Change::Nothing => {}
            Change::Times(scale) => values.iter_mut().for_each(|x| *x *= scale),
            Change::Product(product) => product.add(rows, self.row, &mut values)?,
            Change::Magnitude(product, lengths) => {
                product.add(rows.clone(), self.row, &mut values)?;
                stretch(&mut values, self.row, rows, lengths)?;
            }
            Change::Plus(scale, more) => {
                let mut added = vec![0.0; values.len()];
                more.decode_rows_f64(rows, &mut added)?;
                add_times(&mut values, *scale, &added);
            }
        }
        doubles(&values, out);
        Ok(())
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.base.prefetch(rows.clone());
        self.parts(&rows, &|part, rows| part.prefetch(rows));
    }

    fn release(&self, rows: Range<usize>) {
        self.base.release(rows.clone());
        self.parts(&rows, &|part, rows| part.release(rows));
    }

    fn identify(&self, into: &mut Identity) {
        self.base.identify(into);
        let (kind, scale, rank) = match &self.change {
            Change::Nothing => ("nothing", 0.0, 0),
            Change::Times(scale) => ("times", *scale, 0),
            Change::Product(product) => ("product", product.scale, product.rank),
            Change::Magnitude(product, _) => ("magnitude", product.scale, product.rank),
            Change::Plus(scale, _) => ("plus", *scale, 0),
        };
        into.add(kind.as_bytes());
        into.numbers([scale.to_bits(), rank as u64]);
        self.tensors().into_iter().for_each(|part| part.identify(into));
    }
}

impl Changed {
    fn tensors(&self) -> Vec<&Tensor> {
        match &self.change {
            Change::Nothing | Change::Times(_) => Vec::new(),
            Change::Product(product) => vec![product.left.tensor(), product.right.tensor()],
            Change::Magnitude(product, lengths) => {
                vec![product.left.tensor(), product.right.tensor(), lengths]
            }
            Change::Plus(_, more) => vec![more],
        }
    }

    /// Calls `f` with every part when the first rows are asked for and when the last are: each row needs most of them.
    fn parts(&self, rows: &Range<usize>, f: &dyn Fn(&Tensor, Range<usize>)) {
        if rows.start == 0 || rows.end == self.count {
            self.tensors().into_iter().for_each(|part| f(part, 0..count(part).unwrap_or(0)));
        }
    }
}

impl Product {
    /// Adds what stands in `rows` of the product, each of `row` elements.
    fn add(&self, rows: Range<usize>, row: usize, values: &mut [f64]) -> Result<()> {
        let mut start = rows.start;
        let mut values = values;
        while start < rows.end {
            let matrix = start / self.rows.max(1);
            let end = rows.end.min((matrix + 1) * self.rows.max(1));
            let (part, rest) = values.split_at_mut((end - start) * row);
            self.add_of(matrix, start..end, row, part)?;
            (values, start) = (rest, end);
        }
        Ok(())
    }

    /// The same for rows of one matrix of the stack. The sum over the rank comes first, in its order.
    fn add_of(&self, matrix: usize, rows: Range<usize>, row: usize, values: &mut [f64]) -> Result<()> {
        let left = self.left(&rows)?;
        let turned = match &self.right {
            Factor::Straight(_) => Vec::new(),
            Factor::Turned(tensor) => turned(tensor, self.rank, row)?,
        };
        let (mut sum, mut line) = (vec![0.0; values.len()], vec![0.0; row]);
        for k in 0..self.rank {
            let line: &[f64] = match &self.right {
                Factor::Straight(tensor) => {
                    let at = matrix * self.rank + k;
                    tensor.decode_rows_f64(at..at + 1, &mut line)?;
                    &line
                }
                Factor::Turned(_) => &turned[k * row..(k + 1) * row],
            };
            add_products(&mut sum, left.get(k..).unwrap_or_default(), self.rank, line);
        }
        add_times(values, self.scale, &sum);
        Ok(())
    }

    /// These rows of the left factor, the rank along each.
    fn left(&self, rows: &Range<usize>) -> Result<Vec<f64>> {
        let mut left = vec![0.0; rows.len() * self.rank];
        match &self.left {
            Factor::Straight(tensor) => tensor.decode_rows_f64(rows.clone(), &mut left)?,
            Factor::Turned(tensor) => {
                let mut line = vec![0.0; rows.len()];
                for k in 0..self.rank {
                    part_of_row(tensor, k, rows, &mut line)?;
                    left.iter_mut().skip(k).step_by(self.rank).zip(&line).for_each(|(x, y)| *x = *y);
                }
            }
        }
        Ok(left)
    }
}

/// The elements `columns` of one row.
fn part_of_row(tensor: &Tensor, row: usize, columns: &Range<usize>, out: &mut [f64]) -> Result<()> {
    let traits = tensor.dtype().traits();
    if traits.block != 1 || tensor.dtype() == DType::F64 {
        let mut line = vec![0.0; tensor.row_elements()?];
        tensor.decode_rows_f64(row..row + 1, &mut line)?;
        out.copy_from_slice(&line[columns.clone()]);
        return Ok(());
    }
    let mut single = vec![0f32; columns.len()];
    tensor.with_rows(row..row + 1, |bytes| {
        let part = columns.start * traits.bytes..columns.end * traits.bytes;
        tensor.dtype().decode(&bytes[part], &mut single)
    })?;
    out.iter_mut().zip(single).for_each(|(x, y)| *x = f64::from(y));
    Ok(())
}

/// All of a factor whose rows are `rank` long, the rank outermost.
fn turned(tensor: &Tensor, rank: usize, count: usize) -> Result<Vec<f64>> {
    let (mut all, mut line) = (vec![0.0; rank * count], vec![0.0; rank]);
    for i in 0..count {
        tensor.decode_rows_f64(i..i + 1, &mut line)?;
        all.iter_mut().skip(i).step_by(count.max(1)).zip(&line).for_each(|(x, y)| *x = *y);
    }
    Ok(all)
}

/// Brings each of `rows` to its length.
fn stretch(values: &mut [f64], row: usize, rows: Range<usize>, lengths: &Tensor) -> Result<()> {
    let mut all = vec![0.0; rows.len()];
    part_of_row(lengths, 0, &rows, &mut all)?;
    for (values, length) in values.chunks_exact_mut(row.max(1)).zip(all) {
        let square: f64 = values.iter().map(|x| x * x).sum();
        if square > 0.0 {
            let factor = length / square.sqrt();
            values.iter_mut().for_each(|x| *x *= factor);
        }
    }
    Ok(())
}
