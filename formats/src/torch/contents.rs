//! What a file of PyTorch holds, zip or legacy, and the memory that it may take to say so.

use super::pickle::Unpickled;
use crate::mmap::Mapping;
use std::collections::HashMap;
use std::ops::Range;

/// The memory that the values of a pickle may take, or a part of the file's length. A tensor takes about 800 bytes.
const MOST_MEMORY: usize = 16 << 20;
const PART: usize = 64;

/// What a file holds.
pub struct Contents {
    /// Where the pickle of the object lies.
    pub pickle: Range<u64>,
    pub object: Unpickled,
    /// Where the elements of each storage lie.
    pub storages: HashMap<String, Range<u64>>,
}

/// The memory that the pickle of `file` may take.
pub fn memory(file: &Mapping) -> usize {
    MOST_MEMORY.max(file.bytes().len() / PART)
}
