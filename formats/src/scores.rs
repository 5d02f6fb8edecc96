//! Scores of weights, and how many there are of each, by the halves of their bits: what finds a rank among them in two
//! passes. It stands here and not where it is called since this crate is built for speed (see `packed`).

/// The values of a half.
pub const HALVES: usize = 1 << 16;

/// How far each number is from its base.
#[inline(never)]
pub fn distances(numbers: &[f64], base: &[f64]) -> Vec<f32> {
    numbers.iter().zip(base).map(|(x, b)| (x - b).abs() as f32).collect()
}

/// Counts the scores by the upper halves of their bits; how many are zero.
///
/// # Panics
/// `counts` has not one for each half.
#[inline(never)]
pub fn count_upper(counts: &mut [u64], scores: &[f32]) -> u64 {
    let counts = &mut counts[..HALVES];
    let mut zeros = 0;
    for score in scores {
        let bits = score.to_bits();
        counts[(bits >> 16) as usize] += 1;
        zeros += u64::from(bits == 0);
    }
    zeros
}

/// Counts the scores that have this upper half by the lower ones.
///
/// # Panics
/// `counts` has not one for each half.
#[inline(never)]
pub fn count_lower(counts: &mut [u64], scores: &[f32], upper: usize) {
    let counts = &mut counts[..HALVES];
    let bits = scores.iter().map(|score| score.to_bits());
    bits.filter(|bits| (bits >> 16) as usize == upper).for_each(|bits| counts[(bits & 0xffff) as usize] += 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_counted() {
        let scores = distances(&[3.0, 1.0, 1.0, -2.0], &[1.0, 1.0, -1.0, 0.0]);
        assert_eq!(scores, [2.0, 0.0, 2.0, 2.0]);
        let (mut upper, mut lower) = (vec![0; HALVES], vec![0; HALVES]);
        let high = (2f32.to_bits() >> 16) as usize;
        assert_eq!((count_upper(&mut upper, &scores), upper[high], upper[0]), (1, 3, 1));
        count_lower(&mut lower, &scores, high);
        assert_eq!((lower[0], lower.iter().sum::<u64>()), (3, 3));
    }
}
