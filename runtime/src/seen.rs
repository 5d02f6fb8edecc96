//! What is seen of a model while it computes: each product of a weight with what flows through the model.
//! Serves `ffi::watch`, which takes it from llama.cpp, and whoever measures by it.

use ggraft_formats::{Error, Result};

/// A product before it is computed, by the dimensions of its operands, row length first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The name of the weight, without that of a device.
    pub weight: String,
    /// The dimensions of the weight.
    pub weight_shape: [usize; 4],
    /// The dimensions of what it is multiplied by.
    pub input_shape: [usize; 4],
    /// Whether that is in f32.
    pub is_f32: bool,
    /// Whether each column chooses its matrices (`GGML_OP_MUL_MAT_ID`).
    pub chooses: bool,
}

/// Numbers as they lie in a tensor of up to four dimensions, with gaps between its rows, as copied from the device.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// All from the first to the last.
    pub values: &'a [f32],
    /// How many there are in each dimension.
    pub shape: [usize; 4],
    /// How far their neighbours lie, in numbers; 1 in the first dimension.
    pub strides: [usize; 4],
}

impl<'a> Operand<'a> {
    /// The row at these places of the upper three dimensions.
    ///
    /// # Errors
    /// There is none.
    pub fn row(&self, [i1, i2, i3]: [usize; 3]) -> Result<&'a [f32]> {
        let start = i1 * self.strides[1] + i2 * self.strides[2] + i3 * self.strides[3];
        self.values.get(start..start + self.shape[0]).ok_or_else(|| {
            Error::invalid("llama.cpp told of an operand that is shorter than its shape")
                .expected(format!("a row of {} values at {start}", self.shape[0]))
                .found(format!("{} values", self.values.len()))
        })
    }
}

/// Which matrices of a stack each token has chosen.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'a> {
    /// The numbers of the matrices, with gaps between the tokens.
    pub numbers: &'a [i32],
    /// Numbers a token, and tokens.
    pub shape: [usize; 2],
    /// How far the numbers of two tokens lie apart.
    pub stride: usize,
}

impl Chosen<'_> {
    /// The matrix that this token has chosen at this place.
    ///
    /// # Errors
    /// The stack of `matrices` has none of that number.
    pub fn matrix(&self, place: usize, token: usize, matrices: usize) -> Result<usize> {
        let number = self.numbers.get(token * self.stride + place).copied();
        let known = number.and_then(|n| usize::try_from(n).ok()).filter(|n| *n < matrices);
        known.ok_or_else(|| {
            Error::invalid("llama.cpp told of a matrix that the stack does not have")
                .expected(format!("a number below {matrices}"))
                .found(number.map_or(String::from("none"), |n| n.to_string()))
        })
    }
}

/// Is told of the products of a model while it computes, in their order.
pub trait Watch {
    /// Whether it is to see this product.
    fn wants(&mut self, product: &Product) -> bool;

    /// Sees the numbers that the weight is multiplied by, and in a product that chooses, what is chosen.
    ///
    /// # Errors
    /// The numbers cannot be; then the computation stops.
    fn see(&mut self, product: &Product, input: Operand<'_>, chosen: Option<Chosen<'_>>) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_over_their_gaps_and_none_behind_the_end() {
        let values: Vec<f32> = (0u8..20).map(f32::from).collect();
        let operand = Operand { values: &values, shape: [2, 2, 2, 1], strides: [1, 5, 10, 20] };
        assert_eq!(operand.row([1, 1, 0]).unwrap(), [15.0, 16.0]);
        assert!(operand.row([0, 0, 1]).is_err());
        let chosen = Chosen { numbers: &[2, 0, 9, 1, 3, 9], shape: [2, 2], stride: 3 };
        assert_eq!(chosen.matrix(1, 1, 4).unwrap(), 3);
        let error = chosen.matrix(1, 1, 3).unwrap_err().to_string();
        assert!(error.contains("expected a number below 3, found 3"), "{error}");
        assert!(chosen.matrix(0, 2, 4).is_err());
    }
}
