//! Small numbers beside codes: read as f32, and rounded as a library rounds between two steps.

use crate::error::Result;
use crate::quant::DType;

/// Numbers of a dtype, plain floats or whole ones of a byte, from their bytes.
///
/// # Errors
/// The dtype is no such, or the bytes are not as many as `out` needs.
#[inline(never)]
pub fn numbers(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    match dtype {
        DType::I8 => out.iter_mut().zip(bytes).for_each(|(x, b)| *x = f32::from(*b as i8)),
        DType::U8 => out.iter_mut().zip(bytes).for_each(|(x, b)| *x = f32::from(*b)),
        _ => return dtype.decode(bytes, out),
    }
    Ok(())
}

/// Rounds values to a dtype.
pub fn round(dtype: DType, values: &mut [f32]) -> Result<()> {
    /// Values at a time.
    const RUN: usize = 1024;
    if dtype == DType::F32 {
        return Ok(());
    }
    let (mut room, size) = ([0; 8 * RUN], dtype.traits().bytes);
    for values in values.chunks_mut(RUN) {
        let bytes = &mut room[..values.len() * size];
        dtype.encode(values, values.len(), None, bytes)?;
        dtype.decode(bytes, values)?;
    }
    Ok(())
}
