//! Arithmetic on vectors in f64, element by element, as merging needs it: every sum is in index order and none is fused, so
//! the results are the same on every CPU. A zero more leaves a negative zero what it is. It stands here and not where it
//! is called since this crate is built for speed (see `packed`).

use crate::simd::vectorized;

/// A sum; a zero more leaves a negative zero what it is.
#[inline(always)]
pub fn plus(x: f64, more: f64) -> f64 {
    if more == 0.0 { x } else { x + more }
}

/// Adds `weight * (chat - base)` to each value. Where a value is the base itself and the weight 1, chat comes out exactly,
/// which the subtraction in f64 alone would not promise.
#[inline(never)]
pub fn graft(values: &mut [f64], chat: &[f64], base: &[f64], weight: f64) {
    let whole = weight == 1.0;
    vectorized(
        #[inline(always)]
        || {
            for ((x, c), b) in values.iter_mut().zip(chat).zip(base) {
                let sum = plus(*x, weight * (c - b));
                *x = if whole & (*x == *b) { *c } else { sum };
            }
        },
    );
}

/// Adds `scale * y` to each `x`.
#[inline(never)]
pub fn add_times(xs: &mut [f64], scale: f64, ys: &[f64]) {
    vectorized(
        #[inline(always)]
        || xs.iter_mut().zip(ys).for_each(|(x, y)| *x = plus(*x, scale * y)),
    );
}

/// Adds to each row of `sums`, as long as `line`, that times a number of the row's own: every `step`th of `numbers`.
#[inline(never)]
pub fn add_products(sums: &mut [f64], numbers: &[f64], step: usize, line: &[f64]) {
    vectorized(
        #[inline(always)]
        || {
            let numbers = numbers.iter().step_by(step.max(1));
            for (sum, x) in sums.chunks_exact_mut(line.len().max(1)).zip(numbers) {
                sum.iter_mut().zip(line).for_each(|(sum, y)| *sum += x * y);
            }
        },
    );
}

/// Adds to `sum` each of `lines`, as long as it, times its own number.
#[inline(never)]
pub fn add_lines(sum: &mut [f64], numbers: &[f64], lines: &[f64]) {
    vectorized(
        #[inline(always)]
        || {
            for (line, x) in lines.chunks_exact(sum.len().max(1)).zip(numbers) {
                sum.iter_mut().zip(line).for_each(|(sum, y)| *sum += x * y);
            }
        },
    );
}

/// Rounds values to f32, as little-endian bytes; whether all are finite.
#[inline(never)]
pub fn singles(values: &[f64], out: &mut [u8]) -> bool {
    vectorized(
        #[inline(always)]
        || {
            let pairs = out.as_chunks_mut().0.iter_mut().zip(values);
            pairs.fold(true, |finite, (bytes, x)| {
                let x = *x as f32;
                *bytes = x.to_le_bytes();
                finite & x.is_finite()
            })
        },
    )
}

/// Values as little-endian bytes.
#[inline(never)]
pub fn doubles(values: &[f64], out: &mut [u8]) {
    out.as_chunks_mut().0.iter_mut().zip(values).for_each(|(bytes, x)| *bytes = x.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grafted(cp: f64, chat: f64, base: f64, weight: f64) -> f64 {
        let mut values = [cp];
        graft(&mut values, &[chat], &[base], weight);
        values[0]
    }

    #[test]
    fn a_zero_vector_keeps_negative_zero() {
        for (chat, base, w) in [(0.5, 0.5, 1.0), (0.5, 0.25, 0.0), (-0.5, -0.5, 0.3)] {
            assert_eq!(grafted(-0.0, chat, base, w).to_bits(), (-0.0f64).to_bits());
        }
        let mut xs = [-0.0, 1.0];
        add_times(&mut xs, 2.0, &[0.0, 3.0]);
        assert_eq!((xs[0].to_bits(), xs[1]), ((-0.0f64).to_bits(), 7.0));
    }

    #[test]
    fn chat_comes_back_where_a_value_is_the_base() {
        for chat in [-0.0, 1e-30, 3.5, -7.25e10] {
            assert_eq!(grafted(1.0, chat, 1.0, 1.0).to_bits(), chat.to_bits());
        }
        assert_eq!(grafted(1.0, 3.0, 2.0, 0.5), 1.5);
    }

    #[test]
    fn products_go_to_their_rows() {
        let mut sums = [1.0; 6];
        add_products(&mut sums, &[2.0, 9.0, 3.0], 2, &[1.0, 10.0, 100.0]);
        assert_eq!(sums, [3.0, 21.0, 201.0, 4.0, 31.0, 301.0]);
        let mut sum = [1.0; 2];
        add_lines(&mut sum, &[2.0, 3.0], &[1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(sum, [303.0, 3021.0]);
    }

    #[test]
    fn what_is_not_finite_is_told() {
        let mut out = [0; 8];
        assert!(singles(&[1.5, -2.0], &mut out));
        assert_eq!(out, *[1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].as_flattened());
        assert!(!singles(&[1.0, 1e300], &mut out));
        doubles(&[1.0], &mut out);
        assert_eq!(out, 1f64.to_le_bytes());
    }
}
