//! Computed values as a tensor holds them: in f16 where the checkpoint has f16, else in f32.

use half::f16;

/// Writes values as f16 or as f32.
pub(super) fn store(values: impl Iterator<Item = f32>, half: bool, out: &mut [u8]) {
    if half {
        for (bytes, x) in out.as_chunks_mut().0.iter_mut().zip(values) {
            *bytes = f16::from_f32(x).to_le_bytes();
        }
    } else {
        for (bytes, x) in out.as_chunks_mut().0.iter_mut().zip(values) {
            *bytes = x.to_le_bytes();
        }
    }
}
