//! Packed checkpoints, as lazy plain tensors under names of their own: what the pages of families name. A page a method;
//! where a dtype of ggml holds the same bits, rows are only rearranged.

mod mxfp4;

use ggraft_formats::{Checkpoint, Error, Result};

/// The values of `quant_method` that are undone here.
pub const METHODS: &[&str] = &["mxfp4"];

/// Refuses to write `checkpoint`, which was unpacked, as a directory again: its names are not those of the trainer.
pub fn check_release(checkpoint: &Checkpoint) -> Result<()> {
    let Some(tensor) = checkpoint.tensors.iter().find(|t| t.name.ends_with(mxfp4::SUFFIX)) else {
        return Ok(());
    };
    Err(Error::unsupported(
        "a checkpoint whose experts are in blocks of MXFP4 cannot be written as one again",
    )
    .tensor(&tensor.name)
    .hint("choose a GGUF --type"))
}

/// `checkpoint` with its packed tensors undone; one that holds none as it is.
///
/// # Errors
/// Blocks without scales, or of another shape than theirs.
pub fn unpacked(checkpoint: Checkpoint) -> Result<Checkpoint> {
    let place = checkpoint.dir.clone();
    let tensors = mxfp4::unpacked(checkpoint.tensors).map_err(|e| e.file(&place))?;
    Ok(Checkpoint { tensors, ..checkpoint })
}
