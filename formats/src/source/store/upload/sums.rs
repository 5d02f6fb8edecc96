//! MD5 sums, by which a store sees that what it got is what was sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use std::io::Read;

/// How much of a file is read at a time.
const STEP: usize = 256 << 10;

/// The MD5 of all that is read.
pub fn sum_of(bytes: &mut dyn Read) -> std::io::Result<Vec<u8>> {
    let (mut hash, mut step) = (Md5::new(), vec![0; STEP]);
    loop {
        match bytes.read(&mut step)? {
            0 => return Ok(hash.finalize().to_vec()),
            n => hash.update(&step[..n]),
        }
    }
}

/// A sum as a header tells it.
pub fn base64(sum: &[u8]) -> String {
    STANDARD.encode(sum)
}
