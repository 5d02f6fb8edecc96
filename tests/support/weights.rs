//! Weights to encode, the same on every machine: counter-based random numbers (the output function of splitmix64)
//! made into values by exact arithmetic only, so that golden hashes hold wherever IEEE floats do.

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
    /// Few distinct values, so that extremes and roundings tie.
    Ties,
}

impl Kind {
    pub const ALL: [Kind; 10] = [
        Kind::Gaussian,
        Kind::Bf16Gaussian,
        Kind::ZeroRows,
        Kind::ConstantRows,
        Kind::Outlier,
        Kind::Denormals,
        Kind::NegativeZeros,
        Kind::Tiny,
        Kind::TooLargeForF16,
        Kind::Ties,
    ];

    /// `rows` rows of `row` weights.
    pub fn weights(self, rows: usize, row: usize) -> Vec<f32> {
        let place = |i: usize| (i / row, i % row);
        (0..rows * row).map(|i| self.weight(place(i).0, place(i).1, i as u64)).collect()
    }

    fn weight(self, row: usize, column: usize, i: u64) -> f32 {
        let trained = gaussian(i) * 0.02;
        let row = row as u64;
        match self {
            Kind::Gaussian => trained,
            Kind::Bf16Gaussian => half::bf16::from_f32(trained).to_f32(),
            Kind::ZeroRows
                if row.is_multiple_of(2) || random(row << 32 | column as u64 / 48).is_multiple_of(3) =>
            {
                0.0
            }
            Kind::ZeroRows => trained,
            Kind::ConstantRows => gaussian(row),
            Kind::Outlier if i % 256 == random(i / 256) % 256 => trained * (random(i) % 1000) as f32,
            Kind::Outlier => trained,
            Kind::Denormals => {
                f32::from_bits((random(i) & 0x807f_ffff) as u32 >> (row % 23) & 0x7f_ffff | sign(i))
            }
            Kind::NegativeZeros if row % 4 == 1 && i % 29 == 0 => trained,
            Kind::NegativeZeros if row % 4 == 0 || random(i).is_multiple_of(2) => -0.0,
            Kind::NegativeZeros => 0.0,
            Kind::Tiny => gaussian(i) * [1e-14, 1e-15, 1e-16, 1e-17][row as usize % 4],
            Kind::TooLargeForF16 => gaussian(i) * [1e5, 1e6, 1e7, 1e8][row as usize % 4],
            Kind::Ties => ((random(i) % (row % 7 * 2 + 3)) as f32 - (row % 7 + 1) as f32) * 0.125,
        }
    }
}

/// Kinds of importance weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// None at all: the plain encoders.
    None,
    /// As measured: squares of activations, some columns dead.
    Measured,
    /// Nearly all columns dead, and stretches of them altogether.
    Sparse,
}

impl Importance {
    pub const ALL: [Importance; 3] = [Importance::None, Importance::Measured, Importance::Sparse];

    /// One weight a column.
    pub fn weights(self, row: usize) -> Option<Vec<f32>> {
        let square = |i: u64| gaussian(i ^ 0x5eed) * gaussian(i ^ 0x5eed);
        let alive = |i: u64| match self {
            Importance::None => false,
            Importance::Measured => !random(i).is_multiple_of(10),
            Importance::Sparse => random(i).is_multiple_of(12) && i / 256 % 3 != 1,
        };
        let weights = || (0..row as u64).map(|i| if alive(i) { square(i) } else { 0.0 }).collect();
        (self != Importance::None).then(weights)
    }
}

/// Random bytes.
pub fn bytes(count: usize) -> Vec<u8> {
    (0..count.div_ceil(8) as u64).flat_map(|i| random(i).to_le_bytes()).take(count).collect()
}

/// The `i`-th random number.
fn random(i: u64) -> u64 {
    let z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn sign(i: u64) -> u32 {
    (random(i) >> 63 << 31) as u32
}

/// The `i`-th of values spread nearly as a normal distribution is, from -6 to 6: a sum of twelve uniform ones.
fn gaussian(i: u64) -> f32 {
    let uniform = |k| {
        let r = random(i.wrapping_mul(6).wrapping_add(k) ^ 0x6175_7373);
        (r >> 32) + (r & 0xffff_ffff)
    };
    let sum: u64 = (0..6).map(uniform).sum();
    // Below 2^36, so exact; the division is by a power of two. One rounding remains.
    (sum as f64 / 4294967296.0 - 6.0) as f32
}
