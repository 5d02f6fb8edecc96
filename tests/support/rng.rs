//! The random numbers of the tests: splitmix64, addressed by index, so that any part of any tensor can be made
//! alone, on any thread, and comes out the same everywhere. Specification: Steele, Lea, Flood, "Fast splittable
//! pseudorandom number generators", 2014.

/// Output number `index` of splitmix64 started at `seed`.
pub fn splitmix64(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Value number `index` of a bell curve of mean 0 and variance 1: the sum of four 16-bit uniforms, so it stays
/// within 3.47. Every step is exact or rounded once, so the bits do not depend on the machine.
pub fn normal(seed: u64, index: u64) -> f32 {
    const MEAN: f32 = 131_070.0;
    // The variance of four uniforms on 0..=65535 is 4 * (65536^2 - 1) / 12.
    const DEVIATION: f32 = 37_837.23;
    let z = splitmix64(seed, index);
    let sum: u32 = (0..4).map(|i| ((z >> (16 * i)) & 0xffff) as u32).sum();
    (sum as f32 - MEAN) / DEVIATION
}

/// The first `n` values of `normal`.
pub fn gaussian(seed: u64, n: usize) -> Vec<f32> {
    (0..n as u64).map(|i| normal(seed, i)).collect()
}

/// A seed of its own for everything that has a name: FNV-1a over the name, begun at `seed`.
pub fn named(seed: u64, name: &str) -> u64 {
    let start = seed ^ 0xcbf2_9ce4_8422_2325;
    name.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
