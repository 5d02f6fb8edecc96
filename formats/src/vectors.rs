//! Arithmetic on vectors in f64, element by element: every sum is in index order and none is fused, so the results are the
//! same on every CPU. It stands here and not where it is called since this crate is built for speed (see `packed`).

use crate::simd::vectorized;

/// A sum; a zero more leaves a negative zero what it is.
#[inline(always)]
pub fn plus(x: f64, more: f64) -> f64 {
    if more == 0.0 { x } else { x + more }
}

/// Adds `weight * (to - from)` to each value. Where a value is `from` itself and the weight 1, `to` comes out exactly, which
/// the subtraction in f64 alone would not promise.
#[inline(never)]
pub fn add_differences(values: &mut [f64], to: &[f64], from: &[f64], weight: f64) {
    let whole = weight == 1.0;
    vectorized(
        #[inline(always)]
        || {
            for ((x, y), z) in values.iter_mut().zip(to).zip(from) {
                let sum = plus(*x, weight * (y - z));
                *x = if whole & (*x == *z) { *y } else { sum };
            }
        },
    );
}

/// Takes each value the share `t` of the way to the other.
#[inline(never)]
pub fn toward(values: &mut [f64], others: &[f64], t: f64) {
    vectorized(
        #[inline(always)]
        || values.iter_mut().zip(others).for_each(|(x, y)| *x = plus(*x, t * (y - *x))),
    );
}

/// Makes of each value `a` times it and `b` times the other.
#[inline(never)]
pub fn mix(values: &mut [f64], others: &[f64], a: f64, b: f64) {
    vectorized(
        #[inline(always)]
        || values.iter_mut().zip(others).for_each(|(x, y)| *x = a * *x + b * y),
    );
}

/// The sum, added up by size, so that the order of the numbers changes no bit; they are sorted.
#[inline(never)]
pub fn sum_by_size(numbers: &mut [f64]) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.iter().sum()
}

/// Adds to each value `scale` times the sum, by size, of those of its votes that have the sign of the sum of all; divided by
/// what these count if it is a mean. A vote is a number and what it counts. They lie value by value, equally many of each,
/// and are sorted.
#[inline(never)]
pub fn add_elected(values: &mut [f64], votes: &mut [(f64, f64)], scale: f64, mean: bool) {
    let each = (votes.len() / values.len().max(1)).max(1);
    for (x, votes) in values.iter_mut().zip(votes.chunks_exact_mut(each)) {
        *x = plus(*x, scale * elected(votes, mean));
    }
}

/// The sum of the votes that are elected.
fn elected(votes: &mut [(f64, f64)], mean: bool) -> f64 {
    votes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let sum: f64 = votes.iter().map(|(d, _)| d).sum();
    let elected = votes.iter().filter(|(d, _)| if sum >= 0.0 { *d > 0.0 } else { *d < 0.0 });
    let (mut mixed, mut share) = (0.0, 0.0);
    for (d, s) in elected {
        mixed += d;
        share += s;
    }
    if mean && share != 0.0 { mixed / share } else { mixed }
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

/// Rows that are multiplied with a line at once, each in a lane of its own.
pub const LANES: usize = 8;

/// The sum of the products of each row with `line`; `columns` has the rows' numbers column by column.
#[inline(never)]
pub fn products(columns: &[[f64; LANES]], line: &[f32]) -> [f64; LANES] {
    vectorized(
        #[inline(always)]
        || {
            let mut sums = [0f64; LANES];
            for (column, y) in columns.iter().zip(line) {
                let y = f64::from(*y);
                sums.iter_mut().zip(column).for_each(|(sum, x)| *sum += x * y);
            }
            sums
        },
    )
}

/// Adds to each sum the square of its number, in f32.
#[inline(never)]
pub fn add_squares(sums: &mut [f32], numbers: &[f32]) {
    sums.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x * x);
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

    fn moved(x: f64, to: f64, from: f64, weight: f64) -> f64 {
        let mut values = [x];
        add_differences(&mut values, &[to], &[from], weight);
        values[0]
    }

    #[test]
    fn a_zero_more_leaves_negative_zero() {
        for (to, from, w) in [(0.5, 0.5, 1.0), (0.5, 0.25, 0.0), (-0.5, -0.5, 0.3)] {
            assert_eq!(moved(-0.0, to, from, w).to_bits(), (-0.0f64).to_bits());
        }
        let mut xs = [-0.0, 1.0];
        add_times(&mut xs, 2.0, &[0.0, 3.0]);
        assert_eq!((xs[0].to_bits(), xs[1]), ((-0.0f64).to_bits(), 7.0));
    }

    #[test]
    fn a_value_that_is_the_start_comes_to_the_end() {
        for to in [-0.0, 1e-30, 3.5, -7.25e10] {
            assert_eq!(moved(1.0, to, 1.0, 1.0).to_bits(), to.to_bits());
        }
        assert_eq!(moved(1.0, 3.0, 2.0, 0.5), 1.5);
    }

    #[test]
    fn values_go_part_of_the_way() {
        let mut values = [1.0, -0.0];
        toward(&mut values, &[3.0, -0.0], 0.5);
        assert_eq!((values[0], values[1].to_bits()), (2.0, (-0.0f64).to_bits()));
        mix(&mut values[..1], &[10.0], 2.0, 0.5);
        assert_eq!(values[0], 9.0);
    }

    #[test]
    fn order_changes_no_sum_and_signs_are_elected() {
        let orders = [[1e16, 1.0, -1e16], [1.0, -1e16, 1e16], [-1e16, 1e16, 1.0]];
        assert!(orders.into_iter().all(|mut all| sum_by_size(&mut all) == 0.0));
        let votes = || [(3.0, 1.0), (-1.0, 5.0), (1.0, 1.0), (0.0, 9.0)];
        assert_eq!((elected(&mut votes(), false), elected(&mut votes(), true)), (4.0, 2.0));
        assert_eq!(elected(&mut [(-2.0, 0.5), (1.0, 1.0)], true), -4.0);
        assert_eq!(elected(&mut [(f64::NAN, 1.0)], true), 0.0);
        let (mut values, mut both) = ([10.0, -0.0, 7.0], [(3.0, 1.0), (-1.0, 5.0), (0.0, 1.0), (0.0, 1.0)]);
        add_elected(&mut values[..2], &mut both, 2.0, false);
        add_elected(&mut values[2..], &mut [], 2.0, true);
        assert_eq!(values.map(f64::to_bits), [16.0, -0.0, 7.0].map(f64::to_bits));
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
    fn every_row_has_its_lane() {
        let columns = [1.0, 10.0].map(|x| std::array::from_fn(|lane| x * lane as f64));
        let found = products(&columns, &[2.0, 3.0]);
        assert_eq!(found, std::array::from_fn(|lane| 32.0 * lane as f64));
        let mut sums = [1.0, 2.0];
        add_squares(&mut sums, &[3.0, 4.0]);
        assert_eq!(sums, [10.0, 18.0]);
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
