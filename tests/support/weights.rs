//! Weights to encode, the same on every machine: random numbers made into values by exact arithmetic only, so that
//! golden hashes hold wherever IEEE floats do.

use super::rng::splitmix64;

/// Kinds of weights, each hard in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As trained weights look like.
    Gaussian,
    /// The same, rounded to bf16, as most checkpoints hold them.
    Bf16Gaussian,
    /// Every other row is zero, and the others have stretches of zeros.
    ZeroRows,
    /// Every row repeats one value.
    ConstantRows,
    /// One weight in 256 is up to a thousand times as large.
    Outlier,
    /// Too small for normal numbers, of all magnitudes.
    Denormals,
    /// Rows of -0.0, alone and among 0.0 and few small weights.
    NegativeZeros,
    /// About the size at which ggml takes a block for zero (1e-15), row by row from 1e-14 to 1e-17.
    Tiny,
    /// Too large for f16, row by row from 1e5 to 1e8.
    TooLargeForF16,
    /// So large that squares, or even differences, are infinite, row by row from 1e12 to 5e37.
    Enormous,
    /// Few distinct values, so that extremes and roundings tie.
    Ties,
}

impl Kind {
    pub const ALL: [Kind; 11] = [
        Kind::Gaussian,
        Kind::Bf16Gaussian,
        Kind::ZeroRows,
        Kind::ConstantRows,
        Kind::Outlier,
        Kind::Denormals,
        Kind::NegativeZeros,
        Kind::Tiny,
        Kind::TooLargeForF16,
        Kind::Enormous,
        Kind::Ties,
    ];

    /// `rows` rows of `row` weights.
    pub fn weights(self, rows: usize, row: usize) -> Vec<f32> {
        (0..(rows * row) as u64).map(|i| self.weight(i / row as u64, i)).collect()
    }

    /// Weight number `i`, which lies in row number `row`.
    fn weight(self, row: u64, i: u64) -> f32 {
        let trained = gaussian(i) * 0.02;
        let cycle = row as usize % 4;
        match self {
            Kind::Gaussian => trained,
            Kind::Bf16Gaussian => half::bf16::from_f32(trained).to_f32(),
            Kind::ZeroRows if row.is_multiple_of(2) || random(i / 48).is_multiple_of(3) => 0.0,
            Kind::ZeroRows => trained,
            Kind::ConstantRows => gaussian(row),
            Kind::Outlier if i % 256 == random(i / 256) % 256 => trained * (random(i) % 1000) as f32,
            Kind::Outlier => trained,
            Kind::Denormals => {
                let bits = random(i) as u32;
                f32::from_bits((bits & 0x007f_ffff) >> (row % 23) | bits & 0x8000_0000)
            }
            Kind::NegativeZeros if cycle == 1 && i.is_multiple_of(29) => trained,
            Kind::NegativeZeros if cycle == 0 || random(i).is_multiple_of(2) => -0.0,
            Kind::NegativeZeros => 0.0,
            Kind::Tiny => gaussian(i) * [1e-14, 1e-15, 1e-16, 1e-17][cycle],
            Kind::TooLargeForF16 => gaussian(i) * [1e5, 1e6, 1e7, 1e8][cycle],
            Kind::Enormous => gaussian(i) * [1e12, 1e20, 1e30, 5e37][cycle],
            Kind::Ties => {
                let reach = row % 7 + 1;
                ((random(i) % (2 * reach + 1)) as f32 - reach as f32) * 0.125
            }
        }
    }
}

/// Kinds of importance weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// None at all: the plain encoders.
    Plain,
    /// As measured: squares of activations, some columns dead.
    Measured,
    /// Nearly all columns dead, and stretches of them altogether.
    Sparse,
}

impl Importance {
    pub const ALL: [Importance; 3] = [Importance::Plain, Importance::Measured, Importance::Sparse];

    /// One weight a column.
    pub fn weights(self, row: usize) -> Option<Vec<f32>> {
        let alive = |i: u64| match self {
            Importance::Plain => false,
            Importance::Measured => !random(i).is_multiple_of(10),
            Importance::Sparse => random(i).is_multiple_of(12) && i / 256 % 3 != 1,
        };
        let weight = |i| if alive(i) { gaussian(i ^ 0x5eed) * gaussian(i ^ 0x5eed) } else { 0.0 };
        (self != Importance::Plain).then(|| (0..row as u64).map(weight).collect())
    }
}

/// Random bytes.
pub fn bytes(count: usize) -> Vec<u8> {
    (0..count.div_ceil(8) as u64).flat_map(|i| random(i).to_le_bytes()).take(count).collect()
}

fn random(i: u64) -> u64 {
    splitmix64(0, i)
}

/// The `i`-th of values from -6 to 6 that are spread nearly as a normal distribution is: a sum of twelve uniform
/// ones of 32 bits, so that all bits of the result are random.
fn gaussian(i: u64) -> f32 {
    let two = |r: u64| (r >> 32) + (r & 0xffff_ffff);
    let sum: u64 = (0..6).map(|k| two(splitmix64(1, i.wrapping_mul(6).wrapping_add(k)))).sum();
    // The sum is below 2^36 and the divisor a power of two: exact. One rounding remains.
    (sum as f64 / 4294967296.0 - 6.0) as f32
}
