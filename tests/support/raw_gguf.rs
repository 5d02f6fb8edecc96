//! GGUF files byte by byte, well-formed or not, for tests of the reader.
#![allow(dead_code, reason = "every test file uses another part")]

use ggraft_formats::{Input, Result, open};

/// Numbers of dtypes in a file.
pub const F32: u32 = 0;
pub const I8: u32 = 24;

/// What the reader makes of a file of these bytes, `x.gguf`.
pub fn read(bytes: &[u8]) -> Result<Input> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    std::fs::write(&path, bytes).unwrap();
    open(&path)
}

/// A header of `version` with these key-value pairs and tensors, and `data` bytes after it at the alignment.
pub fn file(version: u32, pairs: &[Vec<u8>], tensors: &[Vec<u8>], data: usize) -> Vec<u8> {
    aligned(version, pairs, tensors, data, 32)
}

/// The same with another alignment.
pub fn aligned(
    version: u32,
    pairs: &[Vec<u8>],
    tensors: &[Vec<u8>],
    data: usize,
    alignment: usize,
) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(version.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((pairs.len() as u64).to_le_bytes());
    pairs.iter().chain(tensors).for_each(|part| out.extend(part));
    out.resize(out.len().next_multiple_of(alignment), 0);
    out.resize(out.len() + data, 0);
    out
}

pub fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

/// A key with a value of type `kind` given as bytes.
pub fn pair(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&string(key.as_bytes())[..], &kind.to_le_bytes(), value].concat()
}

pub fn u32_pair(key: &str, value: u32) -> Vec<u8> {
    pair(key, 4, &value.to_le_bytes())
}

pub fn tensor(name: &str, ne: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut out = string(name.as_bytes());
    out.extend((ne.len() as u32).to_le_bytes());
    ne.iter().for_each(|n| out.extend(n.to_le_bytes()));
    out.extend(kind.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out
}
