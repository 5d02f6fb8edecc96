//! Tensors that are carried as they are: too small to matter, or too sensitive to be quantized. Also the dtypes
//! that stand in when a row does not fill whole blocks, and those that need an importance matrix.
//! Specification: llama.cpp v0.5.0, measured with made-up names (`fixtures/mixtures/names.schema`).

use super::Ftype;
use super::facts::TensorFact;
use crate::roles::{self, Role};
use crate::version::Version;
use ggraft_formats::{DType, Error, Result};

/// Why the tensor keeps its dtype, if it does, in a model of architecture `arch`. What `converts` a trainer's checkpoint takes
/// a matrix of one row for one, and rounds some that are never quantized.
pub(super) fn kept(
    tensor: &TensorFact,
    arch: &str,
    converts: bool,
    version: Version,
) -> Option<&'static str> {
    let dims = if converts { tensor.shape.ne() } else { tensor.shape.significant() };
    if dims.len() < 2 {
        return Some("not a matrix");
    }
    // Adapters inside a model are weights to the converter.
    let is_adapter = [".lora_a", ".lora_b"].iter().any(|end| tensor.name.ends_with(end));
    if !(tensor.name.ends_with("weight") || is_adapter && converts) {
        return Some("not a weight");
    }
    if let Some(what) = roles::stays(tensor.name).filter(|_| converts) {
        return Some(what);
    }
    if converts {
        return roles::sensitive(tensor.name).filter(|_| !roles::rounds(tensor.name, arch));
    }
    let always = roles::sensitive(tensor.name).or_else(|| roles::sensitive_in(tensor.name, arch));
    always.or_else(|| version.keeps(tensor.name, arch))
}

/// The dtype of a kernel of a projector, which is never quantized: F16 where everything is, else F32.
pub(super) fn kernel(tensor: &TensorFact, arch: &str, ftype: &Ftype) -> Option<DType> {
    let (name, dims) = (tensor.name, tensor.shape.ne().len());
    let patches = [".patch_embd.weight", ".patch_merger.weight"].iter().any(|part| name.contains(part));
    let convolves = name.starts_with("mm.") && name.ends_with(".weight") && dims > 3;
    let is = arch == "clip" && dims > 1 && (patches || convolves);
    is.then(|| if ftype.default == DType::F16 { DType::F16 } else { DType::F32 })
}

/// The dtype that the tensor gets if its rows do not fill whole blocks of the `wanted` one.
///
/// # Errors
/// Nothing stands in for a dtype that is coarser than all others.
pub(super) fn fitting(tensor: &TensorFact, wanted: DType) -> Result<DType> {
    use DType::*;
    let fits = |dtype: DType| dtype.row_bytes(tensor.shape.row()).is_some();
    if fits(wanted) {
        return Ok(wanted);
    }
    let finer = match wanted {
        IQ1S | IQ1M | IQ2XXS | IQ2XS | IQ2S | IQ3XXS | IQ3S | IQ4XS => IQ4NL,
        Q2_0 | Q2K | Q3K | TQ1_0 | TQ2_0 => Q4_0,
        Q4K => Q5_0,
        Q5K => Q5_1,
        Q6K | NVFP4 => Q8_0,
        Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 | IQ4NL | MXFP4 => F16,
        other => return Err(misfit(tensor, other).hint("choose another ftype for this model")),
    };
    Ok(if fits(finer) { finer } else { F16 })
}

/// The error for a tensor whose rows do not fill whole blocks.
pub(super) fn misfit(tensor: &TensorFact, dtype: DType) -> Error {
    Error::unsupported(format!("a row does not fill whole blocks of {dtype}"))
        .tensor(tensor.name)
        .expected(format!("a multiple of {} columns", dtype.block()))
        .found(tensor.shape.row())
}

/// Whether the dtype is useless for this tensor without an importance matrix.
pub(super) fn needs_imatrix(role: Role, dtype: DType, ftype: &str) -> bool {
    use DType::*;
    match dtype {
        _ if matches!(role, Role::Output | Role::Embedding) => false,
        Q2K => ftype == "Q2_K_S",
        other => is_useless_unweighed(other),
    }
}

/// Whether no tensor of a layer is of use in this dtype if nothing tells which of its columns matter.
pub fn is_useless_unweighed(dtype: DType) -> bool {
    use DType::*;
    matches!(dtype, IQ1S | IQ1M | IQ2XXS | IQ2XS | IQ2S | IQ3XXS)
}
