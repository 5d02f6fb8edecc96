//! The dtypes of another file, tensor by tensor: a published file is the recipe of one's own. Served is `--like`.

use ggraft_formats::{DType, Error, Input, Result, open};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The option, as it is spelled where a reason is told.
pub(super) const OPTION: &str = "--like";

/// The dtypes of a file.
#[derive(Clone, Debug)]
pub struct Like {
    pub path: PathBuf,
    dtypes: Arc<HashMap<String, DType>>,
}

impl Like {
    /// Reads the header of a GGUF, of a split one by its first part.
    ///
    /// # Errors
    /// It cannot be read, or is no GGUF.
    pub fn read(path: &Path) -> Result<Like> {
        let Input::Model(model) = open(path)? else {
            return Err(Error::usage("a checkpoint has no mixture of dtypes")
                .file(path)
                .expected("a GGUF whose dtypes are to be taken"));
        };
        let dtypes = model.tensors.iter().map(|t| (t.name.clone(), t.dtype())).collect();
        Ok(Like { path: path.to_path_buf(), dtypes: Arc::new(dtypes) })
    }

    /// What the file gives this tensor.
    pub fn of(&self, name: &str) -> Option<DType> {
        self.dtypes.get(name).copied()
    }

    /// The names of its tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.dtypes.keys().map(String::as_str)
    }
}
