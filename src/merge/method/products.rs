//! Inner products of vectors: of rows, to be added up over a tensor, and what angles follow from them.

use super::Pair;

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The differences of each vector.
pub(crate) fn differences(pairs: &[Pair<'_>]) -> Vec<Vec<f64>> {
    let of = |p: &Pair<'_>| p.chat.iter().zip(p.base).map(|(c, b)| c - b).collect();
    pairs.iter().map(of).collect()
}

/// The products of each with itself and with those behind it.
pub(crate) fn triangle<T: AsRef<[f64]>>(all: &[T]) -> Vec<f64> {
    let rows = all.iter().enumerate();
    rows.flat_map(|(i, a)| all[i..].iter().map(|b| dot(a.as_ref(), b.as_ref()))).collect()
}

/// The product of two of `n` in such a list.
pub(crate) fn product(triangle: &[f64], n: usize, a: usize, b: usize) -> f64 {
    let (a, b) = (a.min(b), a.max(b));
    let before = a * n - a * a.saturating_sub(1) / 2;
    triangle.get(before + b - a).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_is_found_again() {
        let all: Vec<Vec<f64>> = (1..=4).map(|i| vec![f64::from(i), 1.0]).collect();
        let found = triangle(&all);
        for (a, x) in all.iter().enumerate() {
            for (b, y) in all.iter().enumerate() {
                assert_eq!(product(&found, 4, a, b), dot(x, y));
            }
        }
    }
}
