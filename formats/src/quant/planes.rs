//! How codes of a few bits are laid in bytes: as nibbles, crumbs (2 bits) and bits, each plane interleaved so that
//! one byte serves elements that lie a fixed distance apart. Codes are one a byte, in the order of the elements;
//! those of a super-block are 256.
//! Specification: the `qs`, `qh`, `ql` and `hmask` fields of the `block_*` structs in `ggml-common.h`.

/// Low four bits: in each run of `2 * D` codes, byte `l` holds code `l` low and code `l + D` high.
pub(super) fn pack_nibbles<const D: usize>(codes: &[u8], bytes: &mut [u8]) {
    for (codes, bytes) in codes.chunks_exact(2 * D).zip(bytes.chunks_exact_mut(D)) {
        for l in 0..D {
            bytes[l] = codes[l] & 15 | codes[l + D] << 4;
        }
    }
}

/// The inverse of `pack_nibbles`; overwrites `codes`.
pub(super) fn unpack_nibbles<const D: usize>(bytes: &[u8], codes: &mut [u8]) {
    for (codes, bytes) in codes.chunks_exact_mut(2 * D).zip(bytes.chunks_exact(D)) {
        for l in 0..D {
            codes[l] = bytes[l] & 15;
            codes[l + D] = bytes[l] >> 4;
        }
    }
}

/// Bits `SHIFT` and `SHIFT + 1`: in each run of 128 codes, byte `l` of 32 holds those of codes `l`, `l + 32`, `l + 64`
/// and `l + 96`, from its low end.
pub(super) fn pack_crumbs<const SHIFT: u32>(codes: &[u8]) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (codes, bytes) in codes.chunks_exact(128).zip(bytes.chunks_exact_mut(32)) {
        for (plane, codes) in codes.chunks_exact(32).enumerate() {
            for (byte, code) in bytes.iter_mut().zip(codes) {
                *byte |= (code >> SHIFT & 3) << (2 * plane);
            }
        }
    }
    bytes
}

/// The inverse of `pack_crumbs`; adds to `codes`.
pub(super) fn unpack_crumbs<const SHIFT: u32>(bytes: &[u8; 64], codes: &mut [u8; 256]) {
    for (codes, bytes) in codes.chunks_exact_mut(128).zip(bytes.chunks_exact(32)) {
        for (plane, codes) in codes.chunks_exact_mut(32).enumerate() {
            for (code, byte) in codes.iter_mut().zip(bytes) {
                *code |= (byte >> (2 * plane) & 3) << SHIFT;
            }
        }
    }
}

/// Bit `BIT`: byte `l` of 32 holds that of codes `l`, `l + 32` up to `l + 224`, from its low end.
pub(super) fn pack_bits<const BIT: u32>(codes: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (plane, codes) in codes.chunks_exact(32).enumerate() {
        for (byte, code) in bytes.iter_mut().zip(codes) {
            *byte |= (code >> BIT & 1) << plane;
        }
    }
    bytes
}

/// The inverse of `pack_bits`; adds to `codes`.
pub(super) fn unpack_bits<const BIT: u32>(bytes: &[u8; 32], codes: &mut [u8; 256]) {
    for (plane, codes) in codes.chunks_exact_mut(32).enumerate() {
        for (code, byte) in codes.iter_mut().zip(bytes) {
            *code |= (byte >> plane & 1) << BIT;
        }
    }
}
