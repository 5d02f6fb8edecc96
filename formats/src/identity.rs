//! What tells the rows of an output from others beside the files that are read: values that lie in memory, importance,
//! orders, weights of a merge. Every wrapper of rows adds what it decides.

use xxhash_rust::xxh3::Xxh3Default;

/// A hash of all that decides.
#[derive(Default)]
pub struct Identity(Xxh3Default);

impl Identity {
    /// Adds bytes, with their number, so that no two sequences of parts are taken for each other.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds numbers.
    pub fn numbers(&mut self, numbers: impl IntoIterator<Item = u64>) {
        numbers.into_iter().for_each(|n| self.0.update(&n.to_le_bytes()));
    }

    /// Adds importance weights, or that there are none.
    pub fn importance(&mut self, weights: Option<&[f32]>) {
        self.numbers([weights.map_or(u64::MAX, |w| w.len() as u64)]);
        self.numbers(weights.into_iter().flatten().map(|w| u64::from(w.to_bits())));
    }

    /// The hash.
    pub fn hash(&self) -> String {
        format!("{:032x}", self.0.digest128())
    }
}
