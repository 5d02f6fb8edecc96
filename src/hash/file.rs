//! The hash of a whole file, by which reports, comparisons and provenance know it again.

use ggraft_formats::mmap::Mapping;
use sha2::{Digest, Sha256};

/// Bytes that are hashed at a time, so that their memory can be given back.
const CHUNK: usize = 1 << 24;

/// The bytes as small hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The SHA-256 of a whole file, whose memory is given back behind it.
pub fn sha256(file: &Mapping) -> String {
    let mut hash = Sha256::new();
    for (i, chunk) in file.bytes().chunks(CHUNK).enumerate() {
        hash.update(chunk);
        file.release(i * CHUNK..i * CHUNK + chunk.len());
    }
    hexadecimal(&hash.finalize())
}
