//! GGUF, the container of ggml: a header of typed metadata and tensor descriptions, then the tensors' data.
//! `read` checks a header before it hands anything out, `split` gathers a model from its parts, `parts` cuts it,
//! `write` plans every offset, `edit` replaces metadata, `second` asks an independent reader. The constants are here.
//! Specification: ggml `docs/gguf.md` and the acceptance rules of `gguf_init_from_file` (llama.cpp v0.5.0).

mod edit;
mod parts;
mod read;
mod second;
mod split;
mod value;
mod write;

pub use edit::edit;
pub use parts::{Limits, Split, keep};
pub use read::{Entry, Header};
pub use second::cross_check;
#[cfg(feature = "remote")]
pub(crate) use split::open_in;
pub use split::{is_split, open, unsplit};
pub(crate) use value::brief;
pub use write::{plan, plan_split};

use crate::error::{Error, Result};
use crate::metadata::{Metadata, Value};

/// The first four bytes of every file.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// The version that is written; 2 has the same layout and is read too.
pub const VERSION: u32 = 3;
/// Where tensor data starts and how it is padded, unless `general.alignment` says otherwise.
pub const DEFAULT_ALIGNMENT: u64 = 32;
/// The largest alignment that is believed.
pub const MAX_ALIGNMENT: u64 = 1 << 16;
/// The key that holds the alignment.
pub const ALIGNMENT_KEY: &str = "general.alignment";
/// A tensor name is shorter than this (`GGML_MAX_NAME`).
pub const MAX_NAME: usize = 64;
/// The most dimensions of a tensor (`GGML_MAX_DIMS`).
pub const MAX_DIMS: usize = 4;
/// The longest string or array that is believed.
pub const MAX_LENGTH: u64 = 1 << 30;

/// The type numbers of metadata values (`gguf_type`).
mod kind {
    pub const U8: u32 = 0;
    pub const I8: u32 = 1;
    pub const U16: u32 = 2;
    pub const I16: u32 = 3;
    pub const U32: u32 = 4;
    pub const I32: u32 = 5;
    pub const F32: u32 = 6;
    pub const BOOL: u32 = 7;
    pub const STR: u32 = 8;
    pub const ARRAY: u32 = 9;
    pub const U64: u32 = 10;
    pub const I64: u32 = 11;
    pub const F64: u32 = 12;
}

/// Where a model's tensors begin and end in its file: at multiples of this.
///
/// # Errors
/// The metadata tells an alignment that cannot be.
pub fn alignment(metadata: &Metadata) -> Result<u64> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::U32(n)) if n.is_power_of_two() && u64::from(*n) <= MAX_ALIGNMENT => Ok(u64::from(*n)),
        Some(other) => Err(Error::invalid(format!("{ALIGNMENT_KEY} must be a power of two"))
            .expected(format!("a u32 from 1 to {MAX_ALIGNMENT}"))
            .found(match other {
                Value::U32(n) => n.to_string(),
                other => format!("a value of type {}", other.type_name()),
            })),
    }
}

/// `n` rounded up to a multiple of `alignment`, a power of two; `None` on overflow.
fn pad(n: u64, alignment: u64) -> Option<u64> {
    Some(n.checked_add(alignment - 1)? & !(alignment - 1))
}
