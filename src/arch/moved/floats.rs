//! Floats of several dtypes that become one tensor: all as the widest, which loses nothing.
//! Specification: `torch.stack` and `torch.cat`, before which llama.cpp's converter makes BF16 F32.

use ggraft_formats::{DType, Result, Tensor};

/// Tensors of one dtype, if all are floats.
pub(super) fn alike(sources: Vec<Tensor>) -> Result<Vec<Tensor>> {
    let is_one = sources.windows(2).all(|pair| pair[0].dtype() == pair[1].dtype());
    let is_float = |t: &Tensor| [DType::F32, DType::F16, DType::BF16].contains(&t.dtype());
    if is_one || !sources.iter().all(is_float) {
        return Ok(sources);
    }
    sources.into_iter().map(|t| t.encode(DType::F32, None)).collect()
}
