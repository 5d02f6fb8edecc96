//! Tensors of a layer that become one, for one multiplication of matrices the less in the runtime, and apart again, lazily: the
//! rows of each are whole rows of the one. Serves the options `--fuse-...` of `convert`, the way back, and merges of files of
//! which some have one tensor and some several.

mod attention;
mod experts;

use ggraft_formats::{Model, Result};

pub use attention::one as attention;
pub use experts::experts;

/// `model` with apart what its pages do not know as one.
///
/// # Errors
/// A tensor does not have the rows of its parts.
pub fn apart(model: Model) -> Result<Model> {
    attention::apart(experts::apart(model)?)
}

/// `model` with each layer's tensors as `other` has them: as one, or apart. Nothing, if they are that already.
///
/// # Errors
/// Those of a layer do not fit each other.
pub fn as_in(model: &Model, other: &Model) -> Result<Option<Model>> {
    let fitted = experts::as_in(model, other)?;
    Ok(attention::as_in(fitted.as_ref().unwrap_or(model), other)?.or(fitted))
}
