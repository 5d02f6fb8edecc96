//! The room that knows bytes: model containers (GGUF, safetensors, PyTorch), dtypes and their block codecs.
//! It knows nothing of architectures, vocabularies or merging. `open` is the door: a path goes in, and a
//! `Checkpoint` or a `Model` comes out whose tensors are lazy rows over mapped files.

#![deny(unsafe_code)]

mod encoded;
pub mod error;
pub mod gguf;
pub mod imatrix;
mod index;
pub mod metadata;
#[allow(unsafe_code)]
pub mod mmap;
pub mod model;
pub mod quant;
pub mod safetensors;
pub mod simd;
pub mod source;
pub mod stamp;
pub mod tensor;
pub mod torch;
pub mod write;

pub use encoded::How;
pub use error::{Error, Kind, Result};
pub use imatrix::Imatrix;
pub use metadata::{Array, Metadata, Value};
pub use model::{Checkpoint, Disagreement, Input, Model};
pub use quant::DType;
pub use tensor::{Rows, Shape, Tensor};
pub use write::{Layout, Watch};

use source::{Access, Container, Locator};
use std::borrow::Cow;
use std::path::Path;

/// A kind of file that models come in.
pub struct Format {
    pub name: &'static str,
    /// Whether a path is of this kind, told from its name or its first bytes.
    recognises: fn(&Path) -> bool,
    open: fn(&Path) -> Result<Input>,
}

/// Every format that can be read, in the order in which they are tried.
pub const FORMATS: &[Format] = &[
    Format { name: "GGUF", recognises: is_gguf, open: |p| gguf::open(p).map(Input::Model) },
    Format {
        name: "safetensors",
        recognises: is_safetensors,
        open: |p| safetensors::open(p).map(Input::Checkpoint),
    },
    Format {
        name: "PyTorch",
        recognises: torch::recognises,
        open: |p| torch::open(p).map(Input::Checkpoint),
    },
];

/// Opens a model: a GGUF file (of a split one the first part), a `.safetensors` file or one of PyTorch, an index, or a
/// directory; or what `source::Locator` names.
pub fn open(path: &Path) -> Result<Input> {
    open_with(path, &Access::default())
}

/// The same, with a say in how what lies elsewhere is read.
pub fn open_with(path: &Path, access: &Access) -> Result<Input> {
    source::open(&Locator::parse(path)?, access)
}

fn open_path(path: &Path) -> Result<Input> {
    std::fs::metadata(path).map_err(|e| Error::io(&e, path).hint("check the path"))?;
    match FORMATS.iter().find(|format| (format.recognises)(path)) {
        Some(format) => (format.open)(path),
        None => Err(Error::unsupported("this is not a model that can be read").file(path).expected(
            "a .gguf file, a .safetensors or PyTorch file, an index of such files or a Hugging Face directory",
        )),
    }
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

fn is_gguf(path: &Path) -> bool {
    path.is_file()
        && (path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"))
            || starts_with(path, &gguf::MAGIC))
}

fn is_safetensors(path: &Path) -> bool {
    let ends = |ending: &str| path.to_string_lossy().ends_with(ending);
    (path.is_dir() && !torch::recognises(path)) || ends(".safetensors") || ends(".safetensors.index.json")
}

fn starts_with(path: &Path, magic: &[u8]) -> bool {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|f| f.take(magic.len() as u64).read_to_end(&mut bytes));
    read.is_ok() && bytes == magic
}
