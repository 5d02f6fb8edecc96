//! Random numbers that depend on seed, tensor name, vector index and element index alone: whatever thread asks, and in
//! whatever order, gets the same.

use super::{Place, params::Rescale};
use sha2::{Digest, Sha256};

/// Numbers for the elements of one vector.
pub(crate) struct Draws {
    key: u64,
    first: u64,
}

impl Draws {
    pub fn new(place: &Place<'_>, vector: usize) -> Draws {
        let mut hash = Sha256::new();
        hash.update(place.params.seed.to_le_bytes());
        hash.update((vector as u64).to_le_bytes());
        hash.update(place.tensor.as_bytes());
        let key = hash.finalize().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Draws { key, first: place.first }
    }

    /// A whole number below 2^53 for the element at `i` from the first one: SplitMix64 (doi 10.1145/2714064.2660195) at
    /// the place of the element in the tensor's own sequence.
    pub fn at(&self, i: usize) -> u64 {
        let n = self.first.wrapping_add(i as u64).wrapping_add(1);
        let mut z = self.key.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 11
    }
}

/// Of 2^53 draws, so many are below this probability.
pub(crate) fn share(probability: f64) -> u64 {
    (probability * (1u64 << 53) as f64) as u64
}

/// What the kept elements of a vector are scaled with: by the sums of all and of the kept magnitudes, two facts a vector,
/// if that is asked for.
pub(crate) fn regain(place: &Place<'_>, vector: usize) -> f64 {
    match (place.params.rescale, place.facts.get(2 * vector..2 * vector + 2)) {
        (Rescale::Norm, Some([all, kept])) if *kept > 0.0 => all / kept,
        _ => 1.0,
    }
}
