//! What the codecs share whose codes are indices into a codebook (`grids.rs`).
//! Specification: ggml `dequantize_row_iq*`.

/// The eight elements of an entry with two bits each.
pub(super) fn eight(entry: u16, values: &[f32; 3]) -> [f32; 8] {
    // Only the codes 0 to 2 stand in the codebooks.
    std::array::from_fn(|i| values[usize::from(entry >> (2 * i) & 3).min(2)])
}

/// The eight elements of two entries with four bits each.
pub(super) fn twice_four(entries: [u16; 2], value: impl Fn(u16) -> f32) -> [f32; 8] {
    std::array::from_fn(|i| value(entries[i / 4] >> (i % 4 * 4) & 15))
}

/// `scale` times the values, negative where the bit in `signs` is set.
pub(super) fn signed(scale: f32, values: [f32; 8], signs: u8) -> [f32; 8] {
    std::array::from_fn(|i| scale * values[i] * if signs >> i & 1 == 0 { 1.0 } else { -1.0 })
}

/// Eight signs from the seven that are stored: an even number of them is negative.
pub(super) fn even_signs(seven: u32) -> u8 {
    let seven = seven as u8 & 127;
    seven | ((seven.count_ones() & 1) as u8) << 7
}
