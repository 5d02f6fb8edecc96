//! Packed checkpoints, as lazy plain tensors under names of their own: what the pages of families name. A page a method;
//! where a dtype of ggml holds the same bits, rows are only rearranged.

mod mxfp4;

use ggraft_formats::{Checkpoint, Result};

/// The values of `quant_method` that are undone here.
pub const METHODS: &[&str] = &["mxfp4"];

/// `checkpoint` with its packed tensors undone; one that holds none as it is.
///
/// # Errors
/// Blocks without scales, or of another shape than theirs.
pub fn unpacked(checkpoint: Checkpoint) -> Result<Checkpoint> {
    let place = checkpoint.dir.clone();
    let tensors = mxfp4::unpacked(checkpoint.tensors).map_err(|e| e.file(&place))?;
    Ok(Checkpoint { tensors, ..checkpoint })
}
