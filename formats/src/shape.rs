//! The dimensions of a tensor, the row length first.

use std::fmt;

/// Up to eight dimensions in ggml's order: `ne[0]` is the row length. GGUF knows four (`gguf::MAX_DIMS`), checkpoints
/// of models that see have five.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    ne: [u64; Self::MAX_DIMS],
    dims: usize,
}

impl Shape {
    /// The most dimensions of any tensor here.
    pub const MAX_DIMS: usize = 8;

    /// `ne` with the row length first; a scalar is one row of one element. `None` if there are more than eight
    /// dimensions, or the number of elements exceeds `i64::MAX` or that of rows `u64::MAX`.
    pub fn new(ne: &[u64]) -> Option<Shape> {
        if ne.len() > Self::MAX_DIMS {
            return None;
        }
        let mut all = [1; Self::MAX_DIMS];
        all[..ne.len()].copy_from_slice(ne);
        let mut product: u64 = 1;
        for n in all {
            product = product.checked_mul(n).filter(|p| i64::try_from(*p).is_ok())?;
        }
        // Rows without elements are counted too.
        all[1..].iter().try_fold(1u64, |rows, n| rows.checked_mul(*n))?;
        Some(Shape { ne: all, dims: ne.len().max(1) })
    }

    /// The dimensions as given, row length first.
    pub fn ne(&self) -> &[u64] {
        &self.ne[..self.dims]
    }

    /// Dimension `i`, 1 beyond the last.
    pub fn dim(&self, i: usize) -> u64 {
        self.ne.get(i).copied().unwrap_or(1)
    }

    /// The row length.
    pub fn row(&self) -> u64 {
        self.ne[0]
    }

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.ne[1..].iter().product()
    }

    /// The number of elements.
    pub fn elements(&self) -> u64 {
        self.row() * self.rows()
    }

    /// The dimensions without trailing ones, as ggml counts them (`ggml_n_dims`): at least one.
    pub fn significant(&self) -> &[u64] {
        let n = self.ne.iter().rposition(|n| *n != 1).map_or(1, |i| i + 1);
        &self.ne[..n]
    }

    /// The same without trailing dimensions of one, as ggml writes it.
    pub fn trimmed(mut self) -> Shape {
        self.dims = self.significant().len();
        self
    }

    /// The same with at least so many dimensions, those that it lacks of one; no more than there can be.
    pub fn widened(mut self, dims: usize) -> Shape {
        self.dims = self.dims.max(dims.min(Self::MAX_DIMS));
        self
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: Vec<String> = self.ne().iter().map(u64::to_string).collect();
        f.pad(&format!("[{}]", text.join(", ")))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
