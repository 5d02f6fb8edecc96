//! The kinds of files that models come in, and how one is opened that lies on this machine.

use crate::error::{Error, Result};
use crate::model::Input;
use crate::{gguf, safetensors, torch};
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

/// Opens a model that lies on this machine.
pub(crate) fn open_path(path: &Path) -> Result<Input> {
    std::fs::metadata(path).map_err(|e| Error::io(&e, path).hint("check the path"))?;
    match FORMATS.iter().find(|format| (format.recognises)(path)) {
        Some(format) => (format.open)(path),
        None => Err(Error::unsupported("this is not a model that can be read").file(path).expected(
            "a .gguf file, a .safetensors or PyTorch file, an index of such files or a Hugging Face directory",
        )),
    }
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
