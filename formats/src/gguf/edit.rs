//! Edits the metadata of a file: the header is planned anew, the tensors stay as they are. Of a split model the first
//! part is edited, which holds the metadata of all.

use super::read::Header;
use super::{ALIGNMENT_KEY, alignment, pad, split, write};
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::mmap::Mapping;
use crate::source::Container;
use crate::write::Rewrite;
use std::path::Path;

/// Plans to give the file at `path` the metadata that `change` makes of its own.
///
/// # Errors
/// What `change` refuses, a file that cannot be read, and another alignment, which would move each tensor.
pub fn edit(path: &Path, change: impl FnOnce(&Metadata) -> Result<Metadata>) -> Result<Rewrite> {
    let here = Mapping::open(path)?;
    let stamp = here.stamp().clone();
    let (header, tensors) = split::read(&Container::Mapped(here.clone()))?;
    let metadata = change(&header.metadata).map_err(|e| e.file(path))?;
    let due = alignment(&metadata).map_err(|e| e.file(path))?;
    if due != header.alignment {
        return Err(Error::unsupported(format!("{ALIGNMENT_KEY} places every tensor and is not edited"))
            .file(path)
            .expected(header.alignment)
            .found(due)
            .hint(format!(
                "write the model anew: ggraft quantize IN.gguf OUT.gguf COPY --override-kv {ALIGNMENT_KEY}=u32:{due}"
            )));
    }
    let mut head = write::head(&metadata, &tensors, due).map_err(|e| e.file(path))?;
    let start = pad(head.len() as u64, due).and_then(|n| usize::try_from(n).ok());
    head.resize(start.ok_or_else(|| Error::invalid("the header is too long").file(path))?, 0);
    let check = |file: &Mapping| Header::parse(file.bytes(), file.path()).map(|_| ());
    Ok(Rewrite::new(&here, stamp, head, header.data_offset, check))
}
