//! The room that knows bytes: model containers (GGUF, safetensors, PyTorch), dtypes and their block codecs.
//! It knows nothing of architectures, vocabularies or merging. `open` is the door: a path goes in, and a
//! `Checkpoint` or a `Model` comes out whose tensors are lazy rows over mapped files.

#![deny(unsafe_code)]

mod encoded;
pub mod error;
pub mod figures;
mod format;
mod fours;
pub mod gather;
pub mod gguf;
mod identity;
pub mod imatrix;
mod index;
mod inside;
pub mod metadata;
#[allow(unsafe_code)]
pub mod mmap;
pub mod model;
mod nonfinite;
pub mod packed;
pub mod quant;
mod remembered;
pub mod safetensors;
mod scaled;
pub mod scores;
mod shape;
mod shards;
pub mod simd;
pub mod source;
pub mod stamp;
pub mod tensor;
pub mod torch;
mod usual;
pub mod vectors;
pub mod write;

pub use encoded::{Encoding, How};
pub use error::{Error, Kind, Result};
pub use format::{FORMATS, Format};
pub use fours::GROUP;
pub use imatrix::Imatrix;
pub use metadata::{Array, Metadata, Value};
pub use model::{Checkpoint, Disagreement, Input, Model};
pub use quant::DType;
pub use shape::Shape;
pub use tensor::{Fours, Number, Rows, Tensor};
pub use write::{Layout, Watch};

use source::{Access, Container, Locator};
use std::borrow::Cow;
use std::path::Path;

/// Opens a model: a GGUF file (of a split one the first part), a `.safetensors` file or one of PyTorch, an index, or a
/// directory; or what `source::Locator` names.
pub fn open(path: &Path) -> Result<Input> {
    open_with(path, &Access::default())
}

/// The same, with a say in how what lies elsewhere is read.
pub fn open_with(path: &Path, access: &Access) -> Result<Input> {
    source::open(&Locator::parse(path)?, access)
}

/// The longest text file that is read: recipes, manifests, templates.
const MOST_TEXT: u64 = 1 << 26;

/// The text of a file, or of a pipe, that a user names.
///
/// # Errors
/// It cannot be read, is not UTF-8, or does not end within 64 MiB.
pub fn text(path: &Path) -> Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| Error::io(&e, path))?;
    match file.take(MOST_TEXT + 1).read_to_string(&mut text) {
        Ok(_) if text.len() as u64 > MOST_TEXT => Err(Error::invalid("this text is too long")
            .file(path)
            .expected(format!("at most {MOST_TEXT} bytes"))),
        Ok(_) => Ok(text),
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            Err(Error::invalid("this is not UTF-8").file(path))
        }
        Err(e) => Err(Error::io(&e, path)),
    }
}

/// The header of a file that was opened: what describes its weights.
pub fn header(file: &Container) -> Result<Cow<'_, [u8]>> {
    if *file.start(gguf::MAGIC.len() as u64)? == gguf::MAGIC {
        return file.start(gguf::Header::of(file)?.data_offset);
    }
    if let Some(mapped) = file.mapping().filter(|mapped| torch::is_ours(mapped)) {
        return mapped.slice(torch::header(mapped)?).map(Cow::Borrowed);
    }
    file.start(safetensors::header(file)?)
}

/// The first name that stands there twice.
pub(crate) fn twice<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}
