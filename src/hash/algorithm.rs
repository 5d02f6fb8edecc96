//! The hashes that there are, in the order in which they are printed.

use super::hexadecimal;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use xxhash_rust::xxh64::Xxh64;

/// A hash that is being computed.
pub(super) trait State: Send {
    fn update(&mut self, bytes: &[u8]);
    fn finish(self: Box<Self>) -> String;
}

/// A way of hashing.
pub struct Algorithm {
    pub name: &'static str,
    /// Characters of a digest.
    pub digits: usize,
    /// Whether single tensors have one too, not the whole model alone.
    pub of_tensors: bool,
    /// Of the hashes in a manifest, the one with the greatest strength is compared.
    pub strength: u8,
    start: fn() -> Box<dyn State>,
}

/// All of them.
pub const ALGORITHMS: &[Algorithm] = &[
    Algorithm { name: "xxh64", digits: 16, of_tensors: true, strength: 1, start: || Box::new(Xxh64::new(0)) },
    Algorithm { name: "sha1", digits: 40, of_tensors: true, strength: 2, start: || Box::new(Sha1::new()) },
    Algorithm {
        name: "sha256",
        digits: 64,
        of_tensors: true,
        strength: 3,
        start: || Box::new(Sha256::new()),
    },
    Algorithm { name: "uuid", digits: 36, of_tensors: false, strength: 0, start: || Box::new(Uuid::new()) },
];

impl Algorithm {
    /// The algorithm of this name.
    pub fn named(name: &str) -> Option<&'static Algorithm> {
        ALGORITHMS.iter().find(|a| a.name == name)
    }

    pub(super) fn start(&self) -> Box<dyn State> {
        (self.start)()
    }
}

impl State for Xxh64 {
    fn update(&mut self, bytes: &[u8]) {
        Xxh64::update(self, bytes);
    }

    fn finish(self: Box<Self>) -> String {
        hexadecimal(&self.digest().to_be_bytes())
    }
}

impl State for Sha1 {
    fn update(&mut self, bytes: &[u8]) {
        Digest::update(self, bytes);
    }

    fn finish(self: Box<Self>) -> String {
        hexadecimal(&self.finalize())
    }
}

impl State for Sha256 {
    fn update(&mut self, bytes: &[u8]) {
        Digest::update(self, bytes);
    }

    fn finish(self: Box<Self>) -> String {
        hexadecimal(&self.finalize())
    }
}

/// The version 5 UUID in llama.cpp's namespace, which is that of the URL `en.wikipedia.org/wiki/Llama.cpp`.
struct Uuid(Sha1);

impl Uuid {
    const NAMESPACE: uuid::Uuid = uuid::uuid!("ef001206-dadc-5f6d-a15f-3359e577d4e5");

    fn new() -> Uuid {
        Uuid(Sha1::new_with_prefix(Uuid::NAMESPACE.as_bytes()))
    }
}

impl State for Uuid {
    fn update(&mut self, bytes: &[u8]) {
        Digest::update(&mut self.0, bytes);
    }

    fn finish(self: Box<Self>) -> String {
        let mut first = [0; 16];
        first.copy_from_slice(&self.0.finalize()[..16]);
        uuid::Builder::from_sha1_bytes(first).into_uuid().to_string()
    }
}
