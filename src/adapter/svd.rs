//! The best factors of low rank of a matrix that is read row by row: a randomized SVD (Halko, Martinsson and Tropp, arXiv
//! 0909.4061) with two power iterations. Sums are in index order and none is fused, so that the same matrix gives the same
//! bits on every machine, which no library of linear algebra promises; what is held are as many columns as the rank.

use ggraft_formats::Result;
use ggraft_formats::vectors::{add_lines, add_products};
use std::ops::Range;

/// Directions beyond the rank that are tried.
const MORE: usize = 8;
const POWERS: usize = 2;
/// Rows that are read at once.
const ROWS: usize = 16;
const SWEEPS: usize = 12;

/// `B·A` as near to a matrix as a rank allows.
pub struct LowRank {
    /// Row after row, each as long as the matrix's.
    pub a: Vec<f64>,
    /// Row after row, each as long as the rank.
    pub b: Vec<f64>,
    /// The part of the sum of squares that the factors keep.
    pub kept: f64,
}

/// Reads some rows.
pub type Read<'a> = dyn Fn(Range<usize>, &mut [f64]) -> Result<()> + 'a;

/// A matrix that is read when it is needed.
pub struct Matrix<'a> {
    pub rows: usize,
    pub row: usize,
    pub read: &'a Read<'a>,
}

/// The factors of this rank; `seed` decides the directions that are tried first.
pub fn low_rank(matrix: &Matrix<'_>, rank: usize, seed: u64) -> Result<LowRank> {
    let width = (rank + MORE).min(matrix.rows).min(matrix.row);
    let (mut across, mut square) = (signs(matrix.row * width, seed), 0.0);
    let mut down = matrix.times(&across, width, &mut square)?;
    for _ in 0..POWERS {
        orthogonal(&mut down, width);
        across = matrix.turned_times(&down, width)?;
        orthogonal(&mut across, width);
        down = matrix.times(&across, width, &mut 0.0)?;
    }
    orthogonal(&mut down, width);
    across = matrix.turned_times(&down, width)?;
    let (values, vectors) = eigen(gram(&across, width), width);
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by(|i, j| values[*j].total_cmp(&values[*i]).then(i.cmp(j)));
    let (mut a, mut b) = (vec![0.0; rank * matrix.row], vec![0.0; matrix.rows * rank]);
    let mut sum = 0.0;
    for (l, at) in order.into_iter().take(rank).enumerate() {
        let value = values[at].max(0.0);
        sum += value;
        // The singular value is shared by both.
        let share = value.sqrt().sqrt();
        if share == 0.0 {
            continue;
        }
        let weight = |c: usize| vectors[c * width + at];
        for (j, line) in across.chunks_exact(width).enumerate() {
            a[l * matrix.row + j] = line.iter().enumerate().map(|(c, x)| x * weight(c)).sum::<f64>() / share;
        }
        for (i, line) in down.chunks_exact(width).enumerate() {
            b[i * rank + l] = line.iter().enumerate().map(|(c, x)| x * weight(c)).sum::<f64>() * share;
        }
    }
    Ok(LowRank { a, b, kept: if square > 0.0 { (sum / square).min(1.0) } else { 1.0 } })
}

impl Matrix<'_> {
    /// Calls `f` with each row and its number.
    fn each(&self, mut f: impl FnMut(usize, &[f64])) -> Result<()> {
        let mut values = vec![0.0; ROWS * self.row];
        for start in (0..self.rows).step_by(ROWS) {
            let rows = start..self.rows.min(start + ROWS);
            let values = &mut values[..rows.len() * self.row];
            (self.read)(rows.clone(), values)?;
            rows.zip(values.chunks_exact(self.row.max(1))).for_each(|(i, row)| f(i, row));
        }
        Ok(())
    }

    /// The product with `columns`, which has `width` of them; the sum of squares of the matrix is added to `square`.
    fn times(&self, columns: &[f64], width: usize, square: &mut f64) -> Result<Vec<f64>> {
        let mut out = vec![0.0; self.rows * width];
        self.each(|i, row| {
            *square += row.iter().map(|x| x * x).sum::<f64>();
            add_lines(&mut out[i * width..(i + 1) * width], row, columns);
        })?;
        Ok(out)
    }

    /// The product of the transposed matrix with `columns`.
    fn turned_times(&self, columns: &[f64], width: usize) -> Result<Vec<f64>> {
        let mut out = vec![0.0; self.row * width];
        self.each(|i, row| {
            add_products(&mut out, row, 1, &columns[i * width..(i + 1) * width]);
        })?;
        Ok(out)
    }
}

/// Ones and minus ones.
fn signs(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..count).map(|_| if next() >> 63 == 0 { 1.0 } else { -1.0 }).collect()
}

/// Makes the columns orthonormal: each is freed of those before it, twice. One of which nothing is left becomes zero.
fn orthogonal(columns: &mut [f64], width: usize) {
    let mut done: Vec<Vec<f64>> = Vec::with_capacity(width);
    for at in 0..width {
        let mut column: Vec<f64> = columns.iter().skip(at).step_by(width).copied().collect();
        let whole = dot(&column, &column);
        for _ in 0..2 {
            for before in &done {
                let part = -dot(before, &column);
                add_products(&mut column, &[part], 1, before);
            }
        }
        let left = dot(&column, &column);
        let scale = if left > whole * 1e-24 { 1.0 / left.sqrt() } else { 0.0 };
        column.iter_mut().for_each(|x| *x *= scale);
        columns.iter_mut().skip(at).step_by(width).zip(&column).for_each(|(x, y)| *x = *y);
        done.push(column);
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// The products of all pairs of columns.
fn gram(columns: &[f64], width: usize) -> Vec<f64> {
    let mut gram = vec![0.0; width * width];
    for line in columns.chunks_exact(width) {
        add_products(&mut gram, line, 1, line);
    }
    gram
}

/// Eigenvalues of a symmetric matrix, and its eigenvectors as columns, by rotations (Jacobi).
fn eigen(mut matrix: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    let size: f64 = matrix.iter().map(|x| x * x).sum();
    for _ in 0..SWEEPS {
        let off: f64 = (0..n * n).filter(|at| at / n != at % n).map(|at| matrix[at] * matrix[at]).sum();
        if off <= size * 1e-26 {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                let x = matrix[p * n + q];
                if x == 0.0 {
                    continue;
                }
                let theta = (matrix[q * n + q] - matrix[p * n + p]) / (2.0 * x);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let turn = |x: f64, y: f64| (c * x - t * c * y, t * c * x + c * y);
                for i in 0..n {
                    let at = i * n;
                    (matrix[at + p], matrix[at + q]) = turn(matrix[at + p], matrix[at + q]);
                    (vectors[at + p], vectors[at + q]) = turn(vectors[at + p], vectors[at + q]);
                }
                for i in 0..n {
                    (matrix[p * n + i], matrix[q * n + i]) = turn(matrix[p * n + i], matrix[q * n + i]);
                }
            }
        }
    }
    ((0..n).map(|i| matrix[i * n + i]).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_of_low_rank_comes_back_whole_and_others_keep_the_largest_part() {
        let (rows, row) = (37, 53);
        let (left, right) = (signs(rows * 3, 1), signs(3 * row, 2));
        let noise = signs(rows * row, 3);
        let value = |i: usize, j: usize, more: f64| {
            let sum: f64 = (0..3).map(|k| (k + 1) as f64 * left[i * 3 + k] * right[k * row + j]).sum();
            sum + more * noise[i * row + j]
        };
        for (more, rank, least, most) in
            [(0.0, 3, 1.0 - 1e-12, 1e-12), (0.01, 3, 0.9999, 0.1), (0.0, 5, 1.0 - 1e-12, 1e-12)]
        {
            let read = |range: Range<usize>, out: &mut [f64]| {
                for (at, x) in out.iter_mut().enumerate() {
                    *x = value(range.start + at / row, at % row, more);
                }
                Ok(())
            };
            let matrix = Matrix { rows, row, read: &read };
            let found = low_rank(&matrix, rank, 7).unwrap();
            assert!(found.kept >= least && found.kept <= 1.0, "{}", found.kept);
            for i in 0..rows {
                for j in 0..row {
                    let product: f64 = (0..rank).map(|k| found.b[i * rank + k] * found.a[k * row + j]).sum();
                    assert!((product - value(i, j, more)).abs() <= most, "{i} {j} {product}");
                }
            }
            let again = low_rank(&matrix, rank, 7).unwrap();
            assert!(again.a == found.a && again.b == found.b);
        }
    }
}
