//! Tensors of a layer that become one, for one multiplication of matrices the less in the runtime, and apart again, lazily: the
//! rows of each are whole rows of the one. Serves the options `--fuse-...` of `convert`, the way back, and merges of files of
//! which some have one tensor and some several.

mod attention;
mod experts;

use ggraft_formats::{DType, Error, Model, Result, Tensor};

pub use attention::one as attention;
pub use experts::experts;

/// Refuses an option for an architecture that is not among `those` it is for.
fn takes(gguf: &str, those: &[&str], what: &str, option: &str) -> Result<()> {
    if those.contains(&gguf) {
        return Ok(());
    }
    Err(Error::unsupported(what).expected(those.join(", ")).found(gguf).hint(format!("leave {option} out")))
}

/// Says of `name` what is said of all its parts alike.
fn store_as(name: &str, parts: &[String], stored: &mut Vec<(String, DType)>) {
    let of = |part: &String| stored.iter().find(|(known, _)| known == part).map(|(_, dtype)| *dtype);
    let first = parts.first().and_then(of);
    let alike = first.filter(|_| parts.iter().all(|part| of(part) == first));
    stored.retain(|(known, _)| !parts.contains(known));
    stored.extend(alike.map(|dtype| (name.to_string(), dtype)));
}

/// Parts of one dtype: floats of several are all f32.
fn alike(parts: Vec<Tensor>) -> Result<Vec<Tensor>> {
    let is_mixed = parts.iter().any(|part| part.dtype() != parts[0].dtype())
        && parts.iter().all(|part| !part.dtype().is_quantized());
    if is_mixed { parts.into_iter().map(|part| part.encode(DType::F32, None)).collect() } else { Ok(parts) }
}

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

#[cfg(test)]
mod tests {
    use crate::arch::families::ARCHS;

    #[test]
    fn the_architectures_of_the_options_have_pages() {
        for gguf in super::attention::FUSED.iter().chain(&super::experts::FUSED) {
            assert!(ARCHS.iter().any(|arch| arch.gguf == *gguf), "{gguf}");
        }
    }
}
