//! How near some numbers are to others: root mean square error, cosine and the like, from sums that can be added
//! piece by piece. Serves who measures what is written, and who compares two models.
//! A sum runs in eight lanes, whatever the CPU has, so that the same pieces in the same order give the same bits.

use crate::simd::vectorized;

/// Sums that run side by side: number `i` belongs to lane `i % LANES`.
const LANES: usize = 8;

/// What is known of some numbers `a` beside as many numbers `b`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Pairs that were compared.
    pub count: u64,
    /// Pairs of which one number is NaN or infinite, or differs by what is: they count above and nowhere below.
    pub not_finite: u64,
    /// Pairs that are not equal.
    pub different: u64,
    /// The sum of the squares of `a`.
    pub a: f64,
    /// The sum of the squares of `b`.
    pub b: f64,
    /// The sum of the products.
    pub product: f64,
    /// The sum of the squares of the differences.
    pub error: f64,
    /// The largest difference.
    pub largest: f64,
}

/// The sums of the lanes.
#[derive(Default)]
struct Lanes {
    different: [u32; LANES],
    a: [f64; LANES],
    b: [f64; LANES],
    product: [f64; LANES],
    error: [f64; LANES],
    largest: [f64; LANES],
}

impl Lanes {
    #[inline(always)]
    fn add(&mut self, lane: usize, a: f64, b: f64) {
        let difference = b - a;
        self.different[lane] += u32::from(a != b);
        self.a[lane] += a * a;
        self.b[lane] += b * b;
        self.product[lane] += a * b;
        self.error[lane] += difference * difference;
        // `max` would pass over NaN; the sums do not.
        self.largest[lane] = self.largest[lane].max(difference.abs());
    }
}

impl Figures {
    /// The figures of `a` and `b`, which are equally long, and together shorter than 2^32.
    #[inline(never)]
    pub fn of(a: &[f32], b: &[f32]) -> Figures {
        Figures::of_any(a, b)
    }

    /// The same of numbers in f64.
    #[inline(never)]
    pub fn of_f64(a: &[f64], b: &[f64]) -> Figures {
        Figures::of_any(a, b)
    }

    fn of_any<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> Figures {
        let mut lanes = Lanes::default();
        let (a8, b8) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        vectorized(
            #[inline(always)]
            || {
                for (a, b) in a8.0.iter().zip(b8.0) {
                    (0..LANES).for_each(|i| lanes.add(i, a[i].into(), b[i].into()));
                }
            },
        );
        for (i, (a, b)) in a8.1.iter().zip(b8.1).enumerate() {
            lanes.add(i, (*a).into(), (*b).into());
        }
        let figures = Figures {
            count: a.len() as u64,
            not_finite: 0,
            different: lanes.different.iter().map(|n| u64::from(*n)).sum(),
            a: lanes.a.iter().sum(),
            b: lanes.b.iter().sum(),
            product: lanes.product.iter().sum(),
            error: lanes.error.iter().sum(),
            largest: lanes.largest.iter().copied().fold(0.0, f64::max),
        };
        if figures.is_finite() { figures } else { Figures::of_finite(a, b) }
    }

    fn is_finite(&self) -> bool {
        [self.a, self.b, self.product, self.error].iter().all(|sum| sum.is_finite())
    }

    /// The same without the pairs that have no finite figures, where there are any.
    fn of_finite<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> Figures {
        let mut sum = Figures::default();
        for (a, b) in a.iter().zip(b) {
            let mut lanes = Lanes::default();
            lanes.add(0, (*a).into(), (*b).into());
            let one = Figures {
                count: 1,
                not_finite: 0,
                different: u64::from(lanes.different[0]),
                a: lanes.a[0],
                b: lanes.b[0],
                product: lanes.product[0],
                error: lanes.error[0],
                largest: lanes.largest[0],
            };
            let counted = Figures { count: 1, not_finite: 1, ..Figures::default() };
            sum = sum + if one.is_finite() { one } else { counted };
        }
        sum
    }

    /// The root mean square of the differences; 0 of no numbers.
    pub fn rmse(&self) -> f64 {
        let compared = self.count - self.not_finite;
        if compared == 0 { 0.0 } else { (self.error / compared as f64).sqrt() }
    }

    /// The differences relative to `a`, both as root mean squares; none where `a` is all zero and `b` is not.
    pub fn relative(&self) -> Option<f64> {
        match (self.error == 0.0, self.a == 0.0) {
            (true, _) => Some(0.0),
            (false, true) => None,
            (false, false) => Some(self.error.sqrt() / self.a.sqrt()),
        }
    }

    /// The cosine of the angle between `a` and `b`; none where one of them is all zero.
    pub fn cosine(&self) -> Option<f64> {
        let lengths = self.a.sqrt() * self.b.sqrt();
        (lengths > 0.0).then(|| (self.product / lengths).clamp(-1.0, 1.0))
    }

    /// Whether every number has its equal.
    pub fn is_equal(&self) -> bool {
        self.different == 0 && self.not_finite == 0
    }
}

impl std::ops::Add for Figures {
    type Output = Figures;

    fn add(self, other: Figures) -> Figures {
        Figures {
            count: self.count + other.count,
            not_finite: self.not_finite + other.not_finite,
            different: self.different + other.different,
            a: self.a + other.a,
            b: self.b + other.b,
            product: self.product + other.product,
            error: self.error + other.error,
            largest: self.largest.max(other.largest),
        }
    }
}

impl std::iter::Sum for Figures {
    fn sum<I: Iterator<Item = Figures>>(all: I) -> Figures {
        all.fold(Figures::default(), std::ops::Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_few_numbers() {
        let (a, b) = ([3.0, 4.0, 0.0], [3.0, 2.0, 0.0]);
        let f = Figures::of_f64(&a, &b);
        assert_eq!((f.count, f.different, f.largest), (3, 1, 2.0));
        assert_eq!(f.rmse(), (4.0f64 / 3.0).sqrt());
        assert_eq!(f.relative(), Some(2.0 / 5.0));
        assert!((f.cosine().unwrap() - 17.0 / (5.0 * 13.0f64.sqrt())).abs() < 1e-15);
        assert!(!f.is_equal() && Figures::of_f64(&a, &a).is_equal());
    }

    #[test]
    fn zeros_have_no_direction() {
        let f = Figures::of(&[0.0f32, -0.0], &[0.0, 0.0]);
        assert_eq!((f.rmse(), f.relative(), f.cosine(), f.is_equal()), (0.0, Some(0.0), None, true));
        assert_eq!(Figures::of(&[0.0f32], &[1.0]).relative(), None);
        assert_eq!(Figures::default().rmse(), 0.0);
    }

    #[test]
    fn what_is_not_finite_is_counted_and_left_out() {
        let a = [1.0f32, f32::NAN, 2.0, f32::INFINITY, 5.0];
        let b = [1.0f32, 0.0, 4.0, f32::INFINITY, f32::NEG_INFINITY];
        let f = Figures::of(&a, &b);
        assert_eq!((f.count, f.not_finite, f.different), (5, 3, 1));
        assert_eq!((f.error, f.largest, f.a), (4.0, 2.0, 5.0));
        assert!(!f.is_equal());
    }

    /// Against plain sums, for a length that fills no lanes.
    #[test]
    fn lanes_lose_nothing() {
        let a: Vec<f64> = (0..1003).map(|i| f64::from(i % 17) - 8.0).collect();
        let b: Vec<f64> = a.iter().enumerate().map(|(i, x)| x + (i % 5) as f64).collect();
        let f = Figures::of_f64(&a, &b);
        // The numbers are whole, so every order gives the same sums.
        assert_eq!(f.product, a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>());
        assert_eq!(f.error, a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>());
        assert_eq!(f.different, a.iter().zip(&b).filter(|(a, b)| a != b).count() as u64);
    }
}
